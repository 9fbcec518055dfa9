// SPDX-License-Identifier: BSD-3-Clause
// sandbox.h - what a process that serves guests gives up once all that it serves is open.
//
// A guest that finds a hole in us, or in a library that we use, then has this process' open
// descriptors, and no way from them to the host's files, other processes or the kernel's rarer
// calls. The layers, each by its own file, outermost first:
//   - NO_NEW_PRIVS, and no core dump and no ptrace by others (PR_SET_DUMPABLE 0);
//   - capabilities: those stay that the open modes need to get a device back;
//   - Landlock: the files that are read and the folders where sockets are made and removed;
//   - seccomp: the calls that the open modes make.
// There are no namespaces of our own: a user namespace can't be entered by a process with threads,
// it would take from the switch the sight of its clients' users, and what others would hide is
// refused by the two layers above already, also to whoever has no rights.
//
// A layer that this kernel lacks is said and left out; the rest stands. What each mode needs is
// written beside its calls and comes through rp_needs(). Built with a sanitizer or for coverage,
// whose run-time libraries trace, fork and write files, the two last layers are left out.
#pragma once

#include <string>
#include <vector>

#include "tools/sandbox/policy.h"

namespace rp::tools {

struct Confinement {
  std::vector<std::string> layers;   ///< in force, as "no-new-privs" and "landlock-6"
  std::vector<std::string> missing;  ///< a sentence each
  std::string text() const;          ///< of the layers
};

/// Confines the process: all its threads, for good.
Confinement enter_sandbox(const Policy& policy);

}  // namespace rp::tools
