// SPDX-License-Identifier: BSD-3-Clause
// harness.h - what every fuzz harness needs: decisions taken from the input, and a check that is
// there in every build.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <vector>

/// libFuzzer calls it with each input; without libFuzzer replay.cc does.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

#define RP_CHECK(condition)                                                        \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                \
    }                                                                              \
  } while (0)

namespace rp::fuzz {

using Bytes = std::vector<std::uint8_t>;

/// Takes decisions from the front of an input. Once that is used up, all of them are 0.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : left_(data, size) {}

  bool empty() const noexcept { return left_.empty(); }
  std::size_t left() const noexcept { return left_.size(); }

  std::uint8_t byte() noexcept { return number<std::uint8_t>(); }
  std::uint16_t u16() noexcept { return number<std::uint16_t>(); }
  std::uint32_t u32() noexcept { return number<std::uint32_t>(); }
  std::uint64_t u64() noexcept { return number<std::uint64_t>(); }
  bool flag() noexcept { return byte() & 1; }
  /// 0 to n - 1; n is at most 256.
  unsigned below(std::size_t n) noexcept { return byte() % static_cast<unsigned>(n); }

  /// The next n bytes; fewer when that is all there is.
  std::span<const std::uint8_t> take(std::size_t n) noexcept {
    const auto taken = left_.first(std::min(n, left_.size()));
    left_ = left_.subspan(taken.size());
    return taken;
  }
  Bytes bytes(std::size_t n) {
    const auto taken = take(n);
    return {taken.begin(), taken.end()};
  }
  std::string text(std::size_t n) {
    const auto taken = take(n);
    return {taken.begin(), taken.end()};
  }

 private:
  template <typename T>
  T number() noexcept {
    std::uint64_t v = 0;
    unsigned shift = 0;
    for (const std::uint8_t b : take(sizeof(T))) {
      v |= std::uint64_t{b} << shift;
      shift += 8;
    }
    return static_cast<T>(v);
  }

  std::span<const std::uint8_t> left_;
};

}  // namespace rp::fuzz
