// SPDX-License-Identifier: BSD-3-Clause
// checksum.cc - sums eight bytes at a time; the byte order is put right once, at the end.
//
// One's complement addition may run on wider words and in either byte order (RFC 1071, 2(B) and
// 2(C)): 2^16, 2^32 and 2^64 all leave 1 modulo 2^16 - 1, so a carry counts 1 wherever it falls.
#include "switch/checksum.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace rp::sw {
namespace {

std::uint64_t load64(const std::uint8_t* p) noexcept {
  std::uint64_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

/// A sum of 64-bit words and, apart, the carries out of it: two instructions a word.
struct Accumulator {
  std::uint64_t sum = 0, carries = 0;
  void add(std::uint64_t word) noexcept {
    sum += word;
    carries += sum < word;
  }
};

/// Not zero unless `v` is: the folded sum tells an empty sum from one that wrapped to 0xffff.
std::uint16_t fold(std::uint64_t v) noexcept {
  v = (v >> 32) + (v & 0xffffffff);
  v = (v >> 32) + (v & 0xffffffff);
  v = (v >> 16) + (v & 0xffff);
  v = (v >> 16) + (v & 0xffff);
  return static_cast<std::uint16_t>((v >> 16) + (v & 0xffff));
}

std::uint16_t from_memory_order(std::uint16_t v) noexcept {
  if constexpr (std::endian::native == std::endian::little)
    return static_cast<std::uint16_t>((v << 8) | (v >> 8));
  return v;
}

}  // namespace

std::uint32_t checksum_add(std::uint32_t sum, std::span<const std::uint8_t> bytes) noexcept {
  const std::uint8_t* p = bytes.data();
  std::size_t left = bytes.size();
  Accumulator even, odd;  // two, so that neighbouring words need not wait for each other
  for (; left >= 32; p += 32, left -= 32) {
    even.add(load64(p));
    odd.add(load64(p + 8));
    even.add(load64(p + 16));
    odd.add(load64(p + 24));
  }
  for (; left >= 8; p += 8, left -= 8) even.add(load64(p));
  if (left > 0) {
    std::uint64_t tail = 0;
    std::memcpy(&tail, p, left);
    odd.add(tail);
  }
  even.add(odd.sum);
  const std::uint64_t total = std::uint64_t{fold(even.sum)} + even.carries + odd.carries;
  return fold(std::uint64_t{sum} + from_memory_order(fold(total)));
}

std::uint16_t checksum_finish(std::uint32_t sum) noexcept {
  return static_cast<std::uint16_t>(~fold(sum));
}

std::uint32_t pseudo_sum(const Ipv4Header& ip, std::uint8_t proto, std::uint32_t len) noexcept {
  const std::uint32_t src = ip.src.get(), dst = ip.dst.get();
  return (src >> 16) + (src & 0xffff) + (dst >> 16) + (dst & 0xffff) + proto + (len >> 16) +
         (len & 0xffff);
}

std::uint32_t pseudo_sum(const Ipv6Header& ip, std::uint8_t proto, std::uint32_t len) noexcept {
  const std::uint32_t addresses = checksum_add(checksum_add(0, ip.src), ip.dst);
  return addresses + proto + (len >> 16) + (len & 0xffff);
}

std::uint16_t checksum_update(std::uint16_t checksum, std::uint16_t from,
                              std::uint16_t to) noexcept {
  const std::uint32_t not_checksum = checksum ^ 0xffffu, not_from = from ^ 0xffffu;
  return checksum_finish(not_checksum + not_from + to);
}

}  // namespace rp::sw
