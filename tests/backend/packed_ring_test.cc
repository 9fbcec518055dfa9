// SPDX-License-Identifier: BSD-3-Clause
// packed_ring_test.cc - legal chains, and hostile drivers by name.
#include "backend/packed_ring.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <random>
#include <semaphore>
#include <string>
#include <thread>

#include "tests/backend/packed_ring_fixture.h"

namespace rp::backend {
namespace {

using Place = MockPackedDriver::Place;
constexpr std::uint16_t kNext = VRING_DESC_F_NEXT;
constexpr std::uint16_t kAvail = MockPackedDriver::kAvail, kUsed = MockPackedDriver::kUsed;

// Legal drivers.

TEST_F(PackedRingTest, T_LOG_2_WhatTheDeviceWritesIsLogged) {
  constexpr std::uint16_t kPageOfDescriptors = 256;
  const auto bitmap =
      std::make_shared<const Mapping>(make_memfd(kEnd / 4096 / 8).get(), kEnd / 4096 / 8);
  memory.set_log(bitmap);
  start(kPageOfDescriptors);
  const auto marked = [&](std::uint64_t address) {
    const std::uint64_t page = address / 4096;
    return (bitmap->data()[page / 8] >> page % 8 & 1) != 0;
  };
  driver->chain({{kData, 60}});
  driver->publish();
  ASSERT_EQ(pop(), 1);
  ring->complete(chain, 0);
  EXPECT_FALSE(marked(driver->where().desc));
  ring->publish();
  EXPECT_TRUE(marked(driver->where().desc));
  EXPECT_FALSE(marked(driver->where().used));
  ring->enable_notifications();
  EXPECT_TRUE(marked(driver->where().used));
  std::memset(bitmap->data(), 0, bitmap->size());
  ring->disable_notifications();
  EXPECT_TRUE(marked(driver->where().used));
  EXPECT_FALSE(marked(kData)) << "the driver's buffer was read only";
}

TEST_F(PackedRingTest, ChainsOfEveryLengthAtEveryPlace) {
  for (const std::uint16_t size : {std::uint16_t{1}, std::uint16_t{7}, kSize}) {
    start(size);
    for (unsigned round = 0; round < 40u * size; ++round) {
      const auto n = static_cast<std::uint16_t>(1 + round % size);
      std::vector<Piece> pieces;
      for (std::uint32_t i = 0; i < n; ++i) pieces.push_back({kData + i * 100, i + 1});
      const std::uint16_t id = driver->chain(pieces);
      EXPECT_FALSE(ring->has_work());
      EXPECT_EQ(pop(), 0);
      driver->publish();
      EXPECT_TRUE(ring->has_work());
      ASSERT_EQ(pop(), n) << ring_fault_name(ring->fault());
      EXPECT_FALSE(ring->has_work());
      EXPECT_EQ(chain.id, id);
      EXPECT_EQ(chain.slots, n);
      EXPECT_EQ(bytes, n * (n + 1u) / 2);
      for (std::uint32_t i = 0; i < n; ++i) {
        EXPECT_EQ(segments[i].data, memory.translate(kData + i * 100, 1));
        EXPECT_EQ(segments[i].len, i + 1);
      }
      ring->complete(chain, n);
      MockPackedDriver::Used none{};
      EXPECT_FALSE(driver->reap(none)) << "visible before publish()";
      ring->publish();
      expect_completed(id, n);
      EXPECT_EQ(driver->freed(), driver->next()) << "it went on by the chain's slots";
    }
  }
}

TEST_F(PackedRingTest, IndirectChainsOfEveryLength) {
  start();
  for (unsigned round = 0; round < 5 * kSize; ++round) {
    const std::uint32_t n = 1 + round % kSize;
    std::vector<Piece> pieces;
    for (std::uint32_t i = 0; i < n; ++i) pieces.push_back({kData + i * 100, i + 1});
    const std::uint16_t id = driver->indirect(pieces, kTable);
    driver->publish();
    ASSERT_EQ(pop(), static_cast<int>(n));
    EXPECT_EQ(chain.slots, 1);
    EXPECT_EQ(bytes, n * (n + 1u) / 2);
    for (std::uint32_t i = 0; i < n; ++i)
      EXPECT_EQ(segments[i].data, memory.translate(kData + i * 100, 1));
    ring->complete(chain, 0);
    ring->publish();
    expect_completed(id, 0);
  }
}

TEST_F(PackedRingTest, OfATablesFlagsOnlyThoseThatCountDo) {
  start();
  // 2.8.7: WRITE of the one that refers to the table, NEXT and ids in it, AVAIL and USED there.
  auto* entry = driver->at<vring_packed_desc>(kTable);
  store_desc(&entry[0], {kData, 60, 0xffff, kNext | kUsed});
  store_desc(&entry[1], {kData, 61, 0xffff, kNext | kAvail});
  driver->indirect(kTable, 2 * sizeof *entry, VRING_DESC_F_WRITE);
  driver->publish();
  EXPECT_EQ(pop(), 2);
  EXPECT_EQ(bytes, 121u);
}

TEST_F(PackedRingTest, AChainThatFindsNoRoomStays) {
  start();
  driver->chain({{kData, 1}, {kData + 1, 2}, {kData + 3, 3}});
  driver->publish();
  EXPECT_EQ(ring->pop(std::span(segments).first(2), chain, bytes), -1);
  EXPECT_EQ(ring->pop(std::span(segments).first(0), chain, bytes), -1);
  EXPECT_FALSE(ring->broken());
  EXPECT_EQ(pop(), 3);
  EXPECT_EQ(bytes, 6u);
}

TEST_F(PackedRingTest, UnpopGivesChainsBackInOrder) {
  // 1 + 2 + 3 slots from slot 12 of 16: the last lies across the end.
  start(kSize, Direction::to_driver, kAll, {12, false});
  for (std::uint32_t i = 0; i < 3; ++i) {
    std::vector<Piece> pieces(i + 1, Piece{kData + 100 * i, 10, true});
    driver->chain(pieces);
  }
  driver->publish();
  Chain chains[3];
  const std::uint32_t before = ring->position();
  for (int round = 0; round < 3; ++round) {
    for (std::uint32_t i = 0; i < 3; ++i) {
      ASSERT_EQ(pop(), static_cast<int>(i + 1));
      EXPECT_EQ(segments[0].data, memory.translate(kData + 100 * i, 1));
      chains[i] = chain;
    }
    EXPECT_EQ(pop(), 0);
    for (int i = 3; i-- > 0;) ring->unpop(chains[i]);
    EXPECT_TRUE(ring->has_work());
    EXPECT_EQ(ring->position(), before);
  }
  // What was given back leaves no trace: all of the ring can be in flight.
  std::vector<Piece> rest(kSize - 6, Piece{kData, 1, true});
  driver->chain(rest);
  driver->publish();
  for (int i = 0; i < 4; ++i) EXPECT_GT(pop(), 0);
}

TEST_F(PackedRingTest, ABatchShowsNothingUntilPublished) {
  start(kSize, Direction::to_driver, kAll, {13, true});
  for (std::uint32_t i = 0; i < 5; ++i) driver->chain({{kData, 60, true}, {kData, 60, true}});
  driver->publish();
  std::vector<vring_packed_desc> before;
  for (std::uint16_t i = 0; i < kSize; ++i) before.push_back(load_desc(driver->desc(i)));
  std::uint16_t ids[5];
  for (auto& id : ids) {
    ASSERT_EQ(pop(), 2);
    id = chain.id;
    ring->complete(chain, id + 1u);
  }
  for (std::uint16_t i = 0; i < kSize; ++i) {
    const auto now = load_desc(driver->desc(i));
    EXPECT_EQ(std::memcmp(&now, &before[i], sizeof now), 0) << i;
  }
  EXPECT_EQ(ring->published(), 13 | 0x8000);
  ring->publish();
  EXPECT_EQ(ring->published(), 7) << "ten slots on, in the next lap";
  for (const auto id : ids) expect_completed(id, id + 1u);
  // 2.8.3: WRITE says whether there is anything in the buffers.
  EXPECT_EQ(driver->desc(13)->flags, kAvail | kUsed | VRING_DESC_F_WRITE);
  EXPECT_EQ(driver->desc(1)->flags, VRING_DESC_F_WRITE);
  driver->chain({{kData, 60, true}});
  driver->publish();
  ASSERT_EQ(pop(), 1);
  ring->complete(chain, 0);
  ring->publish();
  EXPECT_EQ(driver->desc(driver->freed().slot)->flags, 0);
}

TEST_F(PackedRingTest, NotifiesByEventOffset) {
  for (const Place at : {Place{0, true}, Place{5, false}, Place{14, true}, Place{14, false}}) {
    SCOPED_TRACE(at.encoded());
    start(kSize, Direction::from_driver, kAll, at);
    for (int i = 0; i < kSize; ++i) driver->chain({{kData, 60}});
    driver->publish();
    EXPECT_FALSE(ring->publish()) << "nothing was completed";
    const auto finish = [&](int n) {
      for (int i = 0; i < n; ++i) {
        EXPECT_EQ(pop(), 1);
        ring->complete(chain, 0);
      }
      return ring->publish();
    };
    const auto wait_for = [&](int slots) {
      Place event = at;
      for (int i = 0; i < slots; ++i) driver->step(event);
      driver->set_driver_event(MockPackedDriver::kDesc, event.encoded());
    };
    wait_for(0);
    EXPECT_TRUE(finish(1));
    EXPECT_FALSE(finish(1)) << "the event has passed already";
    wait_for(4);
    EXPECT_FALSE(finish(2));
    EXPECT_TRUE(finish(3)) << "4 lies in the middle of the batch";
    wait_for(8);
    EXPECT_FALSE(finish(1));
    EXPECT_TRUE(finish(2)) << "8 is the last of the batch";
    wait_for(9);
    EXPECT_FALSE(finish(1));
    wait_for(kSize + 10);
    EXPECT_FALSE(finish(1)) << "that slot, a lap later";
  }
}

TEST_F(PackedRingTest, AnEventInsideAChainCounts) {
  start();
  driver->chain({{kData, 1}, {kData, 1}, {kData, 1}});
  driver->publish();
  driver->set_driver_event(MockPackedDriver::kDesc, Place{2, true}.encoded());
  ASSERT_EQ(pop(), 3);
  ring->complete(chain, 0);
  EXPECT_TRUE(ring->publish());
}

TEST_F(PackedRingTest, NotifiesByFlags) {
  for (const bool event_idx : {false, true}) {
    const struct {
      std::uint32_t flags;
      bool wanted;
    } rows[] = {{MockPackedDriver::kEnable, true},
                {MockPackedDriver::kDisable, false},
                {MockPackedDriver::kDesc, !event_idx},  // not negotiated: as if enabled
                {3, true},                              // reserved
                {0xfffc, true},
                {0xfffd, false}};
    for (const auto& row : rows) {
      start(kSize, Direction::from_driver, {.event_idx = event_idx});
      driver->chain({{kData, 60}});
      driver->publish();
      driver->set_driver_event(row.flags, Place{9, true}.encoded());
      ASSERT_EQ(pop(), 1);
      ring->complete(chain, 0);
      EXPECT_EQ(ring->publish(), row.wanted) << row.flags << " " << event_idx;
    }
  }
}

TEST_F(PackedRingTest, AsksForAKick) {
  for (const bool event_idx : {false, true}) {
    SCOPED_TRACE(event_idx);
    start(kSize, Direction::from_driver, {.event_idx = event_idx}, {14, true});
    const auto offer = [&] {
      driver->chain({{kData, 60}});
      return driver->publish(event_idx);
    };
    const auto serve = [&] {
      ASSERT_EQ(pop(), 1);
      ring->complete(chain, 0);
      ring->publish();
      expect_completed(chain.id, 0);
    };
    for (int round = 0; round < 3 * kSize; ++round) {
      EXPECT_TRUE(ring->enable_notifications());
      EXPECT_TRUE(offer());
      EXPECT_FALSE(ring->enable_notifications()) << "a buffer waits";
      serve();
      EXPECT_TRUE(ring->enable_notifications());
      ring->disable_notifications();
      EXPECT_FALSE(offer());
      serve();
    }
  }
}

TEST_F(PackedRingTest, PositionIsVhostUsersBase) {
  start(10, Direction::from_driver, kAll, {8, false});
  EXPECT_EQ(ring->position(), 0x00080008u);
  for (int i = 0; i < 3; ++i) driver->chain({{kData, 60}, {kData, 60}});
  driver->publish();
  std::deque<Chain> open;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(pop(), 2);
    open.push_back(chain);
  }
  EXPECT_EQ(ring->position(), 0x00088004u) << "avail is in the next lap, used is not";
  ring->complete(open[0], 0);
  EXPECT_EQ(ring->position(), 0x00088004u) << "not published";
  ring->publish();
  EXPECT_EQ(ring->position(), 0x80008004u);

