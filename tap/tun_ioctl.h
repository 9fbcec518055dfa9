// SPDX-License-Identifier: BSD-3-Clause
// tun_ioctl.h - what tap, tun and macvtap descriptors are told (linux/if_tun.h).
#pragma once

#include <string>

#include "base/fd.h"
#include "switch/frame.h"

namespace rp::tap {

/// /dev/net/tun, non-blocking. Throws Error (`what` starts it) that says how to get at it.
Fd open_tun_node(const std::string& what);

/// TUNSETIFF. Returns 0 or errno; `name` becomes the device's.
int set_interface(const Fd& fd, std::string& name, unsigned flags) noexcept;

/// False: the device of an attached descriptor was removed; macvtap's goes on reading and writing
/// as if nothing were.
bool still_there(const Fd& fd) noexcept;

/// What the kernel may hand us unfinished, which with a header is everything: the switch finishes
/// it. Returns what it takes from us; nothing without a header.
sw::Offloads set_offloads(const Fd& fd, bool header) noexcept;

/// TUNSETVNETHDRSZ. Throws Error.
void set_header_size(const Fd& fd, std::size_t size, const std::string& what);

}  // namespace rp::tap
