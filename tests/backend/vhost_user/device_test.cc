// SPDX-License-Identifier: BSD-3-Clause
// device_test.cc - what a front end may tell a device, in any order, and what becomes of its rings.
#include "backend/vhost_user/device.h"

#include <gtest/gtest.h>

#include "tests/backend/vhost_user/front_end.h"

namespace rp::backend::vhost_user {
namespace {

TEST(VhostUserDeviceTest, MemoryAtUserAddressZeroIsNoDoorbell) {
  Guest::Options o;
  o.user = 0;
  Pair p(o);
  p.front.start();
  ASSERT_TRUE(p.front.set_memory());
  p.guest.in().refill();
  const auto* word = p.guest.in().driver.at<std::uint32_t>(o.address);
  const std::uint32_t before = *word;
  ASSERT_NE(before, 0u);
  ASSERT_TRUE(p.back.deliver(pattern(60, 1)));
  EXPECT_EQ(take_signals(p.guest.in().call), 1u) << "the guest is not told of its frame";
  EXPECT_EQ(*word, before) << "somebody wrote to the guest's memory";
}

}  // namespace
}  // namespace rp::backend::vhost_user
