// SPDX-License-Identifier: BSD-3-Clause
// capabilities.h - gives up what the kernel lets a privileged process do.
//
// By bare system calls, not libcap-ng: they run in a signal handler of each thread, where that
// library's state and its reading of /proc have no place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace rp::tools {

/// The bit of "net_admin" and the like; none: no such capability is known here.
std::optional<unsigned> capability_bit(const std::string& name);

/// Leaves the calling thread those of the mask that it has, in no set but permitted, effective and
/// bounding. Returns 0 or an errno. Async-signal-safe.
int keep_capabilities(std::uint64_t mask) noexcept;

}  // namespace rp::tools
