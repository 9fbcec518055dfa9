// SPDX-License-Identifier: BSD-3-Clause
// unix_socket.h - listening on a UNIX path: a dead process' socket is replaced, a live one's never.
//
// A socket that refuses connections is one that its process left behind. Looking, replacing and
// listening happen under a lock on the directory (flock), so of two processes that start at the
// same moment one finds the other listening. A listener takes its path away while it still
// listens: nobody can have replaced it then, but for whoever unlinked or moved it by hand, and the
// inode tells.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <string>

#include "base/fd.h"

namespace rp {

/// The address of a path. Throws Error (`what` starts its sentence) when it is empty or too long.
sockaddr_un unix_address(const std::string& path, const std::string& what);

/// A listening socket, mode 0600, that takes its path away again when it goes. One of SOCK_DGRAM is
/// bound there, which is all the listening that those do.
class UnixListener {
 public:
  UnixListener() = default;
  /// Listens, close-on-exec and non-blocking. `what` starts the sentences of errors. Throws Error:
  /// busy when a process listens there (the sentence has its pid), invalid when something else than
  /// a socket lies there.
  UnixListener(const sockaddr_un& address, int backlog, const std::string& what,
               int type = SOCK_STREAM);
  ~UnixListener();
  UnixListener(UnixListener&& other) noexcept;
  UnixListener& operator=(UnixListener&& other) noexcept;

  /// Of SOCK_DGRAM: puts a new socket in the place of this one, in one step, and returns the old
  /// one, which nobody new finds any more. `what` as above. Throws Error: then nothing has changed.
  Fd renew(const std::string& what);

  /// -1 when it listens nowhere.
  int fd() const noexcept { return socket_.get(); }
  explicit operator bool() const noexcept { return static_cast<bool>(socket_); }

 private:
  Fd bind_at(const sockaddr_un& address, int type, const std::string& what);

  std::string path_;  ///< absolute, as the process may change its folder
  dev_t device_ = 0;  ///< with inode_: which file is ours
  ino_t inode_ = 0;
  Fd socket_;
};

}  // namespace rp
