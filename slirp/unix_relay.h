// SPDX-License-Identifier: BSD-3-Clause
// unix_relay.h - guestfwd=...-unix: carries bytes between libslirp and a service's UNIX socket.
//
// libslirp could connect to the service itself, but it blocks while it does and logs each failure,
// both at a guest's command. So it connects to a listener of ours, and we connect without blocking;
// a service that is not there or is busy costs the guest a reset and nobody else anything.
#pragma once

#include <sys/un.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "slirp/nameless_listener.h"
#include "slirp/poll_set.h"

namespace rp::slirp {

class UnixRelay {
 public:
  /// The path has been checked for its length. Throws Error.
  explicit UnixRelay(const std::string& target);
  ~UnixRelay();
  UnixRelay(UnixRelay&&) = delete;

  const std::string& path() const noexcept { return listener_.path(); }
  /// Adds what this relay waits for to a round of `polls`; new connections only if `accept`.
  void watch(PollSet& polls, bool accept);
  /// Moves what can be moved, after polls.poll().
  void run(PollSet& polls) noexcept;

 private:
  /// One direction of one connection.
  struct Pipe {
    std::size_t begin = 0, end = 0;
    bool eof = false, done = false;
    std::array<std::uint8_t, 16384> bytes;
    bool wants_input() const noexcept { return !eof && begin == end; }
    bool wants_output() const noexcept { return begin != end; }
    /// False: the connection is broken.
    bool move(int from, int to) noexcept;
  };
  struct Connection {
    Fd inside, outside;  ///< to libslirp, to the service
    Pipe out, in;
  };
  bool step(Connection& c) noexcept;
  void flush(Connection& c) noexcept;
  void accept() noexcept;

  sockaddr_un target_{};
  NamelessListener listener_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace rp::slirp
