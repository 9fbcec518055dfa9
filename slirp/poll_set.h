// SPDX-License-Identifier: BSD-3-Clause
// poll_set.h - keeps an epoll descriptor in step with the set of sockets libslirp wants watched.
//
// libslirp names its whole set anew before each wait; only the differences reach the kernel, and
// what is no longer asked for only when it would disturb a sleep: it may be asked for again before
// that.
#pragma once

#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/time.h"

namespace rp::slirp {

class PollSet {
 public:
  /// Throws Error.
  PollSet();

  /// Readable when a watched socket or the timer is due.
  int fd() const noexcept { return epoll_.get(); }

  /// A new round: what is not add()ed again is no longer asked for.
  void begin() noexcept { ++round_; }
  /// `events` are SLIRP_POLL_*. Returns the index for revents(), -1 when it can't be watched.
  int add(int fd, int events) noexcept;

  /// The descriptor is about to be closed, of which each has to be told, or is a fresh one under
  /// its number.
  void drop(int fd) noexcept;

  /// Looks what is ready, without waiting. Returns how many, the timer included.
  int poll() noexcept;
  /// Stops watching what nobody asks for. To be called before fd() is waited for.
  void shed() noexcept;
  /// SLIRP_POLL_* of the socket at `index` as of the last poll().
  int revents(int index) const noexcept;
  /// Forgets what the last poll() found.
  void clear() noexcept;

  /// Makes fd() readable at `when`; Instant::max(): never.
  void set_timer(Instant when) noexcept;

 private:
  struct Entry {
    std::uint32_t events = 0;  ///< as epoll knows them; 0: not watched
    std::uint32_t wanted = 0;  ///< a part of them, as of `round`
    std::uint32_t round = 0;
    std::uint32_t ready = 0;
    bool listed = false;  ///< in watched_
  };
  Entry& entry(int fd);
  std::uint32_t wanted(const Entry& e) const noexcept { return e.round == round_ ? e.wanted : 0; }
  bool found(int fd, std::uint32_t events);
  bool control(int fd, std::uint32_t was, std::uint32_t events) noexcept;

  Fd epoll_, timer_;
  Instant timer_at_ = Instant::max();
  std::uint32_t round_ = 0;
  std::vector<Entry> entries_;  ///< by descriptor
  std::vector<int> watched_, ready_;
};

}  // namespace rp::slirp
