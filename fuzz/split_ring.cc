// SPDX-License-Identifier: BSD-3-Clause
// split_ring.cc - the device end of a split ring; what is asserted is in ring_session.h.
#include "fuzz/ring_session.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rp::fuzz::fuzz_ring<rp::backend::SplitSide>(data, size);
  return 0;
}
