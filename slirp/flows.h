// SPDX-License-Identifier: BSD-3-Clause
// flows.h - which guest holds which of libslirp's sockets, and each guest's quota of them.
//
// Theory of operation: libslirp announces each socket it opens and closes for a guest's traffic
// (register_poll_fd). Whoever's frame is being handled at that moment owns the socket; sockets of
// forwarded connections belong to the host. Before a frame that may open a socket goes in, enter()
// compares the guest's count with its quota. At the quota a new TCP connection takes the place of
// the guest's oldest one that is still connecting, if there is any. The process keeps kReserve
// descriptors that no guest can take, and kNewcomers more that only a guest with few flows can. At
// either limit fragments are refused: all but the first do not say which flow they belong to.
// A guestfwd's socket is opened late, by the ACK that ends the guest's handshake. So the SYN to
// such a service takes a place in the quota, which the ACK turns into the socket.
#pragma once

#include <sys/resource.h>

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include "base/counter.h"
#include "base/time.h"
#include "switch/frame.h"

namespace rp::slirp {

/// What libslirp finds a guest's socket by. The peer matters for TCP only.
struct FlowKey {
  std::uint8_t proto = 0;
  sw::Ip6Addr address{};  ///< IPv4 in the first four bytes
  std::uint16_t port = 0;
  sw::Ip6Addr peer{};
  std::uint16_t peer_port = 0;
  bool operator==(const FlowKey&) const = default;
};

class Flows {
 public:
  /// Descriptors that stay free for the host, whatever guests do.
  static constexpr int kReserve = 64;
  /// More that are kept for guests with fewer than kFew flows.
  static constexpr int kNewcomers = 32;
  static constexpr std::uint32_t kFew = 8;

  explicit Flows(unsigned max_per_guest) : max_(max_per_guest) {}

  /// A guestfwd at this address and port, both in host byte order.
  void add_service(std::uint32_t address, std::uint16_t port);

  /// May this frame, which passed the guard, go in? Sets the owner of sockets opened until leave().
  bool enter(std::span<const std::uint8_t> frame, sw::PortId guest, Instant now) noexcept;
  void leave() noexcept { owner_ = sw::kNoPort; }

  void opened(int fd) noexcept;
  void closed(int fd) noexcept;
  bool known(int fd) const noexcept;

  /// Sockets there are.
  std::size_t count() const noexcept { return count_; }
  /// Does libslirp hold TCP connections, whose timers tick?
  bool ticking() const noexcept { return streams_ + handshakes_ > 0; }
  /// Fewer than kReserve descriptors are left to this process.
  static bool descriptors_scarce() noexcept;

  void forget(sw::PortId guest) noexcept;
  void report(const CounterSink& sink) const;

 private:
  struct Flow {
    sw::PortId owner = sw::kNoPort;
    FlowKey key;
    bool open = false, stream = false, dying = false;
    std::uint64_t serial = 0;
  };
  /// A connection to a service whose handshake is under way.
  struct Handshake {
    FlowKey key;
    Instant since;
  };
  struct Guest {
    std::deque<Handshake> handshakes;  ///< oldest first
    std::uint32_t flows = 0, dying = 0;
    std::size_t last = 0;                                  ///< descriptor of the flow last found
    std::deque<std::pair<int, std::uint64_t>> connecting;  ///< fd, serial; oldest first
  };
  static rlim_t descriptors_left() noexcept;
  bool has_socket(Guest& guest) const noexcept;
  bool is_service(const FlowKey& key) const noexcept;
  bool enter_service(Guest& guest, bool syn, Instant now) noexcept;
  void expire_handshakes(Guest& guest, Instant now) noexcept;
  bool evict_half_open(Guest& guest) noexcept;

  unsigned max_;
  sw::PortId owner_ = sw::kNoPort;
  FlowKey key_;
  std::vector<Flow> flows_;  ///< by descriptor
  std::unordered_map<sw::PortId, Guest> guests_;
  std::vector<FlowKey> services_;  ///< peer and peer_port alone
  std::size_t count_ = 0, streams_ = 0, handshakes_ = 0;
  std::uint64_t serial_ = 0;
  std::uint64_t refused_quota_ = 0, refused_scarce_ = 0, evicted_ = 0;
};

}  // namespace rp::slirp
