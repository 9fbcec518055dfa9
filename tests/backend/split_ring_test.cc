// SPDX-License-Identifier: BSD-3-Clause
// split_ring_test.cc - legal chains, and hostile drivers by name.
#include "backend/split_ring.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <random>
#include <string>
#include <thread>

#include "tests/backend/split_ring_fixture.h"

namespace rp::backend {
namespace {

// Legal drivers.

TEST_F(SplitRingTest, ChainsOfEveryLength) {
  start();
  for (std::uint16_t n = 1; n <= kSize; ++n) {
    std::vector<Piece> pieces;
    for (std::uint32_t i = 0; i < n; ++i) pieces.push_back({kData + i * 100, i + 1});
    const std::uint16_t offered = driver->chain(pieces);
    EXPECT_FALSE(ring->has_work());
    driver->publish();
    EXPECT_TRUE(ring->has_work());
    ASSERT_EQ(pop(), n);
    EXPECT_EQ(head, offered);
    EXPECT_EQ(bytes, n * (n + 1u) / 2);
    for (std::uint32_t i = 0; i < n; ++i) {
      EXPECT_EQ(segments[i].data, memory.translate(kData + i * 100, 1));
      EXPECT_EQ(segments[i].len, i + 1);
    }
    ring->complete({head, 1}, n);
    MockDriver::Used none{};
    EXPECT_FALSE(driver->reap(none)) << "visible before publish()";
    ring->publish();
    expect_completed(offered, n);
  }
}

TEST_F(SplitRingTest, IndirectChainsOfEveryLength) {
  start();
  for (std::uint16_t n = 1; n <= kSize; ++n) {
    std::vector<Piece> pieces;
    for (std::uint32_t i = 0; i < n; ++i) pieces.push_back({kData + i * 100, i + 1});
    // 2.7.5.3.1: the device ignores the table's own write flag.
    driver->indirect(pieces, kTable);
    driver->publish();
    ASSERT_EQ(pop(), n);
    EXPECT_EQ(bytes, n * (n + 1u) / 2);
    for (std::uint32_t i = 0; i < n; ++i)
      EXPECT_EQ(segments[i].data, memory.translate(kData + i * 100, 1));
    ring->complete({head, 1}, 0);
    ring->publish();
    expect_completed(head, 0);
  }
}

TEST_F(SplitRingTest, TheTablesOwnWriteFlagIsIgnored) {
  start();
  store_desc(driver->at<vring_desc>(kTable), {kData, 60, 0, 0});
  driver->indirect(kTable, sizeof(vring_desc), VRING_DESC_F_WRITE);
  driver->publish();
  EXPECT_EQ(pop(), 1);
}

TEST_F(SplitRingTest, HeaderSplitOverOneByteDescriptors) {
  start();
  for (std::uint32_t split = 1; split <= 12; ++split) {
    std::vector<Piece> pieces;
    for (std::uint32_t i = 0; i < split; ++i) pieces.push_back({kData + i, 1});
    pieces.push_back({kData + split, 72 - split});
    driver->chain(pieces);
    driver->publish();
    ASSERT_EQ(pop(), static_cast<int>(split) + 1);
    EXPECT_EQ(bytes, 72u);
    ring->complete({head, 1}, 0);
    ring->publish();
    expect_completed(head, 0);
  }
}

TEST_F(SplitRingTest, AChainThatFindsNoRoomStays) {
  start();
  driver->chain({{kData, 1}, {kData + 1, 2}, {kData + 3, 3}});
  driver->publish();
  EXPECT_EQ(ring->pop(std::span(segments).first(2), chain, bytes), -1);
  EXPECT_EQ(ring->pop(std::span(segments).first(0), chain, bytes), -1);
  EXPECT_FALSE(ring->broken());
  EXPECT_EQ(pop(), 3);
  EXPECT_EQ(bytes, 6u);
}

TEST_F(SplitRingTest, UnpopGivesChainsBackInOrder) {
  start(kSize, Direction::to_driver);
  for (std::uint32_t i = 0; i < 3; ++i) driver->chain({{kData + 100 * i, i + 1, true}});
  driver->publish();
  for (int round = 0; round < 3; ++round) {
    for (std::uint32_t i = 0; i < 3; ++i) {
      ASSERT_EQ(pop(), 1);
      EXPECT_EQ(bytes, i + 1);
    }
    EXPECT_EQ(pop(), 0);
    for (int i = 0; i < 3; ++i) ring->unpop({});
    EXPECT_TRUE(ring->has_work());
  }
}

TEST_F(SplitRingTest, CompletesOutOfOrder) {
  start();
  std::uint16_t heads[3];
  for (auto& h : heads) h = driver->chain({{kData, 60}});
  driver->publish();
  for (int i = 0; i < 3; ++i) ASSERT_EQ(pop(), 1);
  for (const int i : {2, 0, 1}) ring->complete({heads[i], 1}, static_cast<std::uint32_t>(i));
  ring->publish();
  for (const int i : {2, 0, 1}) expect_completed(heads[i], static_cast<std::uint32_t>(i));
}

TEST_F(SplitRingTest, NotifiesByEventIndex) {
  start();
  for (int i = 0; i < 8; ++i) driver->chain({{kData, 60}});
  driver->publish();
  EXPECT_FALSE(ring->publish()) << "nothing was completed";
  const auto finish = [&](int n) {
    for (int i = 0; i < n; ++i) {
      EXPECT_EQ(pop(), 1);
      ring->complete({head, 1}, 0);
    }
    return ring->publish();
  };
  driver->set_used_event(0);
  EXPECT_TRUE(finish(1));
  EXPECT_FALSE(finish(1)) << "the event has passed already";
  driver->set_used_event(4);
  EXPECT_FALSE(finish(2));
  EXPECT_TRUE(finish(3)) << "5 lies in the middle of the batch";
}

TEST_F(SplitRingTest, NotifiesByFlagsWithoutEventIndex) {
  start(kSize, Direction::from_driver, {});
  driver->chain({{kData, 60}});
  driver->chain({{kData, 60}});
  driver->publish(false);
  ASSERT_EQ(pop(), 1);
  ring->complete({head, 1}, 0);
  EXPECT_TRUE(ring->publish());
  driver->set_avail_flags(VRING_AVAIL_F_NO_INTERRUPT);
  ASSERT_EQ(pop(), 1);
  ring->complete({head, 1}, 0);
  EXPECT_FALSE(ring->publish());

  ring->disable_notifications();
  driver->chain({{kData, 60}});
  EXPECT_FALSE(driver->publish(false));
  EXPECT_FALSE(ring->enable_notifications()) << "a buffer waits";
  ASSERT_EQ(pop(), 1);
  EXPECT_TRUE(ring->enable_notifications());
  driver->chain({{kData, 60}});
  EXPECT_TRUE(driver->publish(false));
}

TEST_F(SplitRingTest, AsksForAKickByEventIndex) {
  start();
  EXPECT_TRUE(ring->enable_notifications());
  driver->chain({{kData, 60}});
  EXPECT_TRUE(driver->publish());
  EXPECT_FALSE(ring->enable_notifications());
  ASSERT_EQ(pop(), 1);
  ring->disable_notifications();
  driver->chain({{kData, 60}});
  EXPECT_FALSE(driver->publish()) << "the event index stayed behind";
}

TEST_F(SplitRingTest, IndicesWrapManyTimes) {
  for (const unsigned n : {1u, 2u, 16u, 1024u}) {
    const auto size = static_cast<std::uint16_t>(n);
    start(size, Direction::from_driver, kAll, 0xfff0);
    std::mt19937 random(size);
    std::deque<std::uint16_t> popped;
    std::size_t completed = 0;
    MockDriver::Used used{};
    while (completed < rounds(200'000)) {
      while (driver->free_descriptors() > 0 && random() % 8 != 0) driver->chain({{kData, 60}});
      driver->publish();
      while (pop() > 0) popped.push_back(head);
      for (std::uint16_t h : popped) ring->complete({h, 1}, completed & 0xff);
      ring->publish();
      for (; driver->reap(used); ++completed) {
        ASSERT_EQ(used.id, popped.front());
        popped.pop_front();
      }
      ASSERT_TRUE(popped.empty());
      ASSERT_FALSE(ring->broken()) << ring_fault_name(ring->fault());
    }
  }
}

// Hostile drivers.

TEST_F(SplitRingTest, T_RING_1_ZeroLengths) {
  for (int zero = 0; zero < 3; ++zero) {
    start();
    const auto len = [&](int i) { return i == zero ? 0u : 20u; };
    driver->chain({{kData, len(0)}, {kData, len(1)}, {kData, len(2)}});
    expect_fault(RingFault::address);
  }
  start();
  driver->chain({{kData, 0}});
  expect_fault(RingFault::address);
  start();
  driver->indirect(std::vector<Piece>{{kData, 20}, {kData, 0}}, kTable);
  expect_fault(RingFault::address);
}

TEST_F(SplitRingTest, T_RING_2_Addresses) {
  // Adjacent to the first in the driver's eyes, elsewhere in ours.
  add_region(memory, kEnd, 0x1000);
  const struct {
    std::uint64_t address;
    std::uint32_t len;
    bool good;
  } rows[] = {
      {kRegion, 1, true},
      {kEnd - 1, 1, true},
      {kEnd - 1, 2, false},  // spans both regions: refused, not split
      {kEnd, 0x1000, true},
      {kEnd, 0x1001, false},
      {kEnd + 0xfff, 1, true},
      {kEnd + 0xfff, 2, false},
      {kEnd + 0x1000, 1, false},
      {kRegion - 1, 1, false},
      {kRegion - 1, 2, false},
      {0, 1, false},
      {0, 0, false},
      {0, 0xffffffff, false},
      {kData, 0xffffffff, false},
      {~std::uint64_t{0}, 1, false},
      {~std::uint64_t{0}, 0, false},
      {~std::uint64_t{0}, 0xffffffff, false},
      {~std::uint64_t{0} - 59, 60, false},
      {std::uint64_t{0} - 0xffffffff, 0xffffffff, false},
      {std::uint64_t{1} << 63, 60, false},
      {(std::uint64_t{1} << 32) + kData, 60, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::to_string(row.address) + "+" + std::to_string(row.len));
    start();
    driver->chain({{kData, 60}, {row.address, row.len}});
    if (!row.good) {
      expect_fault(RingFault::address);
      continue;
    }
    driver->publish();
    ASSERT_EQ(pop(), 2);
    EXPECT_EQ(segments[1].data, memory.translate(row.address, row.len));
  }
}

TEST_F(SplitRingTest, T_RING_3_IndirectTableNotWhollyInside) {
  add_region(memory, kEnd, 0x1000);
  const struct {
    std::uint64_t table;
    std::uint32_t entries;
  } rows[] = {
      {kEnd - 16, 2},           // its last entry is in the next region
      {kEnd + 0x1000 - 16, 2},  // its last entry is nowhere
      {kEnd + 0x1000, 1},      {kRegion - 16, 2}, {std::uint64_t{0} - 16, 2}, {0, 1},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.table);
    start();
    if (memory.translate(row.table, 1))
      store_desc(driver->at<vring_desc>(row.table), {kData, 60, 0, 0});
    driver->indirect(row.table, static_cast<std::uint32_t>(desc_bytes(row.entries)));
    expect_fault(RingFault::indirect);
  }
}

TEST_F(SplitRingTest, T_RING_5_Loops) {
  const auto next_flag = std::uint16_t{VRING_DESC_F_NEXT};
  start();  // on itself
  driver->set_desc(3, {kData, 1, next_flag, 3});
  driver->offer(3);
  expect_fault(RingFault::loop);

  start();  // two in a circle
  driver->set_desc(3, {kData, 1, next_flag, 4});
  driver->set_desc(4, {kData, 1, next_flag, 3});
  driver->offer(3);
  expect_fault(RingFault::loop);

  start();  // a chain of the ring's size is legal, one more is not
  for (std::uint16_t i = 0; i < kSize; ++i)
    driver->set_desc(i, {kData, 1, next_flag, static_cast<std::uint16_t>((i + 1) % kSize)});
  driver->set_desc(kSize - 1, {kData, 1, 0, 0});
  driver->offer(0);
  driver->publish();
  EXPECT_EQ(pop(), kSize);
  driver->set_desc(kSize - 1, {kData, 1, next_flag, 0});
  driver->offer(0);
  expect_fault(RingFault::loop);

  start();  // inside an indirect table
  auto* entry = driver->at<vring_desc>(kTable);
  store_desc(&entry[0], {kData, 1, next_flag, 1});
  store_desc(&entry[1], {kData, 1, next_flag, 0});
  driver->indirect(kTable, 2 * sizeof(vring_desc));
  expect_fault(RingFault::indirect);
}

TEST_F(SplitRingTest, T_RING_6_AvailIndexJumps) {
  for (const std::uint16_t at : {std::uint16_t{0}, std::uint16_t{0xfff8}, std::uint16_t{0x8000}}) {
    for (const int jump : {kSize + 1, 0x7fff, 0x8000, 0x8001, 0xfff0, -1, -kSize}) {
      SCOPED_TRACE(std::to_string(at) + " by " + std::to_string(jump));
      start(kSize, Direction::from_driver, kAll, at);
      driver->set_avail_idx(static_cast<std::uint16_t>(at + jump));
      EXPECT_EQ(pop(), 0);
      EXPECT_EQ(ring->fault(), RingFault::avail_jump);
      expect_stopped();
    }
  }
  start();  // all of a full ring, then the whole ring once more before anything was completed
  for (int i = 0; i < kSize; ++i) driver->chain({{kData, 60}});
  driver->publish();
  for (int i = 0; i < kSize; ++i) ASSERT_EQ(pop(), 1);
  EXPECT_EQ(pop(), 0);
  EXPECT_FALSE(ring->broken());
  driver->set_avail_idx(kSize - 1);  // backwards
  EXPECT_EQ(pop(), 0);
  EXPECT_EQ(ring->fault(), RingFault::avail_jump);
}

TEST_F(SplitRingTest, T_RING_7_Heads) {
  for (const std::uint16_t bad : {kSize, std::uint16_t{0x8000}, std::uint16_t{0xffff}}) {
    start();
    driver->offer(bad);
    expect_fault(RingFault::head_range);
    start();
    driver->set_desc(0, {kData, 1, VRING_DESC_F_NEXT, bad});
    driver->offer(0);
    expect_fault(RingFault::head_range);
  }
  // The same head over and over is the driver's own loss: each offer completes once.
  start();
  driver->set_desc(5, {kData, 60, 0, 0});
  for (int i = 0; i < kSize; ++i) driver->offer(5);
  driver->publish();
  for (int i = 0; i < kSize; ++i) ASSERT_EQ(pop(), 1);
  EXPECT_EQ(pop(), 0);
  for (int i = 0; i < kSize; ++i) ring->complete({5, 1}, 0);
  ring->publish();
  for (int i = 0; i < kSize; ++i) expect_completed(5, 0);
  EXPECT_EQ(driver->used_idx(), kSize);
}

TEST_F(SplitRingTest, T_RING_8_TooManyBytes) {
  const auto big = static_cast<std::uint32_t>(kEnd - kData);
  start(1024);
  std::vector<Piece> pieces(64, Piece{kData, big});
  driver->chain(pieces);
  expect_fault(RingFault::too_big);
  start(1024);  // 4 GiB buffers don't exist
  driver->chain({{kData, 0xffffffff}, {kData, 0xffffffff}});
  expect_fault(RingFault::address);
  start(1024);  // a circle of large buffers ends at the byte limit
  driver->set_desc(0, {kData, big, VRING_DESC_F_NEXT, 0});
  driver->offer(0);
  expect_fault(RingFault::too_big);
}

TEST_F(SplitRingTest, T_RING_8_TheSumOf32BitLengthsDoesNotWrap) {
  // Sparse: 4 GiB of address space, no memory.
  add_region(memory, std::uint64_t{1} << 40, (std::size_t{1} << 32) + 4096);
  start();
  driver->chain({{std::uint64_t{1} << 40, 0xffffffff}, {std::uint64_t{1} << 40, 61}});
  expect_fault(RingFault::too_big);
}

TEST_F(SplitRingTest, T_RING_9_IndirectAbuse) {
  const auto fault = [&](const char* what, const std::function<void()>& build,
                         RingFeatures features = kAll) {
    SCOPED_TRACE(what);
    start(kSize, Direction::from_driver, features);
    auto* entry = driver->at<vring_desc>(kTable);
    for (std::uint16_t i = 0; i < 2 * kSize; ++i) store_desc(&entry[i], {kData, 1, 0, 0});
    build();
    expect_fault(RingFault::indirect);
  };
  const std::uint32_t one = sizeof(vring_desc);
  const auto entry = [&](int i, const vring_desc& d) {
    store_desc(driver->at<vring_desc>(kTable) + i, d);
  };
  fault("not negotiated", [&] { driver->indirect(kTable, one); }, {.event_idx = true});
  fault("with next", [&] { driver->indirect(kTable, one, VRING_DESC_F_NEXT); });
  fault("no entries", [&] { driver->indirect(kTable, 0u); });
  fault("less than one entry", [&] { driver->indirect(kTable, one - 1); });
  fault("one and a bit", [&] { driver->indirect(kTable, one + 1); });
  fault("misaligned", [&] { driver->indirect(kTable + 1, one); });
  fault("more than the ring", [&] { driver->indirect(kTable, one * (kSize + 1)); });
  fault("65536 entries", [&] { driver->indirect(kRegion, one * 0x4000); });
  fault("all of 32 bits", [&] { driver->indirect(kTable, 0xfffffff0u); });
  fault("next outside the table", [&] {
    entry(0, {kData, 1, VRING_DESC_F_NEXT, 1});
    driver->indirect(kTable, one);
  });
  fault("nested", [&] {
    entry(0, {kTable, one, VRING_DESC_F_INDIRECT, 0});
    driver->indirect(kTable, one);
  });
  fault("nested, second", [&] {
    entry(0, {kData, 1, VRING_DESC_F_NEXT, 1});
    entry(1, {kTable, one, VRING_DESC_F_INDIRECT, 0});
    driver->indirect(kTable, 2 * one);
  });
  fault("at the end of a chain", [&] {
    driver->set_desc(0, {kData, 1, VRING_DESC_F_NEXT, 1});
    driver->set_desc(1, {kTable, one, VRING_DESC_F_INDIRECT, 0});
    driver->offer(0);
  });
}

TEST_F(SplitRingTest, T_RING_9_TableMisalignedInOurMemory) {
  // Aligned in the driver's eyes; its region is not.
  add_region(memory, kEnd + 1, 0x1000);
  start();
  store_desc(driver->at<vring_desc>(kTable), {kData, 1, 0, 0});
  driver->indirect(kEnd + 16, sizeof(vring_desc));
  expect_fault(RingFault::indirect);
}

TEST_F(SplitRingTest, T_RING_9_WrongDirection) {
  start();
  driver->chain({{kData, 60, true}});
  expect_fault(RingFault::direction);
  start();
  driver->chain({{kData, 60, false}, {kData, 60, true}});
  expect_fault(RingFault::direction);
  start(kSize, Direction::to_driver);
  driver->chain({{kData, 60, true}, {kData, 60, false}});
  driver->publish();
  EXPECT_EQ(pop(), 0);
  EXPECT_EQ(ring->fault(), RingFault::direction);
}

TEST_F(SplitRingTest, T_RING_10_ScribbledUsedRing) {
  start();
  for (std::uint32_t round = 0; round < 1000; ++round) {
    const std::uint16_t offered = driver->chain({{kData, 60}});
    driver->publish();
    driver->scribble_used(static_cast<std::uint8_t>(round * 37));
    ASSERT_EQ(pop(), 1);
    ring->complete({head, 1}, round);
    driver->scribble_used(static_cast<std::uint8_t>(round * 41 + 1));
    ring->complete({head, 1}, round);  // its slot was scribbled over: written again, the next one
    ring->publish();
    // The device's own count went on, whatever stood in memory.
    EXPECT_EQ(driver->used_idx(), static_cast<std::uint16_t>(2 * (round + 1)));
    const auto* e = driver->areas().used_ring(static_cast<std::uint16_t>(2 * round + 1));
    EXPECT_EQ(e->id, offered);
    EXPECT_EQ(e->len, round);
    MockDriver::Used used{};
    ASSERT_TRUE(driver->reap(used));
    ASSERT_TRUE(driver->reap(used));
    ASSERT_FALSE(ring->broken());
  }
}

TEST_F(SplitRingTest, T_RING_11_Geometry) {
  const auto make = [&](const RingAddress& where) {
    SplitRing made(memory, where, Direction::from_driver, kAll);
  };
  for (const unsigned bad : {0u, 3u, 5u, 1000u, 1025u, 2048u, 32768u, 65535u})
    EXPECT_THROW(make(contiguous_ring(static_cast<std::uint16_t>(bad), kRegion)), Error) << bad;
  for (const unsigned good : {1u, 2u, 256u, 1024u})
    EXPECT_NO_THROW(make(contiguous_ring(static_cast<std::uint16_t>(good), kRegion))) << good;

  const RingAddress base{kSize, kRegion, kRegion + 0x1000, kRegion + 0x2000};
  const auto with = [&](auto change) {
    RingAddress a = base;
    change(a);
    return a;
  };
  EXPECT_NO_THROW(make(base));
  for (const std::uint64_t off : {1u, 2u, 4u, 8u, 15u})
    EXPECT_THROW(make(with([&](RingAddress& a) { a.desc += off; })), Error) << off;
  EXPECT_THROW(make(with([](RingAddress& a) { a.avail += 1; })), Error);
  EXPECT_NO_THROW(make(with([](RingAddress& a) { a.avail += 2; })));
  for (const std::uint64_t off : {1u, 2u, 3u})
    EXPECT_THROW(make(with([&](RingAddress& a) { a.used += off; })), Error) << off;

  for (const std::uint64_t bad : {std::uint64_t{0}, kRegion - 16, kEnd, kEnd - 16,
                                  ~std::uint64_t{15}, std::uint64_t{1} << 63}) {
    EXPECT_THROW(make(with([&](RingAddress& a) { a.desc = bad; })), Error) << bad;
    EXPECT_THROW(make(with([&](RingAddress& a) { a.avail = bad; })), Error) << bad;
    EXPECT_THROW(make(with([&](RingAddress& a) { a.used = bad; })), Error) << bad;
  }
  // To the last byte.
  EXPECT_NO_THROW(make(with([](RingAddress& a) { a.desc = kEnd - desc_bytes(kSize); })));
  EXPECT_NO_THROW(make(with([](RingAddress& a) { a.avail = kEnd - avail_bytes(kSize); })));
  EXPECT_THROW(make(with([](RingAddress& a) { a.avail = kEnd - avail_bytes(kSize) + 2; })), Error);
}

TEST_F(SplitRingTest, T_RING_11_MisalignedInOurMemory) {
  add_region(memory, kEnd + 8, 0x4000);
  const std::uint64_t at = kEnd + 0x10;  // aligned in the driver's eyes only
  EXPECT_THROW(
      SplitRing(memory, {kSize, at, at + 0x1000, at + 0x2000}, Direction::from_driver, kAll),
      Error);
}

TEST_F(SplitRingTest, T_RING_11_OverlappingAreasHurtOnlyTheDriver) {
  // All three areas in one place, the buffers and the table too: any outcome but a crash.
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    auto* bytes_at = memory.translate(kRegion, 0x1000);
    for (int i = 0; i < 0x400; ++i) bytes_at[i] = static_cast<std::uint8_t>(random() % 4);
    SplitRing all(memory, {kSize, kRegion, kRegion + 2u * (random() % 64), kRegion},
                  Direction::to_driver, kAll);
    for (int i = 0; i < 2 * kSize; ++i) {
      const int n = all.pop(segments, chain, bytes);
      if (n <= 0) break;
      for (int k = 0; k < n; ++k) std::memset(segments[static_cast<std::size_t>(k)].data, 0, 1);
      all.complete(chain, bytes);
      all.publish();
    }
  }
}

TEST_F(SplitRingTest, T_RING_18_BuffersOverTheRingItself) {
  start(kSize, Direction::to_driver);
  driver->chain({{driver->where().desc, 256, true}, {driver->where().avail, 38, true}});
  driver->publish();
  ASSERT_EQ(pop(), 2);
  for (int i = 0; i < 2; ++i)
    std::memset(segments[static_cast<std::size_t>(i)].data, 0xff,
                segments[static_cast<std::size_t>(i)].len);
  ring->complete({head, 1}, bytes);
  ring->publish();
  EXPECT_EQ(pop(), 0);
}

TEST_F(SplitRingTest, T_RING_4_FlippedWhileServed) {
  start(kSize, Direction::from_driver);
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> flips{0};
  std::thread flipper([&] {
    std::mt19937_64 random(4);
    const VringAreas& a = driver->areas();
    auto* table = driver->at<vring_desc>(kTable);
    std::size_t n = 0;
    for (; !stop.load(std::memory_order_relaxed); ++n) {
      const auto r = random();
      const auto i = static_cast<std::uint16_t>(r % kSize);
      vring_desc* d = r & 0x10000 ? &a.desc[i] : &table[i];
      const auto evil = static_cast<std::uint32_t>(r >> 40);
      switch (r >> 20 & 7) {
        case 0:
          store_relaxed(&d->addr, decltype(d->addr){r & 0x800000 ? kTable : kData + evil % 4096});
          break;
        case 1:
          store_relaxed(&d->len, decltype(d->len){r & 0x800000 ? 64 : evil % 70'000});
          break;
        case 2:
        case 3:
          store_relaxed(&d->flags, static_cast<std::uint16_t>(evil & (r & 0x800000 ? 5 : 1)));
          break;
        case 4:
          store_relaxed(&d->next, static_cast<std::uint16_t>(evil % (kSize + 1)));
          break;
        case 5:
          store_relaxed(a.avail_ring(i), static_cast<std::uint16_t>(evil % (kSize + 1)));
          break;
        case 6:
          store_relaxed(a.avail_idx(), static_cast<std::uint16_t>(load_relaxed(a.used_idx()) +
                                                                  evil % (kSize + 1)));
          break;
        default:
          store_relaxed(a.used_event(), static_cast<std::uint16_t>(evil));
          store_relaxed(a.used_idx(), load_relaxed(a.used_idx()));
          store_relaxed(&a.used_ring(i)->id, evil);
      }
    }
    flips = n;
  });
  const std::uint8_t* first = memory.translate(kRegion, kRegionSize);
  std::size_t served = 0, broken = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  while (std::chrono::steady_clock::now() < until) {
    SplitRing device(memory, driver->where(), Direction::from_driver, kAll,
                     load_relaxed(driver->areas().used_idx()));
    for (int turn = 0; turn < 1000 && !device.broken(); ++turn) {
      const int n = device.pop(segments, chain, bytes);
      if (n <= 0) continue;
      ++served;
      std::uint64_t sum = 0;
      for (const Segment& s : std::span(segments).first(static_cast<std::size_t>(n))) {
        ASSERT_TRUE(s.data >= first && s.len > 0 && s.len <= kRegionSize &&
                    s.data + s.len <= first + kRegionSize);
        sum += s.len;
      }
      ASSERT_EQ(sum, bytes);
      ASSERT_LT(chain.id, kSize);
      device.complete(chain, 0);
      device.publish();
      device.enable_notifications();
    }
    broken += device.broken();
  }
  stop = true;
  flipper.join();
  EXPECT_GT(flips, 0u);
  EXPECT_GT(served, 0u);
  EXPECT_GT(broken, 0u);
}

}  // namespace
}  // namespace rp::backend
