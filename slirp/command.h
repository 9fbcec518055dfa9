// SPDX-License-Identifier: BSD-3-Clause
// command.h - guestfwd=...-cmd: runs a fresh command for each connection, without the host noticing.
//
// libslirp connects to a UNIX socket of ours, which has no name left in any directory; we accept and
// start the command with the connection as its stdin and stdout. The command is no child of the
// host: it is started through an intermediate that ends at once and silently, so the host gets no
// SIGCHLD and no zombie, and the command inherits neither its signal mask nor its descriptors.
#pragma once

#include <string>

#include "base/fd.h"

namespace rp::slirp {

class Command {
 public:
  /// Throws Error: no such program, no socket.
  explicit Command(const std::string& command_line);

  /// What libslirp connects to; valid while this object lives.
  const std::string& path() const noexcept { return path_; }
  /// Readable when a connection waits.
  int fd() const noexcept { return listener_.get(); }
  /// Starts the command for each connection that waits. Never blocks for longer than a spawn.
  void accept() noexcept;

 private:
  Fd listener_, inode_;
  std::string path_;
  std::string program_;
  char** argv_ = nullptr;

 public:
  ~Command();
  Command(Command&&) = delete;
};

}  // namespace rp::slirp
