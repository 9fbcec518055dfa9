// SPDX-License-Identifier: BSD-3-Clause
// landlock.h - which files a process may still reach; see landlock(7).
//
// By bare system calls, as the C library has none. What the running kernel does not know is left
// out of the ruleset: ABI 1 came with Linux 5.13.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace rp::tools {

/// What may be done below a path. Opening with O_PATH, connecting to a socket and looking at
/// attributes are not Landlock's to refuse.
enum Reach : unsigned {
  kReachRead = 1,
  kReachWrite = 2,    ///< of what is there
  kReachSockets = 4,  ///< of a folder: to make them there, and to list it
  kReachRemove = 8,   ///< of a folder: names
};

struct FileView {
  std::map<std::string, unsigned> paths;  ///< with Reach; one that is not there is left out
  bool tcp = false;                       ///< may bind and connect
  bool abstract = false;                  ///< may connect to UNIX sockets without a file
};

/// The kernel's version of Landlock; 0: it has none.
int landlock_version() noexcept;

/// A descriptor for landlock_enter(), or -1 with errno.
int landlock_ruleset(const FileView& view);

/// Confines the calling thread, which must have NO_NEW_PRIVS. Returns 0 or an errno.
/// Async-signal-safe.
int landlock_enter(int ruleset) noexcept;

}  // namespace rp::tools
