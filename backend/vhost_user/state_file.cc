// SPDX-License-Identifier: BSD-3-Clause
// state_file.cc - a file that is ours alone, mapped.
#include "backend/vhost_user/state_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/error.h"
#include "base/fd.h"

namespace rp::backend::vhost_user {
namespace {

Mapping map(const std::string& path, std::size_t size) {
  // Not through a link and not another's file: what lies there is believed.
  const Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd) throw_errno("opening " + path + ", where the state of packed rings is kept", errno);
  struct stat st;
  if (fstat(fd.get(), &st) != 0) throw_errno(path, errno);
  if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0 || st.st_nlink > 1)
    throw Error(Errc::denied, path + ", where the state of packed rings is kept, is no file of " +
                                  "ours alone; remove it");
  // Before the file is touched: who is late must neither cut it short under a live door's mapping
  // nor remove it. The mapping keeps the lock, death drops it.
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw_errno("locking " + path, errno);
    throw Error(Errc::busy, path + ", where the state of packed rings is kept, is another door's");
  }
  if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) throw_errno("sizing " + path, errno);
  // A full disk is found here and not by a signal in the middle of a burst.
  if (const int error = posix_fallocate(fd.get(), 0, static_cast<off_t>(size)))
    throw_errno("making room for " + path, error);
  return Mapping(fd.get(), size);
}

}  // namespace

StateFile::StateFile(std::string path, std::size_t rings)
    : path_(std::move(path)), rings_(rings), mapping_(map(path_, rings * sizeof(PackedState))) {}

StateFile::~StateFile() {
  const auto all = rings();
  if (std::none_of(all.begin(), all.end(),
                   [](const PackedState& s) { return s.magic == PackedState::kMagic; }))
    unlink(path_.c_str());
}

void StateFile::clear() noexcept {
  for (PackedState& s : rings()) s.magic = 0;
}

std::span<PackedState> StateFile::rings() const noexcept {
  return {reinterpret_cast<PackedState*>(mapping_.data()), rings_};
}

}  // namespace rp::backend::vhost_user
