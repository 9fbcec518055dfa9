// SPDX-License-Identifier: BSD-3-Clause
// device_test.cc - what a front end may tell a device, in any order, and what becomes of its rings.
#include "backend/vhost_user/device.h"

#include <gtest/gtest.h>
#include <linux/memfd.h>
#include <sys/mman.h>

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

TEST(VhostUserDeviceTest, PartOfAHugePageIsUnmappedAsWell) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  const Fd file(memfd_create("rp-huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB));
  if (!file || ftruncate(file.get(), kHuge) != 0) GTEST_SKIP() << "no huge pages here";
  Pair p;
  p.front.negotiate();
  const int fd[] = {file.get()};
  const MemoryRegion part{0, kHuge - 8192, 0x10000000, 4096};
  if (!p.front.set_memory({&part, 1}, fd)) GTEST_SKIP() << "no huge page is free";
  const Footprint before;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(p.front.set_memory({&part, 1}, fd));
  EXPECT_EQ(Footprint().mappings, before.mappings);
}

}  // namespace
}  // namespace rp::backend::vhost_user
