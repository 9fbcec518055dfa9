// SPDX-License-Identifier: BSD-3-Clause
// faults.h - system calls that fail when a test says so, and a clock that jumps.
//
// The program's own definitions stand before libc's, for the library too. What is armed counts for
// the calls of the thread that armed it; allocations and the clock are every thread's.
#pragma once

#include <cstdint>

namespace rp::test {

/// Makes the n-th call (from 1) that asks for something new fail, as with no descriptors or no
/// memory left: descriptors, mappings, threads.
void fail_call(unsigned n);
/// Ends it. True: that call was made, and failed.
bool failed();

/// Makes the n-th allocation (from 1) of any thread fail: operator new's, as C libraries end the
/// process.
void fail_allocation(unsigned n);
/// Ends it. True: it was made, and failed.
bool allocation_failed();
/// While it lives the thread's allocations don't count: those of the test itself.
struct Spared {
  Spared() noexcept;
  ~Spared();
};

/// New network devices are refused with this errno, as by a kernel that has no minor left; 0 ends
/// it.
void refuse_links(int err);

/// So many of a hundred calls that send or receive are interrupted, find no room, or do a part.
void disturb(unsigned percent, std::uint32_t seed);
/// Ends it. Returns how many were.
unsigned disturbed();

/// CLOCK_MONOTONIC and CLOCK_REALTIME are off by so much from here on.
void shift_clocks(std::int64_t monotonic_s, std::int64_t realtime_s);

}  // namespace rp::test
