// SPDX-License-Identifier: BSD-3-Clause
// wire.h - network byte order without implicit conversion, and one bounds-checked way to read it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>

namespace rp {

/// A big-endian integer as it lies on the wire; get and set convert, nothing else does.
template <typename T>
class Big {
 public:
  Big() = default;
  explicit Big(T host) noexcept { set(host); }
  T get() const noexcept {
    T v;
    std::memcpy(&v, bytes_, sizeof v);
    return swap(v);
  }
  void set(T host) noexcept {
    const T v = swap(host);
    std::memcpy(bytes_, &v, sizeof v);
  }

 private:
  static T swap(T v) noexcept {
    if constexpr (std::endian::native == std::endian::big) return v;
    if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
    if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
    if constexpr (sizeof(T) == 8) return __builtin_bswap64(v);
  }
  std::uint8_t bytes_[sizeof(T)];
};

using Be16 = Big<std::uint16_t>;
using Be32 = Big<std::uint32_t>;
using Be64 = Big<std::uint64_t>;
static_assert(sizeof(Be16) == 2 && alignof(Be16) == 1);
static_assert(sizeof(Be32) == 4 && alignof(Be32) == 1);

/// Copies a wire struct out of `bytes` at `offset`; nothing when it does not lie wholly inside.
template <typename T>
std::optional<T> read_at(std::span<const std::uint8_t> bytes, std::size_t offset) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

/// Writes a wire struct back; false when it would not lie wholly inside.
template <typename T>
bool write_at(std::span<std::uint8_t> bytes, std::size_t offset, const T& value) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return false;
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
  return true;
}

}  // namespace rp
