// SPDX-License-Identifier: BSD-3-Clause
// plug_test.cc - the plug against its port: bytes, full rings, and a descriptor that never lies.
#include "backend/plug.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <deque>
#include <random>
#include <thread>

#include "backend/ring_port.h"
#include "tests/backend/frames.h"
#include "tests/backend/scale.h"

namespace rp::backend {
namespace {

constexpr sw::Offloads kEverything{true, true, true, true, true};
constexpr std::uint32_t kHeader = 12;

bool readable(int fd, int timeout_ms = 0) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

/// A plug and its port.
struct Pair {
  explicit Pair(PlugMemory m = PlugMemory::create())
      : port(m.duplicate(), kEverything), plug(std::move(m)) {}
  bool to_guest(std::span<const std::uint8_t> frame, std::size_t cuts = 0) {
    const bool sent = send(port, frame, {}, cuts);
    port.flush({});
    return sent;
  }
  std::vector<Bytes> take(std::size_t n = sw::Burst::kFrames) {
    Plug::Received r[sw::Burst::kFrames];
    std::vector<Bytes> out;
    const std::size_t got = plug.peek({r, n});
    for (std::size_t i = 0; i < got; ++i) out.emplace_back(r[i].bytes.begin(), r[i].bytes.end());
    plug.release(got);
    return out;
  }
  RingPort port;
  Plug plug;
};

TEST(PlugTest, FramesBothWaysByteForByte) {
  Pair p;
  std::mt19937 random(1);
  std::vector<std::size_t> sizes{1500, 2035, 2036, 2037, 65535, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < 200; ++n) sizes.push_back(n);
  for (std::size_t n = 0; n < rounds(3000); ++n) sizes.push_back(random() % (sw::kMaxFrame + 1));
  std::uint32_t seed = 0;
  for (std::size_t size : sizes) {
    const Bytes frame = pattern(size, ++seed);
    ASSERT_TRUE(p.plug.send(frame, {}));
    p.plug.kick();
    auto got = receive(p.port);
    ASSERT_EQ(got.size(), 1u);
    ASSERT_TRUE(same(got[0], frame)) << size;

    // Large ones wrap around the buffers in every position sooner or later.
    ASSERT_TRUE(p.to_guest(frame, random() % 4));
    ASSERT_TRUE(readable(p.plug.fd()));
    got = p.take();
    ASSERT_EQ(got.size(), 1u);
    ASSERT_TRUE(same(got[0], frame)) << size;
    ASSERT_FALSE(readable(p.plug.fd()));
  }
  EXPECT_FALSE(p.plug.broken());
}

TEST(PlugTest, OffloadsBothWays) {
  Pair p;
  const sw::Offload o{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV6, 74, 1428, 54, 16};
  const auto expect = [&](const sw::Offload& got) {
    EXPECT_EQ(got.flags, o.flags);
    EXPECT_EQ(got.gso_type, o.gso_type);
    EXPECT_EQ(got.hdr_len, o.hdr_len);
    EXPECT_EQ(got.gso_size, o.gso_size);
    EXPECT_EQ(got.csum_start, o.csum_start);
    EXPECT_EQ(got.csum_offset, o.csum_offset);
  };
  ASSERT_TRUE(p.plug.send(pattern(5000, 1), o));
  p.plug.kick();
  auto burst = std::make_unique<sw::Burst>();
  p.port.receive(*burst, {});
  ASSERT_EQ(burst->size(), 1u);
  expect((*burst)[0].offload);
  p.port.release();

  ASSERT_TRUE(send(p.port, pattern(5000, 1), o));
  p.port.flush({});
  Plug::Received r[1];
  ASSERT_EQ(p.plug.peek(r), 1u);
  expect(r[0].offload);
  p.plug.release(1);
}

TEST(PlugTest, ReserveAndPeekCopyNothing) {
  Pair p;
  std::uint8_t* place = p.plug.reserve(2000);
  ASSERT_NE(place, nullptr);
  EXPECT_EQ(p.plug.reserve(2000), place) << "an uncommitted place is given again";
  const Bytes frame = pattern(1000, 1);
  std::copy(frame.begin(), frame.end(), place);
  p.plug.commit(1000, {});
  p.plug.kick();
  std::uint8_t* next = p.plug.reserve(60);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(next, place + 1024) << "what was reserved and not used is given back";
  const auto got = receive(p.port);
  ASSERT_EQ(got.size(), 1u);
  EXPECT_TRUE(same(got[0], frame));

  // Two peeks show the same bytes at the same place; frames of one burst lie side by side.
  ASSERT_TRUE(p.to_guest(frame));
  ASSERT_TRUE(p.to_guest(pattern(3000, 2)));
  Plug::Received a[4], b[4];
  ASSERT_EQ(p.plug.peek(a), 2u);
  ASSERT_EQ(p.plug.peek(b), 2u);
  EXPECT_EQ(a[0].bytes.data(), b[0].bytes.data());
  EXPECT_EQ(a[1].bytes.data(), a[0].bytes.data() + PlugLayout::kBuffer);
  p.plug.release(2);
}

TEST(PlugTest, KeepLeavesTheFramesAndTheDescriptor) {
  Pair p;
  for (std::uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(p.to_guest(pattern(100, i)));
  Plug::Received r[4];
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(p.plug.peek(r), 3u);
    p.plug.keep();
    EXPECT_TRUE(readable(p.plug.fd()));
  }
  ASSERT_EQ(p.plug.peek(r), 3u);
  p.plug.release(0);
  EXPECT_TRUE(readable(p.plug.fd())) << "taking none is keeping all";
  ASSERT_EQ(p.plug.peek({r, 0}), 0u);
  p.plug.keep();
  EXPECT_TRUE(readable(p.plug.fd()));
  EXPECT_EQ(p.take(1).size(), 1u);
  EXPECT_TRUE(readable(p.plug.fd()));
  const auto rest = p.take();
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_TRUE(same(rest[1], pattern(100, 2)));
  EXPECT_FALSE(readable(p.plug.fd()));
}

TEST(PlugTest, AFullRingSaysSoAndRecovers) {
  for (const std::size_t size : {60u, 1500u, 9000u, 65535u}) {
    Pair p;
    const Bytes frame = pattern(size, 1);
    std::size_t left = 0;  // by the round before
    for (int round = 0; round < 5; ++round) {
      std::size_t sent = left;
      while (p.plug.send(frame, {})) ++sent;
      EXPECT_GE(sent,
                std::min<std::size_t>(PlugLayout::kQueue, PlugLayout::kArena / (size + 200) - 2));
      EXPECT_EQ(p.plug.reserve(60 + 2 * static_cast<std::uint32_t>(size)), nullptr);
      std::size_t got = 0;
      // The refusal kicked: nobody has to.
      for (std::vector<Bytes> some; !(some = receive(p.port)).empty(); got += some.size()) {
        for (const auto& f : some) ASSERT_TRUE(same(f, frame));
      }
      EXPECT_EQ(got, sent);
      EXPECT_TRUE(p.plug.send(frame, {})) << "round " << round;
      left = 1;
    }
  }
}

TEST(PlugTest, WhatNeverFitsIsRefused) {
  Pair p;
  for (const std::uint64_t len : {PlugLayout::kArena, PlugLayout::kArena - kHeader + 1,
                                  std::uint64_t{0xffffffff}, std::uint64_t{0xffffffff} - kHeader})
    EXPECT_EQ(p.plug.reserve(static_cast<std::uint32_t>(len)), nullptr) << len;
  EXPECT_TRUE(p.plug.send(pattern(60, 1), {}));
}

TEST(PlugTest, RandomSizesWrapAroundTheArena) {
  Pair p;
  std::mt19937 random(3);
  std::deque<Bytes> in_flight;
  std::uint32_t seed = 0;
  std::size_t arrived = 0, refused = 0;
  while (arrived < rounds(20'000)) {
    for (auto n = random() % 200; n > 0; --n) {
      const bool big = random() % 8 == 0;
      Bytes frame = pattern(random() % (big ? sw::kMaxFrame + 1 : 2000u), ++seed);
      if (!p.plug.send(frame, {})) {
        ++refused;
        ASSERT_FALSE(in_flight.empty()) << "refused with everything free";
        break;
      }
      in_flight.push_back(std::move(frame));
    }
    p.plug.kick();
    for (auto n = random() % 3; n > 0; --n) {
      for (const Bytes& f : receive(p.port)) {
        ASSERT_TRUE(same(f, in_flight.front()));
        in_flight.pop_front();
        ++arrived;
      }
    }
  }
  EXPECT_GT(refused, 0u);
}

TEST(PlugTest, KicksOnlyASleepingPort) {
  Pair p;
  const int fd = p.port.poll_fd();
  std::uint64_t count;
  const auto kicked = [&] { return read(fd, &count, sizeof count) == sizeof count; };
  ASSERT_TRUE(p.port.arm({}));
  p.plug.send(pattern(60, 1), {});
  p.plug.kick();
  EXPECT_TRUE(kicked());
  EXPECT_FALSE(p.port.arm({})) << "a frame waits";
  p.port.disarm();
  for (std::uint32_t i = 0; i < 10; ++i) {
    p.plug.send(pattern(60, i), {});
    p.plug.kick();
  }
  EXPECT_FALSE(kicked());
  EXPECT_EQ(receive(p.port).size(), 11u);
  EXPECT_TRUE(p.port.arm({}));
}

// The descriptor.

TEST(DoorbellTest, RingsOnceForWhatArmDidNotSee) {
  PlugMemory m = PlugMemory::create();
  const Mapping page(m.memory.get(), 4096);
  Doorbell bell(page.data(), m.call.get());
  bell.ring(1);
  EXPECT_FALSE(bell.drain()) << "not armed";
  bell.arm(0);
  bell.ring(1);
  bell.ring(2);
  EXPECT_TRUE(bell.drain());
  EXPECT_FALSE(bell.drain());
  // A port that is late: it published frame 2, the driver took it and armed again, then it rings.
  bell.arm(2);
  bell.ring(2);
  EXPECT_FALSE(bell.drain()) << "there is no frame to announce";
  bell.ring(3);
  EXPECT_TRUE(bell.drain());
  bell.arm(0xffff);
  EXPECT_TRUE(bell.take());
  EXPECT_FALSE(bell.take());
  bell.ring(0);
  EXPECT_FALSE(bell.drain());
  bell.arm(0);
  bell.ring(0xffff);
  EXPECT_TRUE(bell.drain());
}

/// What the plug should see: frames flushed and not taken, and the buffers they fill.
class Model {
 public:
  static std::size_t buffers(std::size_t size) {
    return (kHeader + size + PlugLayout::kBuffer - 1) / PlugLayout::kBuffer;
  }
  bool send(Bytes frame) {
    if (used_ + buffers(frame.size()) > PlugLayout::kQueue) return false;
    used_ += buffers(frame.size());
    unseen_.push_back(std::move(frame));
    return true;
  }
  void flush() {
    for (auto& f : unseen_) waiting.push_back(std::move(f));
    unseen_.clear();
  }
  void release(std::size_t n) {
    for (; n > 0; --n) {
      used_ -= buffers(waiting.front().size());
      waiting.pop_front();
    }
  }
  std::deque<Bytes> waiting;

 private:
  std::vector<Bytes> unseen_;
  std::size_t used_ = 0;
};

TEST(PlugTest, ReadableExactlyWhileAFrameWaits) {
  Pair p;
  Model model;
  std::mt19937 random(4);
  std::uint32_t seed = 0;
  // Each phase has its own leaning: filling up, emptying, or both.
  for (std::size_t i = 0; i < rounds(200'000); ++i) {
    const auto phase = i / 1000 % 3;
    const auto dice = random() % 12;
    if (dice < (phase == 0 ? 6u : phase == 1 ? 2u : 4u)) {
      const bool big = random() % 64 == 0;
      Bytes frame = pattern(random() % (big ? sw::kMaxFrame + 1 : 3000u), ++seed);
      const bool sent = send(p.port, frame);
      ASSERT_EQ(sent, model.send(std::move(frame))) << "step " << i;
    } else if (dice < 8) {
      p.port.flush({});
      model.flush();
    } else {
      Plug::Received r[8];
      const std::size_t want = random() % 9;
      const std::size_t got = p.plug.peek({r, want});
      ASSERT_LE(got, std::min(want, model.waiting.size()));
      ASSERT_EQ(got == 0, want == 0 || model.waiting.empty());
      for (std::size_t k = 0; k < got; ++k)
        ASSERT_TRUE(same(r[k].bytes, model.waiting[k])) << "step " << i;
      const std::size_t n = random() % (got + 1);
      if (n == 0) p.plug.keep();
      p.plug.release(n);
      model.release(n);
    }
    ASSERT_EQ(readable(p.plug.fd()), !model.waiting.empty()) << "step " << i;
  }
  EXPECT_FALSE(p.plug.broken());
}

/// One frame in: its number, then bytes that follow from it.
constexpr std::size_t kNumber = 4;
Bytes numbered(std::uint32_t number, std::size_t size) {
  Bytes b(std::max(size, kNumber), static_cast<std::uint8_t>(number * 7));
  std::memcpy(b.data(), &number, kNumber);
  return b;
}
bool is_number(std::span<const std::uint8_t> b, std::uint32_t number) {
  std::uint32_t got;
  if (b.size() < kNumber) return false;
  std::memcpy(&got, b.data(), kNumber);
  const auto fill = static_cast<std::uint8_t>(number * 7);
  return got == number &&
         std::all_of(b.begin() + kNumber, b.end(), [fill](std::uint8_t x) { return x == fill; });
}
void pause_randomly(std::mt19937& random) {
  if (random() % 4 == 0) return;
  if (random() % 64 == 0) {
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
  } else {
    for (auto n = random() % 300; n > 0; --n) std::atomic_signal_fence(std::memory_order_seq_cst);
  }
}

class TwoThreads : public ::testing::TestWithParam<unsigned> {};

TEST_P(TwoThreads, NeverASpuriousNorALostWakeUp) {
  Pair p;
  const unsigned burst = GetParam();
  const auto total = static_cast<std::uint32_t>(rounds(200'000));
  std::atomic<bool> stop{false};
  std::thread producer([&] {
    std::mt19937 random(5);
    for (std::uint32_t next = 0; next < total && !stop;) {
      for (auto n = 1 + random() % burst; n > 0 && next < total; --n) {
        const std::size_t size = random() % 256 == 0 ? random() % sw::kMaxFrame : random() % 200;
        if (!send(p.port, numbered(next, size))) break;
        ++next;
      }
      p.port.flush({});
      pause_randomly(random);
    }
  });
  std::mt19937 random(6);
  std::uint32_t next = 0;
  std::size_t spurious = 0, wrong = 0;
  while (next < total) {
    if (!readable(p.plug.fd(), 20'000)) break;
    Plug::Received r[sw::Burst::kFrames];
    const std::size_t got = p.plug.peek({r, 1 + random() % sw::Burst::kFrames});
    spurious += got == 0;
    for (std::size_t i = 0; i < got; ++i)
      wrong += !is_number(r[i].bytes, next + static_cast<std::uint32_t>(i));
    const std::size_t n = random() % 8 == 0 ? random() % (got + 1) : got;
    if (n == 0) p.plug.keep();
    p.plug.release(n);
    next += static_cast<std::uint32_t>(n);
  }
  stop = true;
  producer.join();
  EXPECT_EQ(next, total) << "a wake-up was lost";
  EXPECT_EQ(spurious, 0u);
  EXPECT_EQ(wrong, 0u);
  EXPECT_FALSE(readable(p.plug.fd()));
  EXPECT_FALSE(p.plug.broken());
}
INSTANTIATE_TEST_SUITE_P(Bursts, TwoThreads, ::testing::Values(1u, 4u, 64u));

TEST(PlugTest, TwoThreadsFromTheGuest) {
  Pair p;
  const auto total = static_cast<std::uint32_t>(rounds(200'000));
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    std::mt19937 random(7);
    for (std::uint32_t next = 0; next < total && !stop;) {
      for (auto n = 1 + random() % 32; n > 0 && next < total; --n) {
        if (!p.plug.send(numbered(next, random() % 200), {})) break;
        ++next;
      }
      p.plug.kick();
      pause_randomly(random);
    }
  });
  std::uint32_t next = 0;
  std::size_t wrong = 0;
  while (next < total) {
    // The port sleeps whenever arm() lets it.
    if (p.port.arm({})) {
      if (!readable(p.port.poll_fd(), 20'000)) break;
      std::uint64_t count;
      if (read(p.port.poll_fd(), &count, sizeof count) < 0) break;
    }
    p.port.disarm();
    for (const Bytes& f : receive(p.port)) wrong += !is_number(f, next++);
  }
  stop = true;
  sender.join();
  EXPECT_EQ(next, total) << "a kick was lost";
  EXPECT_EQ(wrong, 0u);
}

// A port that lies: the plug may share its memory with another process.

class LyingPort : public ::testing::Test {
 protected:
  LyingPort()
      : shared(PlugMemory::create()),
        plug(shared.duplicate()),
        mapping(shared.memory.get(), PlugLayout::kSize),
        bell(mapping.data(), shared.call.get()) {
    const RingAddress a = PlugLayout::ring(PlugLayout::kToGuest);
    ring = {reinterpret_cast<vring_desc*>(mapping.data() + a.desc),
            reinterpret_cast<std::uint16_t*>(mapping.data() + a.avail), mapping.data() + a.used,
            a.size};
  }
  void used(std::uint16_t i, std::uint32_t id, std::uint32_t len, std::uint16_t buffers) {
    store_relaxed(&ring.used_ring(i)->id, decltype(vring_used_elem::id){id});
    store_relaxed(&ring.used_ring(i)->len, decltype(vring_used_elem::len){len});
    virtio_net_hdr_v1 h{};
    h.num_buffers = buffers;
    std::memcpy(mapping.data() + PlugLayout::kToBuffers + std::size_t{i} * PlugLayout::kBuffer, &h,
                kHeader);
  }
  void expect_broken(std::uint16_t used_idx) {
    store_full(ring.used_idx(), used_idx);
    bell.ring(used_idx);
    Plug::Received r[8];
    EXPECT_EQ(plug.peek(r), 0u);
    plug.keep();
    plug.release(0);
    EXPECT_TRUE(plug.broken());
    EXPECT_FALSE(readable(plug.fd())) << "the host would spin";
  }
  PlugMemory shared;
  Plug plug;
  Mapping mapping;
  Doorbell bell;
  VringAreas ring;
};

TEST_F(LyingPort, NoBuffers) {
  used(0, 0, 100, 0);
  expect_broken(1);
}
TEST_F(LyingPort, ShorterThanAHeader) {
  used(0, 0, kHeader - 1, 1);
  expect_broken(1);
}
TEST_F(LyingPort, LongerThanItsBuffer) {
  used(0, 0, PlugLayout::kBuffer + 1, 1);
  expect_broken(1);
}
TEST_F(LyingPort, MoreBuffersThanCompleted) {
  used(0, 0, PlugLayout::kBuffer, 3);
  used(1, 1, PlugLayout::kBuffer, 0);
  expect_broken(2);
}
TEST_F(LyingPort, AHoleInTheMiddle) {
  used(0, 0, 100, 2);
  used(1, 1, 100, 0);
  expect_broken(2);
}
TEST_F(LyingPort, LongerThanAnyFrame) {
  for (std::uint16_t i = 0; i < 40; ++i) used(i, i, PlugLayout::kBuffer, 40);
  expect_broken(40);
}
TEST_F(LyingPort, WrongId) {
  used(0, 1, 100, 1);
  expect_broken(1);
}
TEST_F(LyingPort, IndexBeyondWhatWasOffered) {
  expect_broken(PlugLayout::kQueue + 1);
}
TEST_F(LyingPort, GoodFramesBeforeTheLieArrive) {
  used(0, 0, kHeader + 60, 1);
  used(1, 1, kHeader - 1, 1);
  store_full(ring.used_idx(), std::uint16_t{2});
  bell.ring(2);
  Plug::Received r[8];
  ASSERT_EQ(plug.peek(r), 1u);
  plug.release(1);
  EXPECT_EQ(plug.peek(r), 0u);
  EXPECT_TRUE(plug.broken());
  EXPECT_FALSE(readable(plug.fd()));
}

}  // namespace
}  // namespace rp::backend
