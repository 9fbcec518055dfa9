// SPDX-License-Identifier: BSD-3-Clause
// tcp_options.h - the options of TCP headers (RFC 9293 3.1 and 3.7.1).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/wire.h"

namespace rp::slirp {

inline constexpr std::uint8_t kOptionEnd = 0, kOptionNop = 1, kOptionMss = 2;

/// Does every option fit? An MSS of 0 does not: libslirp divides its window by it.
inline bool sound_tcp_options(std::span<const std::uint8_t> options) noexcept {
  while (!options.empty() && options[0] != kOptionEnd) {
    if (options[0] == kOptionNop) {
      options = options.subspan(1);
      continue;
    }
    const std::size_t len = options.size() < 2 ? 0 : options[1];
    if (len < 2 || len > options.size()) return false;
    if (options[0] == kOptionMss && (len != 4 || read_at<Be16>(options, 2)->get() == 0))
      return false;
    options = options.subspan(len);
  }
  return true;
}

/// Calls fn(option), a span of its bytes, for each MSS that sound options state.
template <typename Span, typename Fn>
void each_mss(Span options, Fn&& fn) noexcept {
  while (!options.empty() && options[0] != kOptionEnd) {
    const std::size_t len = options[0] == kOptionNop ? 1 : options[1];
    if (options[0] == kOptionMss) fn(options.first(len));
    options = options.subspan(len);
  }
}

/// The last that sound options state, as libslirp has it; 0: they state none.
inline std::uint16_t stated_mss(std::span<const std::uint8_t> options) noexcept {
  std::uint16_t mss = 0;
  each_mss(options, [&](auto option) { mss = read_at<Be16>(option, 2)->get(); });
  return mss;
}

/// The bytes stay, as NOPs.
inline void strip_mss(std::span<std::uint8_t> options) noexcept {
  each_mss(options, [](auto option) { std::ranges::fill(option, kOptionNop); });
}

}  // namespace rp::slirp
