// SPDX-License-Identifier: BSD-3-Clause
// command.h - guestfwd=...-cmd: runs a fresh command for each connection, without the host noticing.
//
// libslirp connects to a listener of ours; we accept and start the command with the connection as its stdin and stdout. The command is no child of the
// host: it is started through an intermediate that ends at once and silently, so the host gets no
// SIGCHLD and no zombie, and the command inherits neither its signal mask nor its descriptors.
#pragma once

#include <string>

#include "slirp/nameless_listener.h"

namespace rp::slirp {

class Command {
 public:
  /// Throws Error: no such program, no socket.
  explicit Command(const std::string& command_line);
  ~Command();
  Command(Command&&) = delete;

  /// What libslirp connects to; valid while this object lives.
  const std::string& path() const noexcept { return listener_.path(); }
  /// Readable when a connection waits.
  int fd() const noexcept { return listener_.fd(); }
  /// Starts the command for each connection that waits. Never blocks for longer than a spawn.
  void accept() noexcept;

 private:
  NamelessListener listener_;
  std::string program_;
  char** argv_ = nullptr;
};

}  // namespace rp::slirp
