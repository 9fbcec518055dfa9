// SPDX-License-Identifier: BSD-3-Clause
// state_file.cc - a file that is ours alone, mapped.
#include "backend/vhost_user/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"

namespace rp::backend::vhost_user {
namespace {

constexpr const char* kWhat = ", where the state of packed rings is kept, ";

/// What the file begins with: a file of somebody's that lies at its path must not be taken for one.
constexpr std::size_t kHeaderSize = 64;
constexpr std::array<char, kHeaderSize> kHeader{"ringplug: packed rings of vhost-user"};

/// The file, locked; nothing but an empty one was changed.
Fd open_ours(const std::string& path) {
  // Not through a link and not another's file: what lies there is believed.
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd) throw_errno("opening " + path + ", where the state of packed rings is kept", errno);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) throw_errno(path, errno);
  if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0 || st.st_nlink > 1)
    throw Error(Errc::denied, path + kWhat + "is no file of ours alone; remove it");
  // Before the file is touched: who is late must neither cut it short under a live door's mapping
  // nor remove it. The mapping keeps the lock, death drops it.
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw_errno("locking " + path, errno);
    throw Error(Errc::busy, path + kWhat + "is another door's");
  }
  std::array<char, kHeaderSize> header;
  const ssize_t n = pread(fd.get(), header.data(), header.size(), 0);
  if (n < 0) throw_errno("reading " + path, errno);
  if (n == 0) {
    const ssize_t written = pwrite(fd.get(), kHeader.data(), kHeaderSize, 0);
    if (written != static_cast<ssize_t>(kHeaderSize))
      throw_errno("writing " + path, written < 0 ? errno : ENOSPC);
  } else if (n != static_cast<ssize_t>(kHeaderSize) || header != kHeader) {
    throw Error(Errc::denied, path + kWhat + "holds something else; name another file by state=");
  }
  return fd;
}

Fd open_sized(const std::string& path, std::size_t size) {
  Fd fd = open_ours(path);
  if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) throw_errno("sizing " + path, errno);
  // A full disk is found here and not by a signal in the middle of a burst.
  if (const int error = posix_fallocate(fd.get(), 0, static_cast<off_t>(size)))
    throw_errno("making room for " + path, error);
  return fd;
}

}  // namespace

StateFile::StateFile(std::string path, std::size_t rings)
    : path_(std::move(path)),
      rings_(rings),
      file_(open_sized(path_, kHeaderSize + rings * sizeof(PackedState))),
      mapping_(file_.get(), rings * sizeof(PackedState), kHeaderSize) {}

StateFile::~StateFile() {
  const auto all = rings();
  if (std::any_of(all.begin(), all.end(),
                  [](const PackedState& s) { return s.magic == PackedState::kMagic; }))
    return;
  struct stat ours, there;
  if (fstat(file_.get(), &ours) == 0 && lstat(path_.c_str(), &there) == 0 &&
      ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
    unlink(path_.c_str());
}

void StateFile::clear() noexcept {
  for (PackedState& s : rings()) s.magic = 0;
}

std::span<PackedState> StateFile::rings() const noexcept {
  return {reinterpret_cast<PackedState*>(mapping_.data()), rings_};
}

}  // namespace rp::backend::vhost_user
