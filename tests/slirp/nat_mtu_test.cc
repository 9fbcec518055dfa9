// SPDX-License-Identifier: BSD-3-Clause
// nat_mtu_test.cc - the MTU that guests are told.
#include <gtest/gtest.h>

#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

/// What the lease says; 0: nothing.
std::uint16_t told(Options options, bool asks) {
  World w(options);
  Guest& g = w.add_silent_guest();
  g.asks_mtu = asks;
  g.ask_lease();
  EXPECT_TRUE(w.until([&] { return g.ip != 0; }));
  EXPECT_EQ(g.broken, 0u);
  return g.mtu;
}

TEST(NatMtu, GuestsThatAskAreTold) {
  EXPECT_EQ(told({}, true), 0) << "Ethernet's own";
  EXPECT_EQ(told({{"mtu", "9000"}}, true), 9000);
  EXPECT_EQ(told({{"mtu", "1280"}}, true), 1280);
  EXPECT_EQ(told({{"mtu", "65521"}}, true), 65521);
  EXPECT_EQ(told({{"mtu", "9000"}}, false), 0);
}

TEST(NatMtu, LongNamesLeaveRoomForIt) {
  const std::string label(63, 'l'), name = label + "." + label;
  EXPECT_EQ(told({{"mtu", "9000"}, {"domainname", name}, {"dnssearch", name}}, true), 9000);
}

}  // namespace
}  // namespace rp::test