  // A successor pops again what was in flight.
  PackedRing next(memory, driver->where(), Direction::from_driver, kAll, ring->position());
  for (int i = 1; i < 3; ++i) {
    ASSERT_EQ(next.pop(segments, chain, bytes), 2);
    EXPECT_EQ(chain.id, open[static_cast<std::size_t>(i)].id);
    next.complete(chain, 0);
  }
  EXPECT_EQ(next.pop(segments, chain, bytes), 0);
  next.publish();
  EXPECT_EQ(next.position(), 0x80048004u);
  for (const Chain& c : open) expect_completed(c.id, 0);
}

TEST_F(PackedRingTest, WrapsAMillionTimesAtEverySize) {
  for (const unsigned n : {1u, 2u, 3u, 7u, 16u, 1000u, 1024u}) {
    const auto size = static_cast<std::uint16_t>(n);
    start(size);
    std::mt19937 random(size);
    std::deque<Chain> popped;
    std::size_t wraps = 0;
    const std::size_t most = n < 3 ? rounds(1'000'000) : rounds(n < 100 ? 100'000 : 1000);
    MockPackedDriver::Used used{};
    bool wrap = true;
    while (wraps < most) {
      while (driver->free_descriptors() > 0 && random() % 16 != 0) {
        const std::size_t len = 1 + random() % std::min<std::size_t>(driver->free_descriptors(), 3);
        const Piece pieces[] = {{kData, 60}, {kData, 60}, {kData, 60}};
        driver->chain(std::span(pieces).first(len));
      }
      driver->publish();
      while (pop() > 0) popped.push_back(chain);
      for (const Chain& c : popped) ring->complete(c, wraps & 0xff);
      ring->publish();
      while (driver->in_flight() > 0) {
        ASSERT_FALSE(ring->broken()) << ring_fault_name(ring->fault());
        ASSERT_TRUE(driver->reap(used));
        ASSERT_EQ(used.id, popped.front().id);
        popped.pop_front();
        wraps += driver->freed().wrap != wrap;
        wrap = driver->freed().wrap;
      }
      ASSERT_TRUE(popped.empty());
    }
  }
}

// Hostile drivers.

TEST_F(PackedRingTest, T_RING_1_ZeroLengths) {
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

TEST_F(PackedRingTest, T_RING_2_Addresses) {
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
      {kEnd + 0xfff, 2, false},
      {kEnd + 0x1000, 1, false},
      {kRegion - 1, 2, false},
      {0, 1, false},
      {0, 0, false},
      {kData, 0xffffffff, false},
      {~std::uint64_t{0}, 1, false},
      {~std::uint64_t{0}, 0, false},
      {~std::uint64_t{0} - 59, 60, false},
      {std::uint64_t{0} - 0xffffffff, 0xffffffff, false},
      {std::uint64_t{1} << 63, 60, false},
      {(std::uint64_t{1} << 32) + kData, 60, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::to_string(row.address) + "+" + std::to_string(row.len));
    for (const bool second : {false, true}) {
      start();
      if (second)
        driver->chain({{kData, 60}, {row.address, row.len}});
      else
        driver->chain({{row.address, row.len}});
      if (!row.good) {
        expect_fault(RingFault::address);
        continue;
      }
      driver->publish();
      ASSERT_EQ(pop(), 1 + second);
      EXPECT_EQ(segments[second].data, memory.translate(row.address, row.len));
    }
  }
}

TEST_F(PackedRingTest, T_RING_3_IndirectTableNotWhollyInside) {
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
      store_desc(driver->at<vring_packed_desc>(row.table), {kData, 60, 0, 0});
    driver->indirect(row.table, row.entries * 16);
    expect_fault(RingFault::indirect);
  }
}

TEST_F(PackedRingTest, T_RING_5_ChainsLongerThanTheRing) {
  for (const std::uint16_t size : {std::uint16_t{1}, std::uint16_t{5}, kSize}) {
    SCOPED_TRACE(size);
    start(size);  // a chain of the ring's size is legal
    for (int i = 0; i < size; ++i)
      driver->put({kData, 1, 0, i + 1 < size ? kNext : std::uint16_t{0}}, i == 0);
    driver->publish();
    EXPECT_EQ(pop(), size);

    start(size);  // one more runs into itself
    for (int i = 0; i < size; ++i) driver->put({kData, 1, 0, kNext}, i == 0);
    expect_fault(RingFault::loop);
  }
}

TEST_F(PackedRingTest, T_RING_8_TooManyBytes) {
  const auto big = static_cast<std::uint32_t>(kEnd - kData);
  start(1024);
  driver->chain(std::vector<Piece>(64, Piece{kData, big}));
  expect_fault(RingFault::too_big);
  start(1024);
  driver->indirect(std::vector<Piece>(64, Piece{kData, big}), kTable);
  expect_fault(RingFault::too_big);
  start(1024);  // 4 GiB buffers don't exist
  driver->chain({{kData, 0xffffffff}, {kData, 0xffffffff}});
  expect_fault(RingFault::address);
}

TEST_F(PackedRingTest, T_RING_8_TheSumOf32BitLengthsDoesNotWrap) {
  // Sparse: 4 GiB of address space, no memory.
  add_region(memory, std::uint64_t{1} << 40, (std::size_t{1} << 32) + 4096);
  start();
  driver->chain({{std::uint64_t{1} << 40, 0xffffffff}, {std::uint64_t{1} << 40, 61}});
  expect_fault(RingFault::too_big);
}

TEST_F(PackedRingTest, T_RING_9_IndirectAbuse) {
  const auto fault = [&](const char* what, const std::function<void()>& build,
                         RingFeatures features = kAll) {
    SCOPED_TRACE(what);
    start(kSize, Direction::from_driver, features);
    auto* entry = driver->at<vring_packed_desc>(kTable);
    for (std::uint16_t i = 0; i < 2 * kSize; ++i) store_desc(&entry[i], {kData, 1, 0, 0});
    build();
    expect_fault(RingFault::indirect);
  };
  const std::uint32_t one = sizeof(vring_packed_desc);
  const auto entry = [&](int i, const vring_packed_desc& d) {
    store_desc(driver->at<vring_packed_desc>(kTable) + i, d);
  };
  fault("not negotiated", [&] { driver->indirect(kTable, one); }, {.event_idx = true});
  fault("with next", [&] {
    driver->indirect(kTable, one, kNext);
    driver->chain({{kData, 60}});
  });
  fault("no entries", [&] { driver->indirect(kTable, 0u); });
  fault("less than one entry", [&] { driver->indirect(kTable, one - 1); });
  fault("one and a bit", [&] { driver->indirect(kTable, one + 1); });
  fault("misaligned", [&] { driver->indirect(kTable + 1, one); });
  fault("more than the ring", [&] { driver->indirect(kTable, one * (kSize + 1)); });
  fault("16384 entries", [&] { driver->indirect(kRegion, one * 0x4000); });
  fault("all of 32 bits", [&] { driver->indirect(kTable, 0xfffffff0u); });
  fault("nested", [&] {
    entry(0, {kTable, one, 0, VRING_DESC_F_INDIRECT});
    driver->indirect(kTable, one);
  });
  fault("nested, second", [&] {
    entry(1, {kTable, one, 0, VRING_DESC_F_INDIRECT});
    driver->indirect(kTable, 2 * one);
  });
  fault("at the end of a chain", [&] {
    driver->put({kData, 1, 0, kNext});
    driver->put({kTable, one, 0, VRING_DESC_F_INDIRECT}, false);
  });
}

TEST_F(PackedRingTest, T_RING_9_TableMisalignedInOurMemory) {
  // Aligned in the driver's eyes; its region is not.
  add_region(memory, kEnd + 1, 0x1000);
  start();
  driver->indirect(kEnd + 16, sizeof(vring_packed_desc));
  expect_fault(RingFault::indirect);
}

TEST_F(PackedRingTest, T_RING_9_WrongDirection) {
  start();
  driver->chain({{kData, 60, true}});
  expect_fault(RingFault::direction);
  start();
  driver->chain({{kData, 60, false}, {kData, 60, true}});
  expect_fault(RingFault::direction);
  start();
  driver->indirect(std::vector<Piece>{{kData, 60, false}, {kData, 60, true}}, kTable);
  expect_fault(RingFault::direction);
  start(kSize, Direction::to_driver);
  driver->chain({{kData, 60, true}, {kData, 60, false}});
  driver->publish();
  EXPECT_EQ(pop(), 0);
  EXPECT_EQ(ring->fault(), RingFault::direction);
}

TEST_F(PackedRingTest, T_RING_10_ScribbledUsedDescriptors) {
  start();
  std::uint16_t slot = 0;
  bool wrap = true;
  for (std::uint32_t round = 0; round < 1000; ++round) {
    driver->chain({{kData, 60}});
    driver->publish();
    ASSERT_EQ(pop(), 1) << round << ring_fault_name(ring->fault());
    // While the device has it, and all that it wrote before.
    const auto evil = static_cast<std::uint16_t>(round * 41);
    for (std::uint16_t i = 0; i < kSize; ++i) driver->set_desc(i, {round, round, evil, evil});
    store_full(driver->at<std::uint32_t>(driver->where().used), round * 7919);
    ring->complete(chain, round);
    ring->publish();
    const auto d = load_desc(driver->desc(slot));
    EXPECT_EQ(d.id, chain.id);
    EXPECT_EQ(d.len, round);
    EXPECT_EQ(d.flags & (kAvail | kUsed), wrap ? kAvail | kUsed : 0);
    // The device's own count went on, whatever stood in memory.
    if (++slot == kSize) {
      slot = 0;
      wrap = !wrap;
    }
    EXPECT_EQ(ring->published(), slot | (wrap ? 0x8000 : 0));
    driver->reset({slot, wrap});
    ASSERT_FALSE(ring->broken());
  }
}

TEST_F(PackedRingTest, T_RING_11_Geometry) {
  const auto make = [&](const RingAddress& where, std::uint32_t at = PackedRing::kFresh) {
    PackedRing made(memory, where, Direction::from_driver, kAll, at);
  };
  for (const unsigned bad : {0u, 1025u, 2048u, 32768u, 65535u}) {
    try {
      make({static_cast<std::uint16_t>(bad), kRegion, kTable, kTable + 4});
      ADD_FAILURE() << bad;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find("from 1 to 1024"), std::string::npos) << e.what();
    }
  }
  for (const unsigned good : {1u, 2u, 3u, 255u, 256u, 1000u, 1023u, 1024u})
    EXPECT_NO_THROW(make({static_cast<std::uint16_t>(good), kRegion, kTable, kTable + 4})) << good;

