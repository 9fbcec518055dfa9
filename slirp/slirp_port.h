// SPDX-License-Identifier: BSD-3-Clause
// slirp_port.h - user-mode NAT as a port of a switch: guard, NAT, and a queue back to the guests.
//
// Frames from guests are copied into private memory, unless they lie in some (Frame::own), checked
// by the guard and only then fed to the NAT. Frames from the NAT wait in a bounded queue until the
// switch takes them, but long ones of the NAT's own turn, which are forwarded out of libslirp's
// memory; while more wait than the switch takes at once, the NAT is seldom asked for others. An
// acknowledgement makes the NAT send what may be long, so it waits for that turn. Several guests
// share one instance.
#pragma once

#include <array>
#include <memory>

#include "base/log.h"
#include "slirp/config.h"
#include "slirp/guard.h"
#include "slirp/nat.h"
#include "switch/frame_queue.h"
#include "switch/headers.h"
#include "switch/port.h"

namespace rp::slirp {

class SlirpPort final : public sw::Port {
 public:
  /// Throws Error and leaves nothing behind.
  SlirpPort(const Config& config, Log log, Instant now);
  ~SlirpPort() override;

  int poll_fd() const noexcept override { return nat_->fd(); }
  /// TCP over IPv4 in segments of any length. Not over IPv6: libslirp holds those against its MTU.
  sw::Offloads offloads() const noexcept override {
    return {.csum = true, .tso4 = true, .ecn = true};
  }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override;
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool flush(Instant now) noexcept override;
  bool arm(Instant now) noexcept override;
  void forget(sw::PortId id) noexcept override;
  void report(const CounterSink& sink) const override;

 private:
  void to_guest(std::span<const std::uint8_t> frame) noexcept;
  void keep(std::span<const std::uint8_t> frame, std::uint16_t mss) noexcept;
  void keep_fragments(std::span<const std::uint8_t> frame, std::uint16_t mtu) noexcept;
  void lend(sw::Burst& burst) noexcept;
  bool pass(std::span<const std::uint8_t> frame, std::uint16_t mss) noexcept;
  std::span<std::uint8_t> private_bytes(const sw::Frame& f) noexcept;
  bool defer(std::span<const std::uint8_t> frame, sw::PortId guest) noexcept;
  void take_acks() noexcept;

  static constexpr std::size_t kLongestAck =
      sizeof(sw::EthHeader) + sizeof(sw::Ipv6Header) + sizeof(sw::TcpHeader);
  struct Ack {
    sw::PortId guest;
    std::size_t len;
    std::array<std::uint8_t, kLongestAck> bytes;
  };

  const std::uint16_t told_mtu_;  ///< 0: guests keep what they have
  Fd tftp_root_;
  std::unique_ptr<Guard> guard_;
  sw::FrameQueue queue_;
  Instant now_{};
  std::unique_ptr<Nat> nat_;
  std::size_t lent_ = 0;
  sw::Burst* burst_ = nullptr;                ///< of the turn in which the NAT runs
  std::size_t passed_ = 0;                    ///< frames that this turn was asked to pass on
  std::array<Ack, sw::Burst::kFrames> acks_;  ///< [taken, n) wait for the NAT's turn
  std::size_t acks_taken_ = 0, acks_n_ = 0;
  unsigned put_off_ = 0;  ///< turns since the NAT's last one
  std::uint64_t not_ours_ = 0, acks_saved_ = 0, overflow_ = 0, inconsistent_ = 0;
  std::uint64_t unfinished_ = 0;
  std::array<std::uint8_t, sw::kMaxFrame> scratch_;
};

}  // namespace rp::slirp
