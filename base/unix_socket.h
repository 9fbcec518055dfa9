// SPDX-License-Identifier: BSD-3-Clause
// unix_socket.h - listening on a UNIX path: a dead process' socket is replaced, a live one's never.
#pragma once

#include <sys/un.h>

#include <cstdint>
#include <string>

#include "base/fd.h"

namespace rp {

/// The address of a path. Throws Error (`what` starts its sentence) when it is empty or too long.
sockaddr_un unix_address(const std::string& path, const std::string& what);

/// A listening socket that takes its name away again when it goes, if the name is still its own.
class UnixListener {
 public:
  UnixListener() = default;
  /// Throws Error: the path is no socket, or another process listens there.
  UnixListener(const sockaddr_un& address, int backlog, const std::string& what);
  ~UnixListener();
  UnixListener(UnixListener&& other) noexcept;
  UnixListener& operator=(UnixListener&& other) noexcept;

  int fd() const noexcept { return socket_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(socket_); }

 private:
  sockaddr_un address_{};
  std::uint64_t device_ = 0, inode_ = 0;
  Fd socket_;
};

/// Takes away what a dead process left at the path. Throws Error when something live is there.
void clear_stale_socket(const sockaddr_un& address, const std::string& what);

}  // namespace rp