  const RingAddress base{kSize, kRegion, kRegion + 0x1000, kRegion + 0x2000};
  const auto with = [&](auto change) {
    RingAddress a = base;
    change(a);
    return a;
  };
  EXPECT_NO_THROW(make(base));
  for (const std::uint64_t off : {1u, 2u, 4u, 8u, 15u})
    EXPECT_THROW(make(with([&](RingAddress& a) { a.desc += off; })), Error) << off;
  for (const std::uint64_t off : {1u, 2u, 3u}) {
    EXPECT_THROW(make(with([&](RingAddress& a) { a.avail += off; })), Error) << off;
    EXPECT_THROW(make(with([&](RingAddress& a) { a.used += off; })), Error) << off;
  }
  for (const std::uint64_t bad : {std::uint64_t{0}, kRegion - 16, kEnd, kEnd + 16,
                                  ~std::uint64_t{15}, std::uint64_t{1} << 63}) {
    EXPECT_THROW(make(with([&](RingAddress& a) { a.desc = bad; })), Error) << bad;
    EXPECT_THROW(make(with([&](RingAddress& a) { a.avail = bad; })), Error) << bad;
    EXPECT_THROW(make(with([&](RingAddress& a) { a.used = bad; })), Error) << bad;
  }
  // To the last byte.
  EXPECT_NO_THROW(make(with([](RingAddress& a) { a.desc = kEnd - 16 * kSize; })));
  EXPECT_THROW(make(with([](RingAddress& a) { a.desc = kEnd - 16 * kSize + 16; })), Error);
  EXPECT_NO_THROW(make(with([](RingAddress& a) { a.avail = kEnd - 4; })));
  add_region(memory, kEnd + 0x10000, 0x1002);
  EXPECT_THROW(make(with([](RingAddress& a) { a.avail = kEnd + 0x11000; })), Error);
  EXPECT_NO_THROW(make(with([](RingAddress& a) { a.used = kEnd - 4; })));

