// SPDX-License-Identifier: BSD-3-Clause
// time.h - the one notion of time: nanoseconds of CLOCK_MONOTONIC, always passed as an argument.
#pragma once

#include <chrono>

namespace rp {

using Instant = std::chrono::nanoseconds;
using namespace std::chrono_literals;

}  // namespace rp
