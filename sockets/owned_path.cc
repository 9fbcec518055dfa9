// SPDX-License-Identifier: BSD-3-Clause
// owned_path.cc - remembers inodes.
#include "sockets/owned_path.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/fd.h"

namespace rp::sockets {

OwnedPath::OwnedPath(std::string path) noexcept {
  struct stat st;
  if (lstat(path.c_str(), &st) != 0) return;
  path_ = std::move(path);
  device_ = st.st_dev;
  inode_ = st.st_ino;
  folder_ = S_ISDIR(st.st_mode);
}

OwnedPath::OwnedPath(OwnedPath&& other) noexcept {
  *this = std::move(other);
}

OwnedPath& OwnedPath::operator=(OwnedPath&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  std::swap(folder_, other.folder_);
  return *this;
}

void OwnedPath::rename(std::string path) noexcept {
  if (!path_.empty()) path_ = std::move(path);
}

OwnedPath::~OwnedPath() {
  struct stat st;
  if (path_.empty() || lstat(path_.c_str(), &st) != 0 || st.st_dev != device_ ||
      st.st_ino != inode_)
    return;
  if (folder_)
    rmdir(path_.c_str());
  else
    unlink(path_.c_str());
}

void set_access(const std::string& path, uid_t owner, gid_t group, mode_t mode,
                const std::string& what) {
  const Fd fd(open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct stat st;
  if (!fd || fstat(fd.get(), &st) != 0) throw_errno(what + ": " + path, errno);
  if (!S_ISSOCK(st.st_mode) && !S_ISDIR(st.st_mode))
    throw Error(Errc::invalid, what + ": " + path + " was replaced meanwhile");
  const auto none = [](auto id) { return id == static_cast<decltype(id)>(-1); };
  if ((!none(owner) || !none(group)) && fchownat(fd.get(), "", owner, group, AT_EMPTY_PATH) != 0)
    throw_errno(what + ": giving " + path + (none(owner) ? " to group " : " to user ") +
                    std::to_string(none(owner) ? group : owner),
                errno);
  const std::string same = "/proc/self/fd/" + std::to_string(fd.get());
  if (chmod(same.c_str(), mode) != 0) throw_errno(what + ": the mode of " + path, errno);
}

}  // namespace rp::sockets