  // Positions: an index outside, or used ahead of avail, or further behind than the ring is long.
  const std::uint32_t bad_positions[] = {0x80108010, 0x00100000, 0x00000010, 0x7fff7fff,
                                         0xffffffff, 0x80018000, 0x00008001};
  for (const std::uint32_t bad : bad_positions)
    EXPECT_THROW(make(base, bad), Error) << std::hex << bad;
  for (const std::uint32_t good : {0x80008000u, 0u, 0x800f800fu, 0x000f000fu, 0x00008000u,
                                   0x80000000u, 0x80008001u, 0x000f8000u})
    EXPECT_NO_THROW(make(base, good)) << std::hex << good;
}

TEST_F(PackedRingTest, T_RING_11_MisalignedInOurMemory) {
  add_region(memory, kEnd + 8, 0x4000);
  const std::uint64_t at = kEnd + 0x10;  // aligned in the driver's eyes only
  EXPECT_THROW(PackedRing(memory, {kSize, at, kRegion, kRegion + 4}, Direction::from_driver, kAll),
               Error);
}

TEST_F(PackedRingTest, T_RING_11_OverlappingAreasHurtOnlyTheDriver) {
  // All three areas in one place, the buffers and the table too: any outcome but a crash.
  std::mt19937 random(11);
  for (int round = 0; round < 2000; ++round) {
    auto* bytes_at = memory.translate(kRegion, 0x1000);
    for (int i = 0; i < 0x400; ++i)
      bytes_at[i] = static_cast<std::uint8_t>(random() % 8 == 0 ? 0x80 | random() : random() % 4);
    PackedRing all(memory,
                   {kSize, kRegion, kRegion + 4u * (random() % 64), kRegion + 4u * (random() % 64)},
                   Direction::to_driver, kAll);
    for (int i = 0; i < 2 * kSize; ++i) {
      const int n = all.pop(segments, chain, bytes);
      if (n <= 0) break;
      for (int k = 0; k < n; ++k) std::memset(segments[static_cast<std::size_t>(k)].data, 0, 1);
      all.complete(chain, bytes);
      all.publish();
      all.enable_notifications();
    }
  }
}

