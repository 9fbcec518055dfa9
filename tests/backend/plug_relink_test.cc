// SPDX-License-Identifier: BSD-3-Clause
// plug_relink_test.cc - the port dies at any step, another goes on: no frame lost, no lying
// descriptor.
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <deque>
#include <random>
#include <thread>

#include "backend/net_queue.h"
#include "backend/plug.h"
#include "tests/backend/frames.h"
#include "tests/backend/scale.h"

namespace rp::backend {
namespace {

bool readable(int fd, int timeout_ms = 0) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

/// The device end towards the plug, which can die at each step of a flush.
class MortalPort {
 public:
  enum class Death { none, before_publish, before_doorbell, before_signal };

  explicit MortalPort(const PlugMemory& m) : shared_(m.duplicate()) {
    Mapping mapping(shared_.memory.get(), PlugLayout::kSize);
    word_ = reinterpret_cast<std::uint32_t*>(mapping.data());
    doorbell_ = std::make_unique<Doorbell>(mapping.data(), shared_.call.get());
    memory_.add(0, std::move(mapping));
    start(0);
  }
  /// What a back end does that is told where to go on.
  void start(std::uint16_t base) {
    queue_ = make_to_guest(memory_, {.where = PlugLayout::ring(PlugLayout::kToGuest),
                                     .features = {.event_idx = true},
                                     .format = {.csum = true},
                                     .start = base});
  }
  bool send(std::span<const std::uint8_t> bytes) {
    SplitFrame split(bytes);
    const sw::Frame* one = &split.frame;
    return queue_->send({&one, 1}) == 1;
  }
  /// True: what was sent became visible.
  bool flush(Death death = Death::none) {
    if (death == Death::before_publish) return false;
    if (!queue_->publish() || death == Death::before_doorbell) return true;
    if (death == Death::before_signal)
      std::atomic_ref<std::uint32_t>(*word_).store(0);
    else
      doorbell_->ring(queue_->published());
    return true;
  }

