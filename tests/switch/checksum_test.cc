// SPDX-License-Identifier: BSD-3-Clause
// checksum_test.cc - the fast Internet checksum against known values and a byte-wise twin.
#include "switch/checksum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace rp::sw {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::uint16_t naive_fold(std::uint64_t sum) {
  while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
  return static_cast<std::uint16_t>(sum);
}

/// One byte at a time: even places count 256.
std::uint16_t naive_checksum(std::span<const std::uint8_t> bytes, std::uint64_t sum = 0) {
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += std::uint64_t{bytes[i]} << (i % 2 ? 0 : 8);
  return static_cast<std::uint16_t>(~naive_fold(sum));
}

Bytes random_bytes(std::mt19937& rng, std::size_t n) {
  Bytes b(n);
  std::generate(b.begin(), b.end(), [&] { return static_cast<std::uint8_t>(rng()); });
  return b;
}

std::uint16_t checksum(std::span<const std::uint8_t> bytes) {
  return checksum_finish(checksum_add(0, bytes));
}

TEST(Checksum, KnownValues) {
  struct Case {
    Bytes bytes;
    std::uint16_t want;
  };
  const Case cases[] = {
      {{}, 0xffff},
      {{0}, 0xffff},
      {{0x12}, 0xedff},
      {{0x12, 0x34}, 0xedcb},
      {{0x12, 0x34, 0x56}, 0x97cb},
      {{0xff, 0xff}, 0},
      {{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}, 0x220d},  // RFC 1071, section 3
      {{0x45, 0, 0, 0x54, 0, 0, 0x40, 0, 0x40, 1, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2}, 0x2299},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(naive_checksum(c.bytes), c.want) << c.bytes.size();
    EXPECT_EQ(checksum(c.bytes), c.want) << c.bytes.size();
  }
}

TEST(Checksum, EveryLengthAndAlignmentAgreesWithTheTwin) {
  std::mt19937 rng(1);
  const Bytes pool = random_bytes(rng, 400);
  for (std::size_t at = 0; at < 16; ++at)
    for (std::size_t n = 0; n + at <= 300; ++n) {
      const auto part = std::span(pool).subspan(at, n);
      ASSERT_EQ(checksum(part), naive_checksum(part)) << at << " " << n;
    }
}

TEST(Checksum, LargeBuffersAndAllOnesCarry) {
  std::mt19937 rng(2);
  for (std::size_t n : {65535u, 65536u, 65557u, 1u << 20}) {
    const Bytes random = random_bytes(rng, n), ones(n, 0xff), zeros(n, 0);
    EXPECT_EQ(checksum(random), naive_checksum(random)) << n;
    EXPECT_EQ(checksum(ones), naive_checksum(ones)) << n;
    EXPECT_EQ(checksum(zeros), 0xffff) << n;
  }
}

TEST(Checksum, PiecesOfEvenLengthAddUp) {
  std::mt19937 rng(3);
  for (int round = 0; round < 500; ++round) {
    const Bytes b = random_bytes(rng, rng() % 200);
    const std::size_t cut = b.empty() ? 0 : (rng() % b.size()) & ~std::size_t{1};
    const auto all = std::span(b);
    const std::uint32_t first = checksum_add(0, all.first(cut));
    ASSERT_EQ(checksum_finish(checksum_add(first, all.subspan(cut))), naive_checksum(b));
  }
}

TEST(Checksum, AnyStartingSumIsKept) {
  const Bytes b = {0xff, 0xff, 0xff, 0xff, 0x80};
  for (std::uint32_t sum : {0u, 1u, 0xffffu, 0x10000u, 0xfffeffffu, 0xffffffffu})
    EXPECT_EQ(checksum_finish(checksum_add(sum, b)), naive_checksum(b, sum)) << sum;
}

TEST(Checksum, UpdateMatchesRecomputing) {
  EXPECT_EQ(checksum_update(0xdd2f, 0x5555, 0x3285), 0);  // RFC 1624, section 4
  std::mt19937 rng(4);
  for (int round = 0; round < 2000; ++round) {
    Bytes b = random_bytes(rng, 20);
    const std::size_t at = (rng() % 10) * 2;
    const std::uint16_t before = checksum(b);
    const auto from = static_cast<std::uint16_t>(b[at] << 8 | b[at + 1]);
    const auto to = static_cast<std::uint16_t>(rng());
    b[at] = static_cast<std::uint8_t>(to >> 8);
    b[at + 1] = static_cast<std::uint8_t>(to);
    ASSERT_EQ(checksum_update(before, from, to), naive_checksum(b));
  }
}

TEST(Checksum, PseudoHeadersMatchTheirBytes) {
  std::mt19937 rng(5);
  for (int round = 0; round < 500; ++round) {
    const std::uint8_t proto = round % 2 ? kProtoTcp : kProtoUdp;
    const std::uint32_t len = rng() % 65536;
    Bytes v4 = random_bytes(rng, 8), v6 = random_bytes(rng, 32);
    Ipv4Header ip4{};
    ip4.src = *read_at<Be32>(v4, 0);
    ip4.dst = *read_at<Be32>(v4, 4);
    Ipv6Header ip6{};
    std::copy_n(v6.begin(), 16, ip6.src.begin());
    std::copy_n(v6.begin() + 16, 16, ip6.dst.begin());
    const auto high = static_cast<std::uint8_t>(len >> 8), low = static_cast<std::uint8_t>(len);
    v4.insert(v4.end(), {0, proto, high, low});
    v6.insert(v6.end(), {0, 0, high, low, 0, 0, 0, proto});
    ASSERT_EQ(checksum_finish(pseudo_sum(ip4, proto, len)), naive_checksum(v4));
    ASSERT_EQ(checksum_finish(pseudo_sum(ip6, proto, len)), naive_checksum(v6));
  }
}

}  // namespace
}  // namespace rp::sw