TEST_F(PackedRingTest, T_RING_18_BuffersOverTheRingItself) {
  start(kSize, Direction::to_driver);
  driver->chain({{driver->where().desc, 256, true}, {driver->where().avail, 8, true}});
  driver->publish();
  ASSERT_EQ(pop(), 2);
  for (int i = 0; i < 2; ++i)
    std::memset(segments[static_cast<std::size_t>(i)].data, 0xff,
                segments[static_cast<std::size_t>(i)].len);
  ring->complete(chain, bytes);
  ring->publish();
  EXPECT_EQ(pop(), 0);
}

TEST_F(PackedRingTest, T_PACK_1_AvailEqualsUsed) {
  for (const Place at : {Place{0, true}, Place{3, false}}) {
    for (const std::uint16_t flags : {std::uint16_t{0}, std::uint16_t{kAvail | kUsed}}) {
      start(kSize, Direction::from_driver, kAll, at);
      driver->set_desc(at.slot, {kData, 60, 0, flags});
      EXPECT_FALSE(ring->has_work()) << "both bits alike is no available descriptor";
      EXPECT_EQ(pop(), 0);
      EXPECT_FALSE(ring->broken());
      EXPECT_TRUE(ring->enable_notifications());
    }
  }
}

TEST_F(PackedRingTest, T_PACK_2_WrongWrapCounter) {
  for (const Place at : {Place{0, true}, Place{3, false}}) {
    start(kSize, Direction::from_driver, kAll, at);
    driver->set_desc(at.slot, {kData, 60, 0, at.wrap ? kUsed : kAvail});
    EXPECT_FALSE(ring->has_work());
    EXPECT_EQ(pop(), 0);
    EXPECT_FALSE(ring->broken());
    EXPECT_TRUE(ring->enable_notifications());
  }
}