 private:
  PlugMemory shared_;
  std::uint32_t* word_;
  std::unique_ptr<Doorbell> doorbell_;
  GuestMemory memory_;
  std::unique_ptr<ToGuestQueue> queue_;
};

constexpr MortalPort::Death kDeaths[] = {MortalPort::Death::none, MortalPort::Death::before_publish,
                                         MortalPort::Death::before_doorbell,
                                         MortalPort::Death::before_signal};

/// Relinks the plug as a link does.
void relink(Plug& plug, MortalPort& port) {
  plug.relink();
  port.start(plug.completed().to_guest);
}

std::size_t take(Plug& plug, std::size_t n = sw::Burst::kFrames) {
  Plug::Received r[sw::Burst::kFrames];
  const std::size_t got = plug.peek({r, n});
  plug.release(got);
  return got;
}

TEST(PlugRelinkTest, WhatADeadPortPublishedIsAnnounced) {
  for (const auto death : kDeaths) {
    SCOPED_TRACE(static_cast<int>(death));
    Plug plug(PlugMemory::create());
    MortalPort port(plug.shared());
    ASSERT_TRUE(port.send(pattern(100, 1)));
    const std::size_t visible = port.flush(death);
    EXPECT_EQ(readable(plug.fd()), death == MortalPort::Death::none);
    relink(plug, port);
    EXPECT_TRUE(readable(plug.fd()));
    EXPECT_EQ(take(plug), visible);
    EXPECT_FALSE(readable(plug.fd()));
    // And the next port is heard.
    ASSERT_TRUE(port.send(pattern(100, 2)));
    port.flush();
    EXPECT_TRUE(readable(plug.fd()));
    EXPECT_EQ(take(plug), 1u);
    EXPECT_FALSE(readable(plug.fd()));
  }
}

TEST(PlugRelinkTest, TheNextPortMayRingBeforeThePlugLooks) {
  Plug plug(PlugMemory::create());
  MortalPort port(plug.shared());
  // Marked by the relink, the doorbell is not for it to take; the signal is there already.
  relink(plug, port);
  ASSERT_TRUE(port.send(pattern(100, 1)));
  port.flush();
  EXPECT_TRUE(readable(plug.fd()));
  EXPECT_EQ(take(plug), 1u);
  EXPECT_FALSE(readable(plug.fd()));
}

TEST(PlugRelinkTest, AReceiveEndsASpuriousSignalAndCostsNothingAfterwards) {
  Plug plug(PlugMemory::create());
  MortalPort port(plug.shared());
  for (int i = 0; i < 3; ++i) relink(plug, port);
  EXPECT_TRUE(readable(plug.fd()));
  EXPECT_EQ(take(plug), 0u);
  EXPECT_FALSE(readable(plug.fd()));
  EXPECT_EQ(take(plug), 0u);
  EXPECT_FALSE(readable(plug.fd()));
}

TEST(PlugRelinkTest, WhileFramesWait) {
  Plug plug(PlugMemory::create());
  MortalPort port(plug.shared());
  for (std::uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(port.send(pattern(100, i)));
  port.flush();
  EXPECT_EQ(take(plug, 1), 1u);
  relink(plug, port);  // signalled
  EXPECT_EQ(take(plug, 1), 1u);
  EXPECT_TRUE(readable(plug.fd()));
  Plug::Received r[1];
  ASSERT_EQ(plug.peek(r), 1u);
  relink(plug, port);  // in the middle of a receive
  plug.release(1);
  EXPECT_EQ(take(plug), 0u);
  EXPECT_FALSE(readable(plug.fd()));
}

TEST(PlugRelinkTest, ABrokenPlugStaysBrokenAndQuiet) {
  PlugMemory m = PlugMemory::create();
  const Mapping scribble(m.memory.get(), PlugLayout::kSize);
  Plug plug(std::move(m));
  MortalPort port(plug.shared());
  ASSERT_TRUE(port.send(pattern(100, 1)));
  port.flush();
  const std::uint64_t used_idx = PlugLayout::ring(PlugLayout::kToGuest).used + 2;
  *reinterpret_cast<std::uint16_t*>(scribble.data() + used_idx) = 5000;
  EXPECT_EQ(take(plug), 0u);
  EXPECT_TRUE(plug.recv_broken());
  relink(plug, port);
  EXPECT_EQ(take(plug), 0u);
  EXPECT_FALSE(readable(plug.fd()));
  EXPECT_TRUE(plug.recv_broken());
}

TEST(PlugRelinkTest, AnyDeathAtAnyTime) {
  Plug plug(PlugMemory::create());
  MortalPort port(plug.shared());
  std::mt19937 random(1);
  std::deque<Bytes> unseen, waiting;
  std::uint32_t seed = 0;
  bool stray = false;  // a relink's signal that no receive has met
  const auto flush = [&](MortalPort::Death death) {
    if (port.flush(death))
      for (auto& f : unseen) waiting.push_back(std::move(f));
    unseen.clear();
  };
  for (std::size_t i = 0; i < rounds(200'000); ++i) {
    const auto dice = random() % 20;
    if (dice < 8) {
      Bytes frame = pattern(random() % 3000, ++seed);
      if (port.send(frame)) unseen.push_back(std::move(frame));
    } else if (dice < 11) {
      flush(MortalPort::Death::none);
    } else if (dice < 12) {
      flush(kDeaths[random() % std::size(kDeaths)]);
      relink(plug, port);
      stray = true;
    } else {
      Plug::Received r[8];
      const std::size_t want = random() % 9;
      const std::size_t got = plug.peek({r, want});
      ASSERT_EQ(got == 0, want == 0 || waiting.empty()) << "step " << i;
      ASSERT_LE(got, waiting.size());
      for (std::size_t k = 0; k < got; ++k) ASSERT_TRUE(same(r[k].bytes, waiting[k])) << i;
      const std::size_t n = random() % (got + 1);
      plug.release(n);
      waiting.erase(waiting.begin(), waiting.begin() + static_cast<std::ptrdiff_t>(n));
      if (got == 0 && want != 0) stray = false;
    }
    const bool is = readable(plug.fd());
    ASSERT_TRUE(is ? !waiting.empty() || stray : waiting.empty()) << "step " << i;
  }
  EXPECT_FALSE(plug.broken());
}

TEST(PlugRelinkTest, ThreeThreads) {
  Plug plug(PlugMemory::create());
  MortalPort port(plug.shared());
  const auto total = static_cast<std::uint32_t>(rounds(100'000));
  std::atomic<std::uint32_t> relinks{0};
  std::atomic<bool> stop{false};
  std::thread ports([&] {
    std::mt19937 random(2);
    std::uint32_t sent = 0, seen = 0;
    const auto die = [&](MortalPort::Death death) {
      if (port.flush(death)) seen = sent;
      sent = seen;
      // Whoever links is another thread than whoever dies, and comes after it.
      std::thread([&] {
        ++relinks;
        relink(plug, port);
      }).join();
    };
    while (seen < total && !stop) {
      for (auto n = 1 + random() % 8; n > 0 && sent < total; --n) {
        std::uint8_t frame[60] = {};
        std::memcpy(frame, &sent, sizeof sent);
        if (!port.send(frame)) break;
        ++sent;
      }
      if (random() % 50 == 0) {
        die(kDeaths[random() % std::size(kDeaths)]);
      } else {
        port.flush();
        seen = sent;
      }
      if (random() % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 60));
    }
  });
  std::mt19937 random(3);
  std::uint32_t next = 0, wrong = 0, empty = 0;
  while (next < total) {
    if (!readable(plug.fd(), 20'000)) break;
    Plug::Received r[sw::Burst::kFrames];
    const std::size_t got = plug.peek({r, 1 + random() % sw::Burst::kFrames});
    empty += got == 0;
    for (std::size_t i = 0; i < got; ++i) {
      std::uint32_t number;
      std::memcpy(&number, r[i].bytes.data(), sizeof number);
      wrong += number != next + i;
    }
    plug.release(got);
    next += static_cast<std::uint32_t>(got);
  }
  stop = true;
  ports.join();
  EXPECT_EQ(next, total) << "a wake-up was lost";
  EXPECT_EQ(wrong, 0u);
  EXPECT_LE(empty, relinks.load()) << "a signal was never taken back";
  take(plug);
  EXPECT_FALSE(readable(plug.fd()));
  EXPECT_FALSE(plug.broken());
}

}  // namespace
}  // namespace rp::backend
