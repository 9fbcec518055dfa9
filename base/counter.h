// SPDX-License-Identifier: BSD-3-Clause
// counter.h - how parts report named counters.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace rp {

/// Called once per counter. `name` is a static string such as "drop.runt"; values only grow.
using CounterSink = std::function<void(std::string_view name, std::uint64_t value)>;

}  // namespace rp
