// SPDX-License-Identifier: BSD-3-Clause
// unix_socket.cc - bind, listen, and whose name it is.
#include "base/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace rp {

sockaddr_un unix_address(const std::string& path, const std::string& what) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (path.empty()) throw Error(Errc::invalid, what + ": the path of the socket is empty");
  if (path.size() >= sizeof a.sun_path)
    throw Error(Errc::invalid, what + ": the path of the socket is longer than 107 bytes");
  std::memcpy(a.sun_path, path.data(), path.size());
  return a;
}

void clear_stale_socket(const sockaddr_un& a, const std::string& what) {
  struct stat st;
  if (lstat(a.sun_path, &st) != 0) return;
  if (!S_ISSOCK(st.st_mode)) throw Error(Errc::busy, what + ": the path exists and is no socket");
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) throw_errno(what, errno);
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0 ||
      errno != ECONNREFUSED)
    throw Error(Errc::busy, what + ": another process listens there");
  unlink(a.sun_path);
}

UnixListener::UnixListener(const sockaddr_un& address, int backlog, const std::string& what)
    : address_(address) {
  clear_stale_socket(address, what);
  Fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!s || bind(s.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw_errno(what, errno);
  struct stat st;
  if (lstat(address.sun_path, &st) == 0) {
    device_ = st.st_dev;
    inode_ = st.st_ino;
  }
  socket_ = std::move(s);
  if (listen(socket_.get(), backlog) != 0) throw_errno(what, errno);
}

UnixListener::UnixListener(UnixListener&& other) noexcept {
  *this = std::move(other);
}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(socket_, other.socket_);
  return *this;
}

UnixListener::~UnixListener() {
  struct stat st;
  if (socket_ && lstat(address_.sun_path, &st) == 0 && st.st_dev == device_ && st.st_ino == inode_)
    unlink(address_.sun_path);
}

}  // namespace rp
