// SPDX-License-Identifier: BSD-3-Clause
// owned_path.h - names in the file system that go with whoever made them, and no others.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>

namespace rp::sockets {

/// A name of what we made; taken away in the end unless it names something else by then. What it
/// names must be held open until then, so that the inode's number is given to nothing else.
class OwnedPath {
 public:
  OwnedPath() = default;
  /// `path` is absolute. Nothing is owned when nothing is there.
  explicit OwnedPath(std::string path) noexcept;
  ~OwnedPath();
  OwnedPath(OwnedPath&& other) noexcept;
  OwnedPath& operator=(OwnedPath&& other) noexcept;

  const std::string& path() const noexcept { return path_; }
  /// It is known by another name from now on; what is not owned stays so.
  void rename(std::string path) noexcept;
  /// It stays where it is.
  void disown() noexcept { path_.clear(); }

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  bool folder_ = false;
};

/// Gives a socket or folder an owner, a group (-1: as it is) and a mode, whatever the umask; never
/// what a symbolic link leads to. Throws Error; `what` starts its sentence.
void set_access(const std::string& path, uid_t owner, gid_t group, mode_t mode,
                const std::string& what);

}  // namespace rp::sockets
