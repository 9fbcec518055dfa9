// SPDX-License-Identifier: BSD-3-Clause
// nameless_listener.cc - binds in a directory that exists only for a moment.
#include "slirp/nameless_listener.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace rp::slirp {
namespace {

/// A full backlog would block libslirp, and with it the switch's thread. We accept in every turn,
/// and in one turn no more connections come than a burst has frames. (net.core.somaxconn caps it.)
constexpr int kBacklog = 4096;

}  // namespace

NamelessListener::NamelessListener() {
  std::array<char, 32> dir{"/tmp/rp-XXXXXX"};
  if (!mkdtemp(dir.data())) throw_errno("making a directory in /tmp", errno);
  const std::string path = std::string(dir.data()) + "/s";
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::memcpy(a.sun_path, path.c_str(), path.size());
  listener_.reset(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int error = 0;
  if (!listener_ || bind(listener_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 ||
      listen(listener_.get(), kBacklog) != 0)
    error = errno;
  if (error == 0) {
    inode_.reset(open(path.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
    if (!inode_) error = errno;
  }
  unlink(path.c_str());
  rmdir(dir.data());
  if (error != 0) throw_errno("making a socket for guestfwd", error);
  path_ = "/proc/self/fd/" + std::to_string(inode_.get());
}

Fd NamelessListener::accept(int flags) noexcept {
  return Fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | flags));
}

}  // namespace rp::slirp
