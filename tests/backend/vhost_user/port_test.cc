// SPDX-License-Identifier: BSD-3-Clause
// port_test.cc - frames through a vhost-user port byte for byte, and the lives of its connections.
#include "backend/vhost_user/port.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <random>

#include "tests/backend/scale.h"
#include "tests/backend/vhost_user/front_end.h"
#include "tests/base/temp_folder.h"

namespace rp::backend::vhost_user {
namespace {

TEST(VhostUserPortTest, FramesFromTheGuestByteForByte) {
  Pair p;
  p.front.start();
  std::mt19937 random(1);
  std::vector<std::size_t> sizes{1499, 1500, 1514, 65535, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < 200; ++n) sizes.push_back(n);
  for (std::size_t n = 0; n < rounds(500); ++n) sizes.push_back(random() % (sw::kMaxFrame + 1));
  std::uint32_t seed = 0;
  for (std::size_t size : sizes) {
    const Bytes frame = pattern(size, ++seed);
    std::vector<std::uint32_t> cuts(random() % 20);
    for (auto& cut : cuts) cut = 1 + static_cast<std::uint32_t>(random() % (size / 4 + 1));
    p.guest.out().offer(frame, {}, cuts);
    p.guest.out().publish();
    p.back.turn();
    const auto got = p.back.take();
    ASSERT_EQ(got.size(), 1u) << size;
    ASSERT_TRUE(same(got[0], frame)) << size;
    ASSERT_EQ(p.guest.out().reap_all(), 1u);
  }
}

TEST(VhostUserPortTest, FramesToTheGuestByteForByte) {
  Pair p;
  p.front.start();
  GuestQueue& in = p.guest.in();
  std::mt19937 random(2);
  std::vector<std::size_t> sizes{1499, 1500, 2036, 2037, 65535, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < 200; ++n) sizes.push_back(n);
  for (std::size_t n = 0; n < rounds(300); ++n) sizes.push_back(random() % (sw::kMaxFrame + 1));
  std::uint32_t seed = 0;
  for (std::size_t size : sizes) {
    in.refill(static_cast<std::uint32_t>(size / 100 + 13 + random() % 2000), 200);
    const Bytes frame = pattern(size, ++seed);
    ASSERT_TRUE(p.back.deliver(frame)) << size;
    const auto got = in.take();
    ASSERT_TRUE(got) << size;
    ASSERT_TRUE(same(got->bytes, frame)) << size;
    // All that is not taken is given back, so that each size finds its own.
    ASSERT_TRUE(in.untouched()) << size;
    const auto base = p.front.get_base(0);
    ASSERT_EQ(base, in.driver.used_idx());
    in.reset();
    p.front.start_ring(0, 0);
    p.front.enable(0);
  }
}

TEST(VhostUserPortTest, WhatWasSentIsSeenBeforeItsRingStops) {
  Pair p;
  p.front.start();
  GuestQueue& in = p.guest.in();
  in.refill();
  const Bytes frame = pattern(100, 1);
  for (const bool stop : {true, false}) {
    ASSERT_TRUE(send(*p.back.port, frame)) << "and no flush before the message";
    if (stop) {
      const auto base = p.front.get_base(0);
      EXPECT_EQ(base, in.driver.used_idx());
      p.front.start_ring(0, in.driver.used_idx());
      p.front.enable(0);
    } else {
      ASSERT_TRUE(p.front.set_memory());
    }
    const auto got = in.take();
    ASSERT_TRUE(got);
    EXPECT_EQ(got->bytes, frame);
    EXPECT_GE(take_signals(in.call), 1u);
  }
}

/// A port that listens in a folder of its own.
class Listening : public ::testing::Test {
 protected:
  Listening() : back(options(folder / "vm.sock")) {}
  static PortOptions options(const std::string& path) {
    PortOptions o;
    o.path = path;
    return o;
  }
  FrontEnd dial() { return {Wire::dial(folder / "vm.sock", back.pump()), guest}; }

