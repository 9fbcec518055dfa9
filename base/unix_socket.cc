// SPDX-License-Identifier: BSD-3-Clause
// unix_socket.cc - lock the directory, probe, bind, listen.
#include "base/unix_socket.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/error.h"

namespace rp {
namespace {

using namespace std::chrono_literals;

/// The lock is held for microseconds by us; whoever holds it longer is somebody else.
constexpr std::chrono::milliseconds kPatience = 2s, kPause = 5ms;

const sockaddr* generic(const sockaddr_un& a) noexcept {
  return reinterpret_cast<const sockaddr*>(&a);
}

/// The open, locked directory of the path; closing it unlocks.
Fd lock_folder(const std::string& path, const std::string& what) {
  const std::string folder = std::filesystem::path(path).parent_path();
  Fd fd(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno(what + ": " + folder, errno);
  const auto start = std::chrono::steady_clock::now();
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) throw_errno(what + ": locking " + folder, errno);
    if (std::chrono::steady_clock::now() - start > kPatience)
      throw Error(Errc::busy, what + ": another process keeps " + folder + " locked");
    std::this_thread::sleep_for(kPause);
  }
  return fd;
}

/// "process 123", or words for one whose pid is not to be seen from here.
std::string peer_of(const Fd& connected) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(connected.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || peer.pid == 0)
    return "another process";
  return "process " + std::to_string(peer.pid);
}

/// Takes away what a dead process left at the address. Under the lock of its directory.
void clear_stale(const sockaddr_un& a, const std::string& what, int type) {
  struct stat st;
  if (lstat(a.sun_path, &st) != 0) return;
  const std::string path = a.sun_path;
  if (!S_ISSOCK(st.st_mode))
    throw Error(Errc::invalid, what + ": " + path + " exists and is no socket");
  // Non-blocking: a listener whose queue is full is live as well.
  const Fd probe(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) throw_errno(what, errno);
  if (connect(probe.get(), generic(a), sizeof a) == 0)
    throw Error(Errc::busy, what + ": " + peer_of(probe) + " listens on " + path);
  switch (errno) {
    case ECONNREFUSED:
      if (unlink(a.sun_path) != 0 && errno != ENOENT)
        throw_errno(what + ": removing " + path + ", which a dead process left", errno);
      break;
    case ENOENT:
      break;
    case EAGAIN:
    case EPERM:       // it is of datagrams, and connected to another
    case EPROTOTYPE:  // it is bound, to a socket of another type
      throw Error(Errc::busy, what + ": another process has " + path);
    default:
      throw_errno(what + ": " + path + " exists, and asking whether it is in use", errno);
  }
}

}  // namespace

sockaddr_un unix_address(const std::string& path, const std::string& what) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (path.empty()) throw Error(Errc::invalid, what + ": the path of the socket is empty");
  if (path.size() >= sizeof a.sun_path)
    throw Error(Errc::invalid, what + ": " + path + " is longer than 107 bytes, which is as long " +
                                   "as the path of a socket may be");
  std::memcpy(a.sun_path, path.data(), path.size());
  return a;
}

UnixListener::UnixListener(const sockaddr_un& address, int backlog, const std::string& what,
                           int type) {
  std::error_code no_folder;
  path_ = std::filesystem::absolute(address.sun_path, no_folder);
  if (no_folder) throw_errno(what + ": " + address.sun_path, no_folder.value());
  const Fd locked = lock_folder(path_, what);
  clear_stale(address, what, type);
  Fd s = bind_at(address, type, what);
  if (type != SOCK_DGRAM && listen(s.get(), backlog) != 0) {
    const int error = errno;
    unlink(path_.c_str());
    throw_errno(what + ": " + path_, error);
  }
  socket_ = std::move(s);
}

/// Binds a socket of ours there, and notes which file that is.
Fd UnixListener::bind_at(const sockaddr_un& address, int type, const std::string& what) {
  Fd s(socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // The mode of the socket is what bind() makes the file of, so it is never wider.
  if (!s || fchmod(s.get(), 0600) != 0) throw_errno(what, errno);
  if (bind(s.get(), generic(address), sizeof address) != 0)
    throw_errno(what + ": " + address.sun_path, errno);
  struct stat st;
  if (lstat(address.sun_path, &st) != 0) {
    const int error = errno;
    unlink(address.sun_path);
    throw_errno(what + ": " + address.sun_path, error);
  }
  device_ = st.st_dev;
  inode_ = st.st_ino;
  return s;
}

Fd UnixListener::renew(const std::string& what) {
  const std::string beside = path_ + "~" + std::to_string(getpid());
  const dev_t device = device_;
  const ino_t inode = inode_;
  struct stat st;
  if (lstat(path_.c_str(), &st) != 0 || st.st_dev != device || st.st_ino != inode)
    throw Error(Errc::busy, what + ": " + path_ + " was taken away or replaced");
  Fd fresh = bind_at(unix_address(beside, what), SOCK_DGRAM, what);
  if (rename(beside.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    unlink(beside.c_str());
    device_ = device;
    inode_ = inode;
    throw_errno(what + ": " + path_, error);
  }
  return std::exchange(socket_, std::move(fresh));
}

UnixListener::UnixListener(UnixListener&& other) noexcept {
  *this = std::move(other);
}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(socket_, other.socket_);
  return *this;
}

UnixListener::~UnixListener() {
  // The socket is still open: its inode's number can't have been given to another file.
  struct stat st;
  if (socket_ && lstat(path_.c_str(), &st) == 0 && st.st_dev == device_ && st.st_ino == inode_)
    unlink(path_.c_str());
}

}  // namespace rp
