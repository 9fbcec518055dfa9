// SPDX-License-Identifier: BSD-3-Clause
// mac_table_test.cc - the MAC table beside a naive twin, its caps and its ageing.
#include "switch/mac_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/error.h"

namespace rp::sw {
namespace {

Mac mac(std::uint64_t v) {
  Mac m;
  for (std::size_t i = 0; i < 6; ++i) m.bytes[i] = static_cast<std::uint8_t>(v >> (8 * (5 - i)));
  return m;
}

TEST(MacTable, LearnsFindsAndMoves) {
  MacTable t({.entries = 16});
  EXPECT_EQ(t.find(mac(2), 0, 0s), kNoPort);
  EXPECT_EQ(t.learn(mac(2), 0, 7, 0s), MacTable::Learned::added);
  EXPECT_EQ(t.learn(mac(2), 0, 7, 1s), MacTable::Learned::known);
  EXPECT_EQ(t.find(mac(2), 0, 1s), 7u);
  EXPECT_EQ(t.learn(mac(2), 0, 8, 2s), MacTable::Learned::moved);
  EXPECT_EQ(t.find(mac(2), 0, 2s), 8u);
}

TEST(MacTable, VlansAreSeparate) {
  MacTable t({.entries = 16});
  t.learn(mac(2), 1, 1, 0s);
  t.learn(mac(2), 4094, 2, 0s);
  EXPECT_EQ(t.find(mac(2), 1, 0s), 1u);
  EXPECT_EQ(t.find(mac(2), 4094, 0s), 2u);
  EXPECT_EQ(t.find(mac(2), 0, 0s), kNoPort);
}

TEST(MacTable, AgesWithoutAClockOfItsOwn) {
  MacTable t({.entries = 16, .ageing = 300s});
  t.learn(mac(2), 0, 1, 1000s);
  EXPECT_EQ(t.find(mac(2), 0, 1300s), 1u);
  EXPECT_EQ(t.find(mac(2), 0, 1301s), kNoPort);
  EXPECT_EQ(t.learn(mac(2), 0, 2, 1400s), MacTable::Learned::added) << "a stale entry is no move";
}

TEST(MacTable, T_SW_3_NeverLearnsGroupOrZero) {
  MacTable t({.entries = 16});
  EXPECT_EQ(t.learn(kBroadcast, 0, 1, 0s), MacTable::Learned::refused);
  EXPECT_EQ(t.learn(mac(0x010000000001), 0, 1, 0s), MacTable::Learned::refused);
  EXPECT_EQ(t.learn(Mac{}, 0, 1, 0s), MacTable::Learned::refused);
  EXPECT_EQ(t.size(), 0u);
}

TEST(MacTable, T_SW_1_AFloodFromOnePortLeavesTheOthersReachable) {
  MacTable t({.entries = 1024});
  for (std::uint64_t i = 0; i < 100; ++i) t.learn(mac(0x020000000000 + i), 0, 1, 0s);
  for (std::uint64_t i = 0; i < 1'000'000; ++i) t.learn(mac(0x060000000000 + i), 0, 2, 1s);
  EXPECT_LE(t.size(), 1024u);
  for (std::uint64_t i = 0; i < 100; ++i)
    EXPECT_EQ(t.find(mac(0x020000000000 + i), 0, 1s), 1u) << i;
  EXPECT_EQ(t.learn(mac(0x0a0000000000), 0, 3, 1s), MacTable::Learned::added)
      << "another port still learns";
}

TEST(MacTable, AFullTableRecoversWhenEntriesAge) {
  MacTable t({.entries = 64, .per_port = 64, .ageing = 10s});
  for (std::uint64_t i = 1; i <= 64; ++i) t.learn(mac(i * 2), 0, 1, 0s);
  EXPECT_EQ(t.learn(mac(0x1000), 0, 2, 1s), MacTable::Learned::refused);
  int tries = 0;
  while (t.learn(mac(0x1000), 0, 2, 100s) == MacTable::Learned::refused && tries < 1000) ++tries;
  EXPECT_EQ(t.find(mac(0x1000), 0, 100s), 2u) << "after " << tries << " tries";
}

TEST(MacTable, ForgetsAPort) {
  MacTable t({.entries = 64});
  for (std::uint64_t i = 1; i <= 30; ++i) t.learn(mac(i * 2), 0, i % 2 ? 1 : 2, 0s);
  t.forget(1);
  EXPECT_EQ(t.size(), 15u);
  for (std::uint64_t i = 1; i <= 30; ++i)
    EXPECT_EQ(t.find(mac(i * 2), 0, 0s), i % 2 ? kNoPort : 2u);
}

TEST(MacTable, RejectsASizeOfZero) {
  EXPECT_THROW(MacTable({.entries = 0}), Error);
  EXPECT_THROW(MacTable({.entries = 1u << 21}), Error);
}

/// The same rules over std::map, without hashing, probing or lazy reclaiming.
struct Twin {
  struct Entry {
    PortId port;
    std::int64_t seen;
  };
  std::map<std::pair<std::uint64_t, int>, Entry> map;
  PortId find(std::uint64_t m, int vlan, std::int64_t now, std::int64_t ageing) const {
    const auto e = map.find({m, vlan});
    return e == map.end() || now - e->second.seen > ageing ? kNoPort : e->second.port;
  }
};

TEST(MacTable, AgreesWithANaiveTwin) {
  MacTable t({.entries = 4096, .per_port = 4096, .ageing = 50s});
  Twin twin;
  std::mt19937_64 random(1);
  std::int64_t now = 0;
  for (int step = 0; step < 300'000; ++step) {
    const std::uint64_t m = 2 + 2 * (random() % 500);
    const int vlan = static_cast<int>(random() % 3);
    const auto port = static_cast<PortId>(random() % 8);
    const auto at = std::chrono::seconds(now);
    switch (random() % 16) {
      case 0:
        now += static_cast<std::int64_t>(random() % 20);
        break;
      case 1:
        if (random() % 64 != 0) break;
        t.forget(port);
        std::erase_if(twin.map, [&](const auto& e) { return e.second.port == port; });
        break;
      case 2:
      case 3:
      case 4:
      case 5:
        ASSERT_NE(t.learn(mac(m), static_cast<std::uint16_t>(vlan), port, at),
                  MacTable::Learned::refused);
        twin.map[{m, vlan}] = {port, now};
        break;
      default:
        ASSERT_EQ(t.find(mac(m), static_cast<std::uint16_t>(vlan), at), twin.find(m, vlan, now, 50))
            << "step " << step;
    }
  }
}

TEST(MacTable, StaticAddressesStay) {
  MacTable t({.entries = 4, .ageing = 10s});
  const Mac a{{2, 0, 0, 0, 0, 1}};
  EXPECT_EQ(t.learn(a, 0, 1, 1s), MacTable::Learned::added);
  EXPECT_TRUE(t.add_static(a, 0, 2));
  EXPECT_EQ(t.size(), 1u);
  EXPECT_EQ(t.find(a, 0, 1000s), 2u);
  EXPECT_EQ(t.learn(a, 0, 1, 1000s), MacTable::Learned::refused);
  EXPECT_EQ(t.learn(a, 0, 2, 1000s), MacTable::Learned::known);
  EXPECT_TRUE(t.is_static(a, 0, 2));
  EXPECT_FALSE(t.is_static(a, 0, 1));
  EXPECT_FALSE(t.is_static(a, 5, 2));
  t.forget(a, 0);
  EXPECT_EQ(t.find(a, 0, 1000s), kNoPort);
  EXPECT_EQ(t.size(), 0u);
}

TEST(MacTable, StaticAddressesAreBoundedAndNotOfAShare) {
  MacTable t({.entries = 4, .per_port = 1});
  for (std::uint8_t i = 1; i <= 4; ++i) EXPECT_TRUE(t.add_static(Mac{{2, 0, 0, 0, 0, i}}, 0, 1));
  EXPECT_FALSE(t.add_static(Mac{{2, 0, 0, 0, 0, 5}}, 0, 1));
  EXPECT_FALSE(t.add_static(kBroadcast, 0, 1));
  t.forget(1);
  EXPECT_EQ(t.size(), 0u);
  EXPECT_EQ(t.learn(Mac{{2, 0, 0, 0, 0, 5}}, 0, 1, 1s), MacTable::Learned::added);
}

TEST(MacTable, WhatIsTooOldMovesWhateverTheHold) {
  MacTable t({.ageing = 3s, .hold = 100s});
  t.learn(mac(2), 0, 1, 0s);
  EXPECT_EQ(t.learn(mac(2), 0, 2, 3s), MacTable::Learned::refused);
  EXPECT_EQ(t.learn(mac(2), 0, 2, 4s), MacTable::Learned::added);
  EXPECT_EQ(t.find(mac(2), 0, 4s), 2u);
}

TEST(MacTable, AnOwnerThatWasJustHeardIsHeld) {
  MacTable t({.hold = 3s});
  const Mac a{{2, 0, 0, 0, 0, 1}};
  t.learn(a, 0, 1, 10s);
  EXPECT_EQ(t.learn(a, 0, 2, 12s), MacTable::Learned::refused);
  EXPECT_EQ(t.find(a, 0, 12s), 1u);
  EXPECT_EQ(t.learn(a, 0, 2, 13s), MacTable::Learned::moved);
  t.set_hold(0s);
  EXPECT_EQ(t.learn(a, 0, 1, 13s), MacTable::Learned::moved);
}

TEST(MacTable, NobodyOwnsTheZeroAddress) {
  MacTable t({});
  EXPECT_EQ(t.find(Mac{}, 0, 1s), kNoPort);
  t.forget(Mac{}, 0);
}

/// Addresses that fall together in tables with a plain hash: in a row, apart by powers of two, of
/// one vendor and reversed.
TEST(MacTable, T_SW_2_AddressesChosenToCollideDoNot) {
  constexpr std::uint32_t kEntries = 4096;
  for (unsigned shape = 0; shape < 5; ++shape) {
    MacTable t({.entries = kEntries, .per_port = kEntries});
    for (std::uint64_t n = 1; n <= kEntries; ++n) {
      const std::uint64_t spread[] = {n, n << 13, n << 20, n << 32, n * 8192 + (n >> 5)};
      Mac mac;
      for (std::size_t b = 0; b < 6; ++b)
        mac.bytes[b] = static_cast<std::uint8_t>(spread[shape] >> (8 * (5 - b)));
      mac.bytes[0] = static_cast<std::uint8_t>((mac.bytes[0] & 0xfc) | 2);
      t.learn(mac, 0, 1, 1s);
    }
    // At half load, by chance alone, a run of 64 comes once in 10^6 tables.
    EXPECT_LE(t.longest_lookup(), 64u) << shape;
  }
}

TEST(MacTable, AStaticAddressTakesTheRoomOfALearnedOne) {
  MacTable t({.entries = 4, .per_port = 4});
  for (std::uint8_t i = 1; i <= 4; ++i)
    EXPECT_EQ(t.learn(Mac{{2, 0, 0, 0, 0, i}}, 0, 1, 1s), MacTable::Learned::added);
  EXPECT_TRUE(t.add_static(Mac{{2, 0, 0, 0, 0, 9}}, 0, 2));
  EXPECT_EQ(t.find(Mac{{2, 0, 0, 0, 0, 9}}, 0, 1s), 2u);
  EXPECT_EQ(t.size(), 4u);
}

}  // namespace
}  // namespace rp::sw
