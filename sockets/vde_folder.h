// SPDX-License-Identifier: BSD-3-Clause
// vde_folder.h - where a VDE switch is found: a folder with the socket `ctl` and its clients' ends.
//
//   PATH/ctl      listens; clients of libvdeplug are told PATH, those that connect by themselves
//                 (User-mode Linux' daemon transport, Bochs) PATH/ctl
//   PATH/NNN.FD   our end of a client's data socket
//   PATH/.PID-N   the client's end, where libvdeplug puts it while it connects
// The folder may be there already when it is empty or a dead switch's; what that left is cleared.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <string>

#include "base/fd.h"
#include "base/unix_socket.h"
#include "sockets/owned_path.h"

namespace rp::sockets {

/// Who may come in, as file modes; the defaults are vde_switch's.
struct VdeAccess {
  static constexpr gid_t kNoGroup = static_cast<gid_t>(-1);
  mode_t mode = 0600;      ///< of the sockets
  mode_t dirmode = 02700;  ///< of the folder
  gid_t group = kNoGroup;  ///< of both
  bool given = false;      ///< a folder that is there gets this mode as well
};

class VdeFolder {
 public:
  /// Makes the folder unless it is there. Throws Error: too long a path, or one that leads to
  /// something else. `what` starts its sentences.
  VdeFolder(const std::string& path, const VdeAccess& access, const std::string& what);

  const std::string& path() const noexcept { return path_; }
  const VdeAccess& access() const noexcept { return access_; }
  std::string control() const { return path_ + "/ctl"; }

  /// Listens on PATH/ctl. Throws Error: busy when another switch does.
  UnixListener listen();
  /// Listens on another path as well. Throws Error.
  UnixListener listen_on(const std::string& alias);
  /// Whether the process may come in: the kernel asks the modes as well, but not of a connection
  /// that was made before they were set.
  bool admits(const Fd& connection, const ucred& peer) const noexcept;

 private:
  UnixListener listen_at(const std::string& path);

  std::string what_, path_;
  VdeAccess access_;
  bool stale_ = false;  ///< a dead switch's socket lies there, or a live one's
  Fd held_;             ///< the folder, so that its inode's number stays ours
  OwnedPath ours_;      ///< the folder, when it goes with us
};

}  // namespace rp::sockets
