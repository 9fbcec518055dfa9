// SPDX-License-Identifier: BSD-3-Clause
// packed_ring_fixture.h - a mock driver and a packed device ring over 256 KiB of shared memory.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>

#include "tests/backend/mock_packed_driver.h"
#include "tests/backend/ring_region.h"
#include "tests/backend/scale.h"

namespace rp::backend {

/// vhost-user's base for a ring at `place` with nothing in flight.
inline std::uint32_t base_of(const MockPackedDriver::Place& place) {
  return place.encoded() * 0x10001u;
}

class PackedRingTest : public ::testing::Test {
 protected:
  using Place = MockPackedDriver::Place;

  PackedRingTest() { add_region(memory, kRegion, kRegionSize); }

  void start(std::uint16_t size = kSize, Direction direction = Direction::from_driver,
             RingFeatures features = kAll, Place at = {}) {
    driver = std::make_unique<MockPackedDriver>(memory, contiguous_packed_ring(size, kRegion), at);
    ring = std::make_unique<PackedRing>(memory, driver->where(), direction, features, base_of(at));
  }
  int pop() { return ring->pop(segments, chain, bytes); }
  /// Publishes what was offered; the device must find exactly this fault, and stay with it.
  void expect_fault(RingFault fault) {
    driver->publish();
    EXPECT_EQ(pop(), 0);
    EXPECT_STREQ(ring_fault_name(ring->fault()), ring_fault_name(fault));
    expect_stopped();
  }
  /// A broken ring has no work, asks for nothing and completes what it had.
  void expect_stopped() {
    EXPECT_TRUE(ring->broken());
    EXPECT_FALSE(ring->has_work());
    EXPECT_EQ(pop(), 0);
    EXPECT_TRUE(ring->enable_notifications()) << "it would never sleep";
    // A fresh start over the same memory works.
    const std::uint16_t size = driver->where().size;
    start(size);
    driver->chain({{kData, 60}});
    driver->publish();
    EXPECT_EQ(pop(), 1);
  }
  void expect_completed(std::uint32_t id, std::uint32_t len) {
    MockPackedDriver::Used used{};
    ASSERT_TRUE(driver->reap(used));
    EXPECT_EQ(used.id, id);
    EXPECT_EQ(used.len, len);
  }

  GuestMemory memory;
  std::unique_ptr<MockPackedDriver> driver;
  std::unique_ptr<PackedRing> ring;
  std::array<Segment, kMaxQueueSize> segments;
  Chain chain{};
  std::uint32_t bytes = 0;
};

}  // namespace rp::backend
