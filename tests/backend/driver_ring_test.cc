// SPDX-License-Identifier: BSD-3-Clause
// driver_ring_test.cc - the driver end: order, wrap, lies, and both ends on two threads.
#include "backend/driver_ring.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>

#include "backend/split_ring.h"
#include "tests/backend/mock_driver.h"
#include "tests/backend/scale.h"

namespace rp::backend {
namespace {

constexpr std::uint64_t kData = 0x10000;
constexpr std::uint16_t kSize = 16;

class DriverRingTest : public ::testing::Test {
 protected:
  DriverRingTest()
      : areas(make_areas()),
        driver(areas),
        device(memory, contiguous_ring(kSize, 0), Direction::to_driver, {.event_idx = true}) {}

  VringAreas make_areas() {
    add_region(memory, 0, 0x20000);
    return MockDriver(memory, contiguous_ring(kSize, 0)).areas();
  }
  /// The device takes and completes one buffer, unseen until device.publish().
  bool serve(std::uint32_t written) {
    Chain chain;
    std::uint32_t bytes;
    if (device.pop(segments, chain, bytes) <= 0) return false;
    device.complete(chain, written);
    return true;
  }
  void lie_about_id(std::uint16_t slot, std::uint32_t id) {
    store_relaxed(&areas.used_ring(slot)->id, decltype(vring_used_elem::id){id});
  }