TEST_F(PackedRingTest, T_PACK_2_ARestThatIsNotAvailable) {
  for (const Place at : {Place{0, true}, Place{15, true}, Place{15, false}}) {
    Place second = at;
    start();
    driver->step(second);
    const std::uint16_t wrong[] = {0, kAvail | kUsed, second.wrap ? kUsed : kAvail};
    for (const std::uint16_t flags : wrong) {
      start(kSize, Direction::from_driver, kAll, at);
      driver->put({kData, 1, 0, kNext});
      driver->set_desc(second.slot, {kData, 1, 0, flags});
      expect_fault(RingFault::wrap);
    }
  }
}

TEST_F(PackedRingTest, T_PACK_3_IdsOutsideTheRing) {
  for (const std::uint16_t bad : {kSize, std::uint16_t{0x8000}, std::uint16_t{0xffff}}) {
    start();
    driver->put({kData, 60, bad, 0});
    expect_fault(RingFault::head_range);
    start();
    driver->put({kData, 60, 0, kNext});
    driver->put({kData, 60, bad, 0}, false);
    expect_fault(RingFault::head_range);
    start();
    store_desc(driver->at<vring_packed_desc>(kTable), {kData, 60, 0, 0});
    driver->put({kTable, 16, bad, VRING_DESC_F_INDIRECT});
    expect_fault(RingFault::head_range);
  }
  // 2.8.6: of a chain's ids only the last one counts.
  start();
  driver->put({kData, 60, 0xffff, kNext});
  driver->put({kData, 60, kSize - 1, 0}, false);
  driver->publish();
  EXPECT_EQ(pop(), 2);
  EXPECT_EQ(chain.id, kSize - 1);
}

