// SPDX-License-Identifier: BSD-3-Clause
// virtqueue_test.cc - the life of one virtqueue: set up, kicked, stopped, set up anew.
#include "backend/vhost_user/virtqueue.h"

#include <gtest/gtest.h>

#include "tests/backend/vhost_user/front_end.h"

namespace rp::backend::vhost_user {
namespace {

TEST(VhostUserVirtqueueTest, TheErrorDescriptorOutlivesARestart) {
  Pair p;
  p.front.start();
  GuestQueue& out = p.guest.out();
  ASSERT_TRUE(p.front.get_base(1));
  out.reset();
  // As an emulator does at a guest's reboot.
  ASSERT_TRUE(p.front.set_base(1, 0));
  ASSERT_TRUE(p.front.set_addresses(1));
  ASSERT_TRUE(p.front.set_fd(Request::set_vring_kick, 1, out.kick));
  ASSERT_TRUE(p.front.enable(1));
  out.driver.offer(0xffff);
  out.publish();
  p.back.run();
  EXPECT_EQ(take_signals(out.err), 1u);
}

TEST(VhostUserVirtqueueTest, ReceiveBuffersWakeNobody) {
  for (const std::uint64_t without : {std::uint64_t{0}, bit(VIRTIO_RING_F_EVENT_IDX)}) {
    Pair p;
    p.front.negotiate(FrontEnd::kWanted & ~without);
    ASSERT_TRUE(p.front.set_memory());
    p.front.start_rings();
    GuestQueue& in = p.guest.in();
    in.offer_buffers({2048});
    in.publish();
    for (int i = 0; i < 10; ++i) {
      in.offer_buffers({2048});
      EXPECT_FALSE(in.publish()) << i;
      p.back.run();
    }
  }
}

TEST(VhostUserVirtqueueTest, ShortChainsStayCounted) {
  Pair p;
  p.front.start();
  for (std::uint64_t n = 1; n < 4; ++n) {
    p.guest.out().offer_raw(pattern(11, 1));
    p.guest.out().publish();
    p.back.run();
    EXPECT_EQ(p.back.counter("ring.short-chain"), n);
    if (n == 1) {
      ASSERT_TRUE(p.front.set_memory());
    } else {
      const auto base = p.front.get_base(1);
      ASSERT_TRUE(base);
      p.front.start_ring(1, *base);
      ASSERT_TRUE(p.front.enable(1));
    }
    EXPECT_EQ(p.back.counter("ring.short-chain"), n);
  }
  p.front.vanish();
  EXPECT_EQ(p.back.counter("ring.short-chain"), 3u);
}

}  // namespace
}  // namespace rp::backend::vhost_user
