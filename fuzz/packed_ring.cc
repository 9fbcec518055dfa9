// SPDX-License-Identifier: BSD-3-Clause
// packed_ring.cc - the device end of a packed ring; what is asserted is in ring_session.h.
#include "fuzz/ring_session.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rp::fuzz::fuzz_ring<rp::backend::PackedSide>(data, size);
  return 0;
}