TEST_F(PackedRingTest, ABrokenRingStaysBroken) {
  start();
  driver->put({kData, 60, 0xffff, 0});
  driver->publish();
  EXPECT_EQ(pop(), 0);
  driver->set_desc(0, {kData, 60, 0, kAvail});  // as if nothing had been
  EXPECT_EQ(pop(), 0);
  EXPECT_FALSE(ring->has_work());
  EXPECT_EQ(ring->fault(), RingFault::head_range);
}

TEST_F(PackedRingTest, T_PACK_4_DuplicateIds) {
  // Its own loss: each offer completes once.
  start();
  for (int i = 0; i < kSize; ++i) driver->put({kData, 60, 5, 0});
  driver->publish();
  for (int i = 0; i < kSize; ++i) {
    ASSERT_EQ(pop(), 1);
    ring->complete(chain, 0);
  }
  EXPECT_EQ(pop(), 0);
  ring->publish();
  for (std::uint16_t i = 0; i < kSize; ++i) {
    EXPECT_EQ(driver->desc(i)->id, 5);
    EXPECT_EQ(driver->desc(i)->flags, kAvail | kUsed);
  }
}

TEST_F(PackedRingTest, T_PACK_5_MoreThanTheRingHolds) {
  start();
  for (int i = 0; i < kSize; ++i) driver->chain({{kData, 60}});
  driver->publish();
  std::deque<Chain> open;
  for (int i = 0; i < kSize; ++i) {
    ASSERT_EQ(pop(), 1);
    open.push_back(chain);
  }
  EXPECT_EQ(pop(), 0);
  EXPECT_FALSE(ring->broken());
  driver->put({kData, 60, 0, 0});  // once more, before any came back
  driver->publish();
  EXPECT_EQ(pop(), 0);
  EXPECT_EQ(ring->fault(), RingFault::avail_jump);
  for (const Chain& c : open) ring->complete(c, 0);
  ring->publish();
  expect_stopped();

  start();  // a chain that runs into slots of others in flight, made available once more
  driver->chain({{kData, 60}, {kData, 60}});
  driver->publish();
  ASSERT_EQ(pop(), 2);
  for (int i = 2; i < kSize + 2; ++i)
    driver->put({kData, 1, 0, i <= kSize ? kNext : std::uint16_t{0}}, i == 2);
  expect_fault(RingFault::loop);
}

TEST_F(PackedRingTest, T_PACK_6_SizeOne) {
  start(1);
  for (int round = 0; round < 10; ++round) {
    const std::uint16_t id = driver->chain({{kData, 60}});
    EXPECT_TRUE(driver->publish() || round > 0);
    ASSERT_EQ(pop(), 1);
    EXPECT_EQ(pop(), 0);
    EXPECT_TRUE(ring->enable_notifications());
    driver->set_driver_event(MockPackedDriver::kDesc, driver->freed().encoded());
    ring->complete(chain, 1);
    EXPECT_TRUE(ring->publish());
    expect_completed(id, 1);
    driver->set_driver_event(MockPackedDriver::kDesc, driver->freed().encoded());
    EXPECT_FALSE(ring->publish());
  }
  start(1);
  driver->put({kData, 60, 1, 0});
  expect_fault(RingFault::head_range);
  start(1);
  driver->put({kData, 60, 0, kNext});
  expect_fault(RingFault::loop);
}

