// SPDX-License-Identifier: BSD-3-Clause
// scale.h - how much of a long test a sanitized build runs.
#pragma once

#include <cstddef>

namespace rp::backend {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

/// `n` rounds of something, fewer where each costs many times as much.
constexpr std::size_t rounds(std::size_t n) noexcept {
  return kSanitized ? n / 10 : n;
}

}  // namespace rp::backend
