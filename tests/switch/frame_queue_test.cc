// SPDX-License-Identifier: BSD-3-Clause
// frame_queue_test.cc - the bounded queue against a naive twin.
#include "switch/frame_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <vector>

namespace rp::sw {
namespace {

using Data = std::vector<std::uint8_t>;

Data pattern(std::size_t size, std::uint32_t seed = 1) {
  Data d(size);
  for (auto& b : d) b = static_cast<std::uint8_t>((seed = seed * 1103515245 + 12345) >> 16);
  return d;
}

Data copy_of(std::span<const std::uint8_t> s) {
  return {s.begin(), s.end()};
}

TEST(FrameQueue, KeepsOrderAndBytes) {
  FrameQueue q(1000, 10);
  EXPECT_TRUE(q.empty());
  for (std::uint32_t i = 1; i <= 5; ++i) EXPECT_TRUE(q.push(pattern(i * 10, i)));
  ASSERT_EQ(q.size(), 5u);
  for (std::uint32_t i = 1; i <= 5; ++i) EXPECT_EQ(copy_of(q.at(i - 1)), pattern(i * 10, i));
  q.pop(2);
  EXPECT_EQ(copy_of(q.at(0)), pattern(30, 3));
  q.pop(0);
  EXPECT_EQ(q.size(), 3u);
}

TEST(FrameQueue, KeepsNotes) {
  FrameQueue q(100, 4);
  q.push(pattern(10), 7);
  q.push(pattern(10));
  q.add(10, 9);
  EXPECT_EQ(q.note(0), 7u);
  EXPECT_EQ(q.note(1), 0u);
  EXPECT_EQ(q.note(2), 9u);
  q.pop(1);
  q.resize(8);
  EXPECT_EQ(q.note(1), 9u);
}

TEST(FrameQueue, RefusesWhatDoesNotFit) {
  FrameQueue q(100, 3);
  EXPECT_FALSE(q.push({}));
  EXPECT_FALSE(q.push(pattern(101)));
  EXPECT_TRUE(q.push(pattern(100)));
  EXPECT_FALSE(q.push(pattern(1)));
  q.pop(1);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(q.push(pattern(10)));
  EXPECT_FALSE(q.push(pattern(10)));
}

TEST(FrameQueue, WrapsAroundWithoutTouchingWhatWaits) {
  FrameQueue q(100, 10);
  EXPECT_TRUE(q.push(pattern(60, 1)));
  EXPECT_TRUE(q.push(pattern(30, 2)));
  q.pop(1);
  EXPECT_TRUE(q.push(pattern(50, 3)));   // at the start
  EXPECT_FALSE(q.push(pattern(11, 4)));  // 10 bytes are free
  EXPECT_TRUE(q.push(pattern(10, 5)));
  EXPECT_FALSE(q.push(pattern(1, 6)));
  EXPECT_EQ(copy_of(q.at(0)), pattern(30, 2));
  EXPECT_EQ(copy_of(q.at(1)), pattern(50, 3));
  EXPECT_EQ(copy_of(q.at(2)), pattern(10, 5));
}

TEST(FrameQueue, ItsLengthMayChangeWhileFramesWait) {
  FrameQueue q(100, 4);
  for (std::uint32_t i = 0; i < 4; ++i) ASSERT_TRUE(q.push(pattern(20, i)));
  q.pop(2);
  for (std::uint32_t i = 4; i < 6; ++i) ASSERT_TRUE(q.push(pattern(20, i)));  // one wraps around
  EXPECT_EQ(q.resize(6), 0u);
  for (std::uint32_t i = 0; i < 4; ++i) ASSERT_EQ(copy_of(q.at(i)), pattern(20, i + 2));
  EXPECT_TRUE(q.push(pattern(20, 6)));
  EXPECT_FALSE(q.push(pattern(1))) << "no bytes are left";
  EXPECT_EQ(q.resize(2), 3u);
  EXPECT_EQ(q.size(), 2u);
  EXPECT_FALSE(q.push(pattern(1)));
  q.pop(1);
  EXPECT_TRUE(q.push(pattern(60, 7)));
  EXPECT_EQ(copy_of(q.at(0)), pattern(20, 3));
  EXPECT_EQ(copy_of(q.at(1)), pattern(60, 7));
  q.pop(2);
  EXPECT_EQ(q.resize(1), 0u);
  EXPECT_TRUE(q.push(pattern(100, 8)));
  EXPECT_FALSE(q.push(pattern(1)));
}

TEST(FrameQueue, TrimTakesNothingThatWaits) {
  FrameQueue q(1 << 20, 100);
  for (std::uint32_t i = 0; i < 10; ++i) ASSERT_TRUE(q.push(pattern(60'000, i)));
  q.trim();
  for (std::uint32_t i = 0; i < 10; ++i) ASSERT_EQ(copy_of(q.at(i)), pattern(60'000, i));
  q.pop(10);
  q.trim();
  ASSERT_TRUE(q.push(pattern(100, 1)));
  EXPECT_EQ(copy_of(q.at(0)), pattern(100, 1));
}

/// The queue may refuse for want of contiguous room, the twin only for want of room at all.
TEST(FrameQueue, AgreesWithANaiveTwin) {
  constexpr std::size_t kBytes = 4096, kFrames = 32;
  FrameQueue q(kBytes, kFrames);
  std::deque<Data> twin;
  std::size_t held = 0;
  std::mt19937 random(7);
  for (std::uint32_t step = 0; step < 200'000; ++step) {
    if (random() % 3 != 0) {
      const Data frame = pattern(1 + random() % (random() % 8 ? 200 : 1500), step);
      if (q.push(frame)) {
        twin.push_back(frame);
        held += frame.size();
        ASSERT_LE(held, kBytes);
        ASSERT_LE(twin.size(), kFrames);
      } else {
        ASSERT_TRUE(twin.size() == kFrames || held + frame.size() + 1500 > kBytes / 2) << step;
      }
    } else if (!twin.empty()) {
      const std::size_t n = random() % (twin.size() + 1);
      for (std::size_t i = 0; i < n; ++i, twin.pop_front()) {
        ASSERT_EQ(copy_of(q.at(i)), twin.front()) << step;
        held -= twin.front().size();
      }
      q.pop(n);
    }
    ASSERT_EQ(q.size(), twin.size());
    ASSERT_EQ(q.empty(), twin.empty());
  }
}

TEST(FrameQueue, AgreesWithANaiveTwinThatChangesItsLength) {
  std::size_t most = 8;
  FrameQueue q(4096, most);
  std::deque<Data> twin;
  std::mt19937 random(8);
  for (std::uint32_t step = 0; step < 50'000; ++step) {
    const auto what = random() % 8;
    if (what < 5) {
      const Data frame = pattern(1 + random() % 200, step);
      if (q.push(frame)) twin.push_back(frame);
    } else if (what < 7) {
      const std::size_t n = random() % (twin.size() + 1);
      q.pop(n);
      twin.erase(twin.begin(), twin.begin() + static_cast<std::ptrdiff_t>(n));
    } else {
      most = 1 + random() % 32;
      const std::size_t kept = std::min(most, twin.size());
      ASSERT_EQ(q.resize(most), twin.size() - kept);
      twin.resize(kept);
    }
    ASSERT_LE(twin.size(), most);
    ASSERT_EQ(q.size(), twin.size());
    for (std::size_t i = 0; i < twin.size(); ++i) ASSERT_EQ(copy_of(q.at(i)), twin[i]) << step;
  }
}

}  // namespace
}  // namespace rp::sw
