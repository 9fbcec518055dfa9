// SPDX-License-Identifier: BSD-3-Clause
// nameless_listener.h - a UNIX socket that only this process can connect to.
//
// libslirp reaches guestfwd's services by connecting to a path, and it blocks while it does. This
// listener has a path, through /proc/self/fd, but no name in any directory, and room for more
// connections than guests may have flows.
#pragma once

#include <string>

#include "base/fd.h"

namespace rp::slirp {

class NamelessListener {
 public:
  /// Throws Error.
  NamelessListener();

  /// What to connect to; valid while this object lives.
  const std::string& path() const noexcept { return path_; }
  /// Readable when a connection waits.
  int fd() const noexcept { return listener_.get(); }
  /// The next connection, close-on-exec; empty when none waits. `flags`: SOCK_NONBLOCK or 0.
  Fd accept(int flags) noexcept;

 private:
  Fd listener_, inode_;
  std::string path_;
};

}  // namespace rp::slirp