  test::TempFolder folder;
  DirectPort back;
  Guest guest;
};
using VhostUserListeningTest = Listening;

TEST_F(VhostUserListeningTest, TheNextKnocksBeforeTheLastHangsUp) {
  for (int i = 0; i < 3; ++i) {
    FrontEnd front = dial();
    front.start();
    back.run();
    EXPECT_TRUE(back.port->link_up());
    FrontEnd again = dial();
    front.wire.close();
    back.turn();
    EXPECT_FALSE(back.port->link_up());
    ASSERT_NO_THROW(again.start()) << "turned away";
    EXPECT_TRUE(back.port->link_up());
    again.vanish();
  }
}

/// The descriptors that a process has left, taken while this lives.
class OutOfDescriptors {
 public:
  explicit OutOfDescriptors(std::size_t left) {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{64, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (int fd = 0; (fd = dup(0)) >= 0;) taken_.emplace_back(fd);
    for (; left > 0 && !taken_.empty(); --left) taken_.pop_back();
  }
  ~OutOfDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  OutOfDescriptors(const OutOfDescriptors&) = delete;

 private:
  rlimit before_{};
  std::vector<Fd> taken_;
};

TEST_F(VhostUserListeningTest, OutOfDescriptorsItSleepsAndLetsInLater) {
  std::optional<FrontEnd> front;
  {
    const OutOfDescriptors none(1);
    front.emplace(dial());
    back.turn();
    EXPECT_NO_THROW(back.run()) << "it spins on a listener that it can't accept from";
  }
  pollfd p{back.port->poll_fd(), POLLIN, 0};
  ASSERT_EQ(poll(&p, 1, 20'000), 1) << "it never tries again";
  back.turn();
  EXPECT_NO_THROW(front->start());
  EXPECT_TRUE(back.port->link_up());
}

TEST(VhostUserPortTest, AListenerThatWasShutDownKeepsNobodyAwake) {
  test::TempFolder folder;
  const UnixListener listener(unix_address(folder / "vm.sock", "test"), 1, "test");
  PortOptions o;
  o.fd = listener.fd();
  DirectPort back(o);
  shutdown(listener.fd(), SHUT_RDWR);
  back.turn();
  EXPECT_NO_THROW(back.run());
}

TEST(VhostUserPortTest, ABusyQueueDoesNotStarveTheOthers) {
  Guest::Options o;
  o.pairs = 3;
  Pair p(o);
  p.front.start();
  const Bytes busy = pattern(60, 1), rare = pattern(61, 2);
  for (std::size_t from = 0; from < o.pairs; ++from) {
    for (std::size_t i = 0; i < o.pairs; ++i) {
      while (i != from && p.guest.out(i).driver.free_descriptors() > 0) p.guest.out(i).offer(busy);
    }
    p.guest.out(from).offer(rare);
    for (auto& q : p.guest.queues) q->publish();
    for (int i = 0; i < 3; ++i) p.back.turn();
    const auto got = p.back.take();
    EXPECT_EQ(std::count(got.begin(), got.end(), rare), 1) << from;
    p.back.run();
    p.back.take();
    for (std::size_t i = 0; i < o.pairs; ++i) p.guest.out(i).reap_all();
  }
}

TEST(VhostUserPortTest, ABrokenRingIsToldOnceAndAtOnce) {
  Pair p;
  p.front.start();
  GuestQueue &in = p.guest.in(), &out = p.guest.out();
  p.back.run();
  in.driver.offer(0xffff);
  in.publish();
  EXPECT_TRUE(p.back.port->link_up());
  EXPECT_FALSE(p.back.deliver(pattern(60, 1)));
  EXPECT_EQ(take_signals(in.err), 1u) << "nobody wakes the port for its own ring's sake";
  EXPECT_FALSE(p.back.port->link_up());
  EXPECT_FALSE(p.back.deliver(pattern(60, 1)));
  EXPECT_EQ(p.back.counter("ring.broken.head-range"), 1u);

  out.driver.offer(0xffff);
  out.publish();
  p.back.turn();
  EXPECT_EQ(take_signals(out.err), 1u);
  EXPECT_NO_THROW(p.back.run()) << "a broken port must not keep the loop awake";
  EXPECT_EQ(take_signals(in.err) + take_signals(out.err), 0u);
  EXPECT_EQ(p.back.counter("ring.broken.head-range"), 2u);

  // The guest resets its device, and all is well.
  for (std::uint32_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(p.front.get_base(i));
    p.guest.queues[i]->reset();
    p.front.start_ring(i, 0);
    ASSERT_TRUE(p.front.enable(i));
  }
  in.refill();
  EXPECT_TRUE(p.back.port->link_up());
  EXPECT_TRUE(p.back.deliver(pattern(60, 2)));
  EXPECT_TRUE(in.take());
  out.driver.offer(0xffff);
  out.publish();
  p.back.turn();
  EXPECT_EQ(take_signals(out.err), 1u) << "another ring that breaks";
}

TEST(VhostUserPortTest, APolledRingIsPolledUntilItBreaks) {
  Pair p;
  p.front.start();
  p.back.run();
  ASSERT_TRUE(p.front.set_fd(Request::set_vring_kick, 1, Fd()));
  GuestQueue& out = p.guest.out();
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(p.back.port->arm({})) << "nobody would wake it";
    out.offer(pattern(60, 1));
    out.driver.publish();
    p.back.turn();
    EXPECT_EQ(p.back.take().size(), 1u);
  }
  out.driver.offer(0xffff);
  out.driver.publish();
  EXPECT_NO_THROW(p.back.run()) << "it spins on a ring that is broken for good";
}

}  // namespace
}  // namespace rp::backend::vhost_user
