// SPDX-License-Identifier: BSD-3-Clause
// soon.h - waits for what another thread or process does.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace rp::test {

/// Longer than anything takes, even sanitized on a busy machine.
inline constexpr std::chrono::milliseconds kPatience{20'000};

/// False: it is not so after all that time.
inline bool soon(const std::function<bool()>& is) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (!is()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace rp::test