  GuestMemory memory;
  VringAreas areas;
  DriverRing driver;
  SplitRing device;
  std::array<Segment, kSize> segments;
};

TEST_F(DriverRingTest, CompletesInOrderAndWraps) {
  std::mt19937 random(1);
  std::uint32_t added = 0, served = 0, reaped = 0;
  while (reaped < rounds(300'000)) {
    while (driver.free_slots() > 0 && random() % 4) {
      driver.add(kData + added % 256, 1 + added % 100, true);
      ++added;
    }
    driver.publish();
    while (random() % 4 && serve(served)) ++served;
    device.publish();
    ASSERT_EQ(driver.used_count(), served - reaped);
    std::uint32_t written;
    const auto n =
        static_cast<std::uint16_t>(served == reaped ? 0 : random() % (served - reaped + 1));
    for (std::uint16_t i = 0; i < n; ++i) {
      ASSERT_TRUE(driver.peek_used(i, written));
      ASSERT_EQ(written, reaped + i);
    }
    driver.pop_used(n);
    reaped += n;
    ASSERT_EQ(driver.free_slots(), kSize - (added - reaped));
    ASSERT_FALSE(driver.broken());
    ASSERT_FALSE(device.broken());
  }
}

TEST_F(DriverRingTest, NothingIsVisibleBeforePublish) {
  driver.add(kData, 100, true);
  EXPECT_FALSE(serve(1));
  EXPECT_TRUE(driver.publish()) << "a fresh device wants its first kick";
  EXPECT_TRUE(serve(1));
  EXPECT_FALSE(driver.has_used());
  std::uint32_t written;
  EXPECT_FALSE(driver.peek_used(0, written));
  EXPECT_FALSE(driver.broken());
  EXPECT_TRUE(device.publish());
  EXPECT_TRUE(driver.has_used());
  EXPECT_TRUE(driver.peek_used(0, written));
  EXPECT_FALSE(driver.peek_used(1, written));
  EXPECT_FALSE(driver.broken());
}

TEST_F(DriverRingTest, AsksToBeNotifiedOrNot) {
  for (int i = 0; i < 4; ++i) driver.add(kData, 100, true);
  driver.publish();
  driver.disarm();
  EXPECT_TRUE(serve(0) && serve(0));
  EXPECT_FALSE(device.publish());
  EXPECT_FALSE(driver.rearm()) << "two wait already";
  EXPECT_EQ(driver.used_count(), 2);
  driver.pop_used(2);
  EXPECT_TRUE(driver.rearm());
  EXPECT_TRUE(serve(0));
  EXPECT_TRUE(device.publish());
  EXPECT_TRUE(serve(0));
  EXPECT_FALSE(device.publish()) << "once per rearm";
}

TEST_F(DriverRingTest, ADeviceThatLiesAboutIdsBreaksIt) {
  for (const std::uint32_t lie : {1u, 16u, 0x10000u, 0xffffffffu}) {
    MockDriver(memory, contiguous_ring(kSize, 0));  // zeroes the areas
    DriverRing fresh(areas);
    fresh.add(kData, 100, true);
    fresh.publish();
    lie_about_id(0, lie);
    store_release(areas.used_idx(), std::uint16_t{1});
    std::uint32_t written;
    EXPECT_EQ(fresh.used_count(), 1);
    EXPECT_FALSE(fresh.peek_used(0, written)) << lie;
    EXPECT_TRUE(fresh.broken());
    EXPECT_FALSE(fresh.has_used());
    EXPECT_EQ(fresh.used_count(), 0);
    EXPECT_FALSE(fresh.peek_used(0, written)) << "sticky";
  }
}

TEST_F(DriverRingTest, AUsedIndexThatJumpsBreaksIt) {
  for (const unsigned lie : {4u, 0x8000u, 0xffffu}) {
    MockDriver(memory, contiguous_ring(kSize, 0));
    DriverRing fresh(areas);
    for (int i = 0; i < 3; ++i) fresh.add(kData, 100, true);
    fresh.publish();
    fresh.add(kData, 100, true);  // added, not published: not the device's
    store_release(areas.used_idx(), static_cast<std::uint16_t>(lie));
    EXPECT_FALSE(fresh.has_used()) << lie;
    EXPECT_TRUE(fresh.broken());
    store_release(areas.used_idx(), std::uint16_t{1});
    EXPECT_EQ(fresh.used_count(), 0) << "sticky";
  }
}

TEST_F(DriverRingTest, AUsedIndexThatGoesBackBreaksIt) {
  for (int i = 0; i < 3; ++i) driver.add(kData, 100, true);
  driver.publish();
  EXPECT_TRUE(serve(0) && serve(0));
  device.publish();
  EXPECT_EQ(driver.used_count(), 2);
  driver.pop_used(2);
  store_release(areas.used_idx(), std::uint16_t{1});
  EXPECT_FALSE(driver.has_used());
  EXPECT_TRUE(driver.broken());
}

/// Waits until the eventfd is written. False: it was not, for much too long.
bool sleep_on(int fd) {
  pollfd p{fd, POLLIN, 0};
  if (poll(&p, 1, 20'000) != 1) return false;
  std::uint64_t count;
  return read(fd, &count, sizeof count) == sizeof count;
}
void wake(int fd) {
  const std::uint64_t one = 1;
  ASSERT_EQ(write(fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
}

/// Both ends map the same addresses here, so the thread sanitizer sees pairs [A] to [D] of vring.h
/// and every byte that they guard. Both sides sleep whenever the rules allow it.
TEST_F(DriverRingTest, TwoThreadsSleepAndLoseNothing) {
  const Fd kick(eventfd(0, EFD_CLOEXEC)), call(eventfd(0, EFD_CLOEXEC));
  const auto total = static_cast<std::uint32_t>(rounds(300'000));
  std::atomic<bool> slept_well{true};
  driver.disarm();
  std::thread device_thread([&] {
    std::mt19937 random(2);
    Chain chain;
    std::uint32_t bytes;
    for (std::uint32_t done = 0; done < total;) {
      auto batch = 1 + static_cast<std::uint32_t>(random() % 8);
      for (; batch > 0 && device.pop(segments, chain, bytes) > 0; --batch, ++done) {
        std::memcpy(segments[0].data, &done, sizeof done);
        device.complete(chain, sizeof done);
      }
      if (device.publish()) wake(call.get());
      if (batch > 0 && done < total && device.enable_notifications() && !sleep_on(kick.get())) {
        slept_well = false;
        return;
      }
    }
  });
  std::mt19937 random(3);
  std::uint32_t added = 0, reaped = 0;
  std::uint32_t in_order = 0;
  while (reaped < total && slept_well) {
    for (auto n = random() % 12; n > 0 && added < total && driver.free_slots() > 0; --n)
      driver.add(kData + 64 * (added++ % kSize), 64, true);
    if (driver.publish()) wake(kick.get());
    std::uint16_t n = 0;
    for (std::uint32_t written, value; n < driver.used_count() && driver.peek_used(n, written);
         ++n) {
      std::memcpy(&value, memory.translate(kData + 64 * ((reaped + n) % kSize), 4), sizeof value);
      in_order += value == reaped + n && written == 4;
    }
    driver.pop_used(n);
    reaped += n;
    if (n > 0 || added == reaped) continue;
    if (!driver.rearm()) continue;
    if (!sleep_on(call.get())) break;
    driver.disarm();
  }
  EXPECT_EQ(reaped, total);
  EXPECT_EQ(in_order, total);
  device_thread.join();
  EXPECT_TRUE(slept_well);
  EXPECT_FALSE(driver.broken());
  EXPECT_FALSE(device.broken());
}

}  // namespace
}  // namespace rp::backend
