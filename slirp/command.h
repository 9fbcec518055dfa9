// SPDX-License-Identifier: BSD-3-Clause
// command.h - guestfwd=...-cmd: runs a fresh command for each connection, without the host
// noticing.
//
// libslirp connects to a listener of ours; we accept and start the command with the connection as
// its stdin and stdout. The command is no child of the host: it is started through an intermediate
// that ends at once and silently, so the host gets no SIGCHLD and no zombie, and the command
// inherits neither its signal mask nor its descriptors. Those that run are known by pidfds: there
// are never more of them than a guest may have flows, and what still runs when this object goes is
// told so by SIGHUP.
#pragma once

#include <string>
#include <vector>

#include "slirp/nameless_listener.h"
#include "slirp/poll_set.h"

namespace rp::slirp {

class Command {
 public:
  /// Throws Error: no such program, no socket.
  Command(const std::string& command_line, std::size_t most);
  ~Command();
  Command(Command&&) = delete;

  /// What libslirp connects to; valid while this object lives.
  const std::string& path() const noexcept { return listener_.path(); }
  /// Adds what this waits for to a round of `polls`; new connections only if `accept`.
  void watch(PollSet& polls, bool accept);
  /// After polls.poll(): buries what has ended, and starts the command for each connection that
  /// waits. Never blocks for longer than a spawn.
  void run(PollSet& polls) noexcept;

 private:
  void accept() noexcept;
  void spawn(int connection) noexcept;

  std::size_t most_;
  std::vector<Fd> running_;  ///< pidfds
  NamelessListener listener_;
  std::string program_;
  char** argv_ = nullptr;
};

}  // namespace rp::slirp
