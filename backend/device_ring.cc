// SPDX-License-Identifier: BSD-3-Clause
// device_ring.cc - names of faults, and where a ring's areas may lie.
#include "backend/device_ring.h"

#include <string>

#include "base/error.h"

namespace rp::backend {
namespace {

constexpr const char* kFaultNames[] = {"none",      "avail-jump", "head-range", "loop", "address",
                                       "direction", "indirect",   "too-big",    "wrap"};
static_assert(std::size(kFaultNames) == static_cast<std::size_t>(RingFault::count));

}  // namespace

const char* ring_fault_name(RingFault f) noexcept {
  return kFaultNames[static_cast<int>(f)];
}

std::uint8_t* DeviceRing::area(std::uint64_t address, std::uint64_t len, unsigned align,
                               const char* what) const {
  std::uint8_t* p = address % align == 0 ? memory_.translate(address, len) : nullptr;
  if (!p || reinterpret_cast<std::uintptr_t>(p) % align != 0)
    throw Error(Errc::invalid,
                std::string("the ") + what + " is misaligned or not wholly in shared memory");
  return p;
}

}  // namespace rp::backend
