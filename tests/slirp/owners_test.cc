// SPDX-License-Identifier: BSD-3-Clause
// owners_test.cc - who owns which address, also against a naive twin.
#include "slirp/owners.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/slirp/packets.h"

namespace rp::slirp {
namespace {

using test::guest_mac;

TEST(Owners, FirstComeFirstServed) {
  Owners o;
  EXPECT_TRUE(o.admit(mapped(1), guest_mac(1), 1, 0s));
  EXPECT_FALSE(o.admit(mapped(1), guest_mac(2), 2, 0s));
  EXPECT_TRUE(o.foreign(mapped(1), 2));
  EXPECT_FALSE(o.foreign(mapped(1), 1));
  EXPECT_FALSE(o.foreign(mapped(9), 2));
}

TEST(Owners, IdleClaimsCanBeTakenOverLeasesCannot) {
  Owners o;
  ASSERT_TRUE(o.admit_mac(guest_mac(1), 1, 0s));
  EXPECT_TRUE(o.admit(mapped(1), guest_mac(1), 1, 0s));
  EXPECT_FALSE(o.admit(mapped(1), guest_mac(2), 2, 299s));
  EXPECT_TRUE(o.admit(mapped(1), guest_mac(2), 2, 300s));
  o.lease(mapped(1), guest_mac(1), 301s);
  EXPECT_FALSE(o.admit(mapped(1), guest_mac(2), 2, 302s));
  EXPECT_FALSE(o.admit(mapped(1), guest_mac(2), 2, 100000s));
  EXPECT_FALSE(o.admit_mac(guest_mac(1), 2, 100000s));
  EXPECT_TRUE(o.admit(mapped(1), guest_mac(1), 1, 100001s));
  EXPECT_FALSE(o.admit(mapped(1), guest_mac(3), 1, 100001s));  // leased to another MAC
  o.forget(1);
  EXPECT_TRUE(o.admit(mapped(1), guest_mac(2), 2, 100002s));
  EXPECT_TRUE(o.admit_mac(guest_mac(1), 2, 100002s));
}

TEST(Owners, LeaseForAnUnknownMacIsNothing) {
  Owners o;
  o.lease(mapped(1), guest_mac(1), 0s);
  EXPECT_TRUE(o.admit(mapped(1), guest_mac(2), 2, 0s));
}

TEST(Owners, MacBelongsToOnePort) {
  Owners o;
  EXPECT_TRUE(o.admit_mac(guest_mac(1), 1, 0s));
  EXPECT_FALSE(o.admit_mac(guest_mac(1), 2, 299s));
  EXPECT_EQ(o.port_of(guest_mac(1)), 1u);
  EXPECT_TRUE(o.admit_mac(guest_mac(1), 2, 300s));
  EXPECT_EQ(o.port_of(guest_mac(1)), 2u);
}

TEST(Owners, ShareOfAPort) {
  Owners o;
  ASSERT_TRUE(o.admit_mac(guest_mac(1), 1, 0s));
  for (std::uint32_t i = 0; i < 100; ++i)
    EXPECT_EQ(o.admit(mapped(i), guest_mac(1), 1, 0s), i < Owners::kAddressesPerPort);
  EXPECT_TRUE(o.admit(mapped(1000), guest_mac(2), 2, 0s));
  o.lease(mapped(200), guest_mac(1), 1s);  // a lease finds room even so
  EXPECT_TRUE(o.admit(mapped(200), guest_mac(1), 1, 1s));
  EXPECT_TRUE(o.admit(mapped(300), guest_mac(1), 1, 300s));  // an idle one makes room
}

TEST(Owners, FullTableRefusesNewcomers) {
  Owners o;
  for (std::uint32_t i = 0; i < 1024; ++i)
    ASSERT_TRUE(o.admit(mapped(i), guest_mac(1), 10 + i / 16, 0s));
  EXPECT_FALSE(o.admit(mapped(5000), guest_mac(1), 5, 0s));
  EXPECT_TRUE(o.admit(mapped(5000), guest_mac(1), 5, 300s));
}

TEST(Owners, ClaimsAgainstNaiveTwin) {
  Claims claims(64, 64);
  std::map<std::uint32_t, sw::PortId> twin;
  std::mt19937 random(7);
  const auto roll = [&random](unsigned n) { return static_cast<unsigned>(random() % n); };
  for (int i = 0; i < 200000; ++i) {
    const std::uint32_t n = roll(100);
    const sw::PortId port = roll(3);
    switch (roll(8)) {
      case 0:
        claims.remove(mapped(n));
        twin.erase(n);
        break;
      case 1:
        if (roll(50) == 0) {
          claims.forget(port);
          std::erase_if(twin, [port](const auto& e) { return e.second == port; });
        }
        break;
      case 2:
      case 3:
        if (!claims.find(mapped(n))) {
          const bool room = twin.size() < 64;
          ASSERT_EQ(claims.add(mapped(n), port, 0s) != nullptr, room);
          if (room) twin[n] = port;
        }
        break;
      default: {
        const auto* e = claims.find(mapped(n));
        const auto it = twin.find(n);
        ASSERT_EQ(e != nullptr, it != twin.end());
        if (e) {
          ASSERT_EQ(e->port, it->second);
        }
      }
    }
    ASSERT_EQ(claims.size(), twin.size());
  }
}

}  // namespace
}  // namespace rp::slirp
