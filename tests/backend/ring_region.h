// SPDX-License-Identifier: BSD-3-Clause
// ring_region.h - where things lie in the 256 KiB of shared memory that tests of rings use.
#pragma once

#include "backend/device_ring.h"

namespace rp::backend {

inline constexpr std::uint64_t kRegion = 0x10000;
inline constexpr std::size_t kRegionSize = 0x40000;
inline constexpr std::uint64_t kEnd = kRegion + kRegionSize;
inline constexpr std::uint64_t kData = 0x20000;   ///< behind every ring of these tests
inline constexpr std::uint64_t kTable = 0x40000;  ///< where indirect tables go
inline constexpr std::uint16_t kSize = 16;
inline constexpr RingFeatures kAll{.event_idx = true, .indirect = true};

}  // namespace rp::backend