TEST_F(PackedRingTest, T_PACK_7_EventOffsetsOutsideTheRing) {
  for (std::uint32_t off = 0; off < 0x10000; off += off < 64 ? 1 : 251) {
    if (off % 13 == 0) start(kSize, Direction::from_driver, kAll, {11, off % 2 == 0});
    driver->chain({{kData, 60}});
    driver->publish();
    driver->set_driver_event(MockPackedDriver::kDesc, static_cast<std::uint16_t>(off));
    ASSERT_EQ(pop(), 1);
    ring->complete(chain, 0);
    ring->publish();  // whatever it says
    expect_completed(chain.id, 0);
  }
}

TEST_F(PackedRingTest, T_RING_4_FlippedWhileServed) {
  start(kSize, Direction::from_driver);
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> flips{0};
  std::thread flipper([&] {
    std::mt19937_64 random(4);
    auto* table = driver->at<vring_packed_desc>(kTable);
    std::size_t n = 0;
    for (; !stop.load(std::memory_order_relaxed); ++n) {
      const auto r = random();
      const auto i = static_cast<std::uint16_t>(r % kSize);
      vring_packed_desc* d = r & 0x10000 ? driver->desc(i) : &table[i];
      const auto evil = static_cast<std::uint32_t>(r >> 40);
      switch (r >> 20 & 7) {
        case 0:
          store_relaxed(&d->addr, decltype(d->addr){r & 0x800000 ? kTable : kData + evil % 4096});
          break;
        case 1:
          store_relaxed(&d->len, decltype(d->len){r & 0x800000 ? 64 : evil % 70'000});
          break;
        case 2:
          store_relaxed(&d->id, static_cast<std::uint16_t>(evil % (kSize + (r >> 16 & 1))));
          break;
        case 3:
          store_relaxed(driver->at<std::uint32_t>(driver->where().avail), evil);
          store_relaxed(driver->at<std::uint32_t>(driver->where().used), evil);
          break;
        default:
          // Mostly single descriptors, available in one lap or the other.
          store_relaxed(&d->flags, static_cast<std::uint16_t>((r & 0x800000 ? kAvail : kUsed) |
                                                              (evil & (r & 0x7000000 ? 0 : 5))));
      }
    }
    flips = n;
  });
  const std::uint8_t* first = memory.translate(kRegion, kRegionSize);
  std::size_t served = 0, broken = 0;
  // Longer where the flipper gets little time.
  const auto begin = std::chrono::steady_clock::now();
  for (auto spent = begin - begin; spent < std::chrono::seconds(served > 0 && broken > 0 ? 2 : 60);
       spent = std::chrono::steady_clock::now() - begin) {
    PackedRing device(memory, driver->where(), Direction::from_driver, kAll);
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
      ASSERT_LE(chain.slots, kSize);
      device.complete(chain, 0);
      if (turn % 4 == 0) device.publish();
      if (turn % 16 == 0) device.enable_notifications();
    }
    broken += device.broken();
  }
  stop = true;
  flipper.join();
  EXPECT_GT(flips, 0u);
  EXPECT_GT(served, 0u);
  EXPECT_GT(broken, 0u);
}

TEST_F(PackedRingTest, TwoThreadsLoseNoWakeUp) {
  // Both sleep whenever they may; a lost notification stops them for good. Pairs [E] to [H].
  for (const bool event_idx : {true, false}) {
    start(7, Direction::from_driver, {.event_idx = event_idx});
    const std::size_t total = rounds(200'000);
    std::counting_semaphore<> kick(0), call(0);
    std::thread device([&] {
      for (std::size_t n = 0; n < total;) {
        bool any = false;
        while (pop() > 0) {
          EXPECT_EQ(bytes, n % 1000 + 1) << "frames in order, each once";
          ring->complete(chain, static_cast<std::uint32_t>(n++));
          any = true;
        }
        if (ring->publish()) call.release();
        if (ring->broken()) return;
        if (!any && n < total && ring->enable_notifications()) kick.acquire();
        ring->disable_notifications();
      }
    });
    std::size_t sent = 0, reaped = 0;
    MockPackedDriver::Used used{};
    while (reaped < total) {
      const std::size_t before = reaped;
      while (driver->in_flight() > 0 && driver->reap(used))
        ASSERT_EQ(used.len, static_cast<std::uint32_t>(reaped++));
      while (sent < total && driver->free_descriptors() > 0)
        driver->chain({{kData, static_cast<std::uint32_t>(sent++ % 1000 + 1)}});
      if (driver->publish(event_idx)) kick.release();
      if (reaped > before || reaped == total) continue;
      driver->set_driver_event(event_idx ? MockPackedDriver::kDesc : MockPackedDriver::kEnable,
                               event_idx ? driver->freed().encoded() : std::uint16_t{0});
      if (!driver->used_waits()) call.acquire();
      driver->set_driver_event(MockPackedDriver::kDisable);
    }
    device.join();
    EXPECT_FALSE(ring->broken());
  }
}

}  // namespace
}  // namespace rp::backend
