// SPDX-License-Identifier: BSD-3-Clause
// bxhub_door_test.cc - sessions of Bochs' ethmod=socket, each between two UDP ports.
#include "sockets/bxhub_door.h"

#include "base/error.h"
#include "tests/sockets/dgram_peer.h"
#include "tests/sockets/switch_net.h"
#include "tests/switch/fake_port.h"

namespace rp::sockets {
namespace {

using test::Bytes;
using test::DgramPeer;
using test::ethernet;
using test::loopback;
using test::soon;
using test::SwitchNet;

constexpr std::uint64_t kAll = 0xffffffffffff, kA = 0x020000000001, kB = 0x020000000002;

class BxhubTest : public testing::Test {
 protected:
  BxhubTest() {
    net.add(
        std::make_unique<BxhubDoor>(make_bxhub_options(std::to_string(base), {{"clients", "3"}})),
        "door");
  }
  /// As Bochs with that session's port in its ethdev=.
  std::unique_ptr<DgramPeer> bochs(unsigned i) const {
    return std::make_unique<DgramPeer>(loopback(base + 2 * i), loopback(base + 2 * i + 1));
  }

  const unsigned base = test::free_udp_port(5);
  SwitchNet net;
};

TEST_F(BxhubTest, ASessionIsAPortOnceItHasSaidSomething) {
  const auto a = bochs(0), b = bochs(1), c = bochs(2);
  EXPECT_EQ(net.ports().size(), 1u);
  ASSERT_TRUE(a->send(ethernet(kA, kA)));
  ASSERT_TRUE(net.has_ports(2));
  EXPECT_EQ(net.ports()[1], "bxhub:" + std::to_string(base));
  const Bytes first = ethernet(kAll, kB, 1514);
  ASSERT_TRUE(b->send(first));
  ASSERT_EQ(a->next(), first);
  const Bytes back = ethernet(kB, kA, 60);
  ASSERT_TRUE(a->send(back));
  ASSERT_EQ(b->next(), back);
  EXPECT_EQ(net.counter("door.joined"), 2u);
  EXPECT_TRUE(c->next(test::kMomentMs).empty());
}

TEST_F(BxhubTest, BochsMayEndAndStartAgain) {
  const auto a = bochs(0);
  ASSERT_TRUE(a->send(ethernet(kA, kA)));
  for (int i = 0; i < 5; ++i) {
    auto b = bochs(1);
    ASSERT_TRUE(b->send(ethernet(kAll, kB)));
    ASSERT_FALSE(a->next().empty());
    ASSERT_TRUE(net.has_ports(3));
    const Bytes there = ethernet(kB, kA, 200);
    ASSERT_TRUE(a->send(there));
    ASSERT_EQ(b->next(), there);
    b.reset();
    EXPECT_TRUE(soon([&] {
      a->send(ethernet(kB, kA), MSG_DONTWAIT);
      return net.ports().size() == 2;
    })) << i;
  }
}

TEST_F(BxhubTest, StrangersAreNotHeard) {
  const auto a = bochs(0);
  ASSERT_TRUE(a->send(ethernet(kA, kA)));
  ASSERT_TRUE(net.has_ports(2));
  const DgramPeer stranger(loopback(test::free_udp_port()), loopback(base + 1)),
      other(loopback(test::free_udp_port()), loopback(base + 3));
  stranger.send(ethernet(kAll, kB));
  other.send(ethernet(kAll, kB));
  const auto b = bochs(1);
  const Bytes frame = ethernet(kAll, kB, 99);
  ASSERT_TRUE(b->send(frame));
  EXPECT_EQ(a->next(), frame);
  EXPECT_EQ(net.ports().size(), 3u);
}

TEST_F(BxhubTest, APortThatIsTakenIsNamed) {
  try {
    BxhubDoor(make_bxhub_options(std::to_string(base), {}));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Errc::busy);
    EXPECT_NE(std::string(e.what()).find(std::to_string(base + 1)), std::string::npos) << e.what();
  }
}

TEST(BxhubOptions, Ports) {
  EXPECT_EQ(make_bxhub_options("40000", {}).base, 40000u);
  EXPECT_EQ(make_bxhub_options("65524", {}).base, 65524u);
  for (const char* wrong : {"", "0", "65525", "x", "localhost:40000"})
    EXPECT_THROW(make_bxhub_options(wrong, {}), Error) << wrong;
  EXPECT_EQ(make_bxhub_options("65534", {{"clients", "1"}}).base, 65534u);
}

}  // namespace
}  // namespace rp::sockets
