// SPDX-License-Identifier: BSD-3-Clause
// policy.h - what one process may still do: the needs of the locators it opened, and its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "tools/sandbox/landlock.h"

namespace rp::tools {

struct Policy {
  std::set<std::string> calls;
  std::set<int> families;  ///< AF_*, of sockets
  bool dials = false;      ///< UNIX stream sockets too, which lead to other services
  std::set<std::uint64_t> ioctls;
  FileView files;
  std::uint64_t capabilities = 0;  ///< bits; what the process has of them it keeps
  std::vector<std::string> code;   ///< whose code may run that we don't know
  std::set<pid_t> signalled;       ///< processes that it may send signals to, besides itself
};

/// What a process of ours needs whatever it serves: the C library, GLib's main loop, the control
/// socket in `runtime`.
Policy own_policy();
/// Adds what a port of the locator needs; rp_needs() has it. Throws Complaint.
void add_locator(Policy& policy, const std::string& locator, bool listens);
/// Adds what is wanted of a path, with Reach.
void add_path(Policy& policy, const std::string& path, unsigned reach);

}  // namespace rp::tools
