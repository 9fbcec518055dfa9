// SPDX-License-Identifier: BSD-3-Clause
// pattern.h - frames whose bytes all follow from their length and number.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace rp::test {

inline constexpr std::size_t kPatternHeader = 14 + 2 * sizeof(std::uint32_t);

inline std::uint8_t pattern_byte(std::uint32_t number, std::size_t at) {
  return static_cast<std::uint8_t>((number + at) * 131 >> 3);
}

/// A broadcast; `to` is the whole frame.
inline void write_pattern(std::span<std::uint8_t> to, std::uint8_t station, std::uint32_t number) {
  const std::uint8_t head[] = {255,  255, 255, 255, 255,     255,  0x52,
                               0x54, 0,   0,   0,   station, 0x88, 0xb5};
  const auto length = static_cast<std::uint32_t>(to.size());
  std::memcpy(to.data(), head, sizeof head);
  std::memcpy(to.data() + 14, &length, sizeof length);
  std::memcpy(to.data() + 18, &number, sizeof number);
  for (std::size_t i = kPatternHeader; i < to.size(); ++i) to[i] = pattern_byte(number, i);
}

/// The number of a whole frame.
inline std::optional<std::uint32_t> pattern_number(std::span<const std::uint8_t> frame) {
  if (frame.size() < kPatternHeader) return std::nullopt;
  std::uint32_t length, number;
  std::memcpy(&length, frame.data() + 14, sizeof length);
  std::memcpy(&number, frame.data() + 18, sizeof number);
  if (length != frame.size()) return std::nullopt;
  for (std::size_t i = kPatternHeader; i < frame.size(); ++i)
    if (frame[i] != pattern_byte(number, i)) return std::nullopt;
  return number;
}

}  // namespace rp::test
