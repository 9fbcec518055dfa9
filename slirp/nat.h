// SPDX-License-Identifier: BSD-3-Clause
// nat.h - one instance of libslirp: its configuration, callbacks, sockets and timers.
//
// libslirp is single-threaded and driven from outside: input() feeds it a checked frame, run() lets
// it look at its sockets, prepare_wait() says when it wants to run again. It ticks twice a second
// while TCP flows are open or fragments wait, sees to idle UDP and ping sockets every 30 s, sends a
// router advertisement every 200 to 600 s (RFC 4861, 6.2.1) when IPv6 is on, and is silent
// otherwise.
#pragma once

#include <slirp/libslirp.h>

#include <functional>
#include <memory>
#include <vector>

#include "base/log.h"
#include "base/time.h"
#include "slirp/command.h"
#include "slirp/config.h"
#include "slirp/flows.h"
#include "slirp/poll_set.h"
#include "slirp/unix_relay.h"

namespace rp::slirp {

/// The libslirp configuration version to use with the library found at run time, whose version
/// string this is: a newer version than it knows makes it refuse.
std::uint32_t config_version(const char* library_version) noexcept;

class Nat {
 public:
  /// Where frames for guests go; called from inside input() and run().
  using ToGuest = std::function<void(std::span<const std::uint8_t>)>;

  /// Opens all forwards. Throws Error and leaves nothing behind.
  Nat(const Config& config, Log log, ToGuest to_guest, Instant now);
  ~Nat();
  Nat(Nat&&) = delete;

  /// The frame inside input(); empty outside.
  std::span<const std::uint8_t> current() const noexcept { return current_; }
  int fd() const noexcept { return polls_.fd(); }

  /// A frame that passed the guard. False: refused, the guest holds too many flows.
  bool input(std::span<const std::uint8_t> frame, sw::PortId guest, Instant now) noexcept;
  /// Looks at sockets and timers, if there is anything to look at.
  void run(Instant now) noexcept;
  /// Before sleeping on fd(). False: there is work already. `fragments`: unfinished ones wait.
  bool prepare_wait(Instant now, bool fragments) noexcept;

  void forget(sw::PortId guest) noexcept { flows_.forget(guest); }
  void report(const CounterSink& sink) const { flows_.report(sink); }

 private:
  struct Callbacks;
  struct Deleter {
    void operator()(Slirp* s) const noexcept { slirp_cleanup(s); }
  };
  struct UnixForward {
    std::string path;
    std::uint64_t device, inode;
  };

  void open(const Config& config);
  void close() noexcept;
  void add_hostfwd(const HostForward& f, const Config& config);
  void add_guestfwd(const GuestForward& f, const Config& config);
  void prepare_unix_path(const HostForward& f);
  void announce_port(const HostForward& f);
  void wind_clock(Instant now) noexcept;
  void fill() noexcept;
  int watch(int fd, int events) noexcept;
  int ready(int fd) const noexcept;

  Log log_;
  ToGuest to_guest_;
  Instant now_;
  PollSet polls_;
  Flows flows_;
  std::vector<std::unique_ptr<Command>> commands_;
  std::vector<std::unique_ptr<UnixRelay>> relays_;
  std::vector<UnixForward> unix_forwards_;
  std::vector<int> listeners_;  ///< as of the last fill()
  std::unique_ptr<sockaddr_in> outbound_;
  std::unique_ptr<sockaddr_in6> outbound6_;
  std::unique_ptr<Slirp, Deleter> slirp_;

  std::span<const std::uint8_t> current_;  ///< the frame inside input()
  bool forwards_ = false;                  ///< there are listeners
  bool scarce_ = false;  ///< as of the last fill(): too few descriptors to accept with
  bool need_fill_ = true, need_poll_ = true;
  std::uint32_t timeout_ms_ = 0;
  Instant wound_at_ = Instant::min() / 2;
  Instant wake_at_ = Instant::max(), advertise_at_ = Instant::max();
};

}  // namespace rp::slirp
