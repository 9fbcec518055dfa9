// SPDX-License-Identifier: BSD-3-Clause
// macvtap_test.cc - devices on top of others: made, set up, removed, lost with their parent.
#include "tap/links.h"
#include "tap/open.h"
#include "tests/tap/veth.h"
#include "tests/tap/world.h"

namespace rp::test {
namespace {

using tap::Params;

std::unique_ptr<sw::Port> open(const std::string& parent, const Params& params = {}) {
  return tap::open_macvtap(parent, params, Log([](void*, int, const char*) {}, nullptr), 0ns);
}

/// A frame to or from a guest that has the device's address, and a station on the wire.
constexpr std::uint64_t kGuest = 0x020000000011, kOutside = 0x020000000022;
const Params kOfGuest{{"mac", "02:00:00:00:00:11"}};

TEST(Macvtap, FramesBothWays) {
  with_macvtap([] {
    for (const char* offload : {"on", "off"}) {
      Params params = kOfGuest;
      params.emplace_back("offload", offload);
      World w(open("p0", params));
      Wire wire("p1");
      for (const std::size_t size : {60u, 700u, 1514u}) {
        const Bytes out = ethernet(kOutside, kGuest, size);
        w.send(out);
        EXPECT_EQ(wire.receive(), out);
        w.guest->sent.clear();
        const Bytes in = ethernet(kGuest, kOutside, size);
        ASSERT_TRUE(wire.send(in));
        ASSERT_TRUE(w.until([&] { return !w.came().empty(); }));
        EXPECT_EQ(w.came()[0], in);
      }
    }
  });
}

TEST(Macvtap, SettingsQueuesAndNames) {
  with_macvtap([] {
    const auto first = open("p0", {{"mtu", "1300"}, {"queues", "3"}, {"mode", "private"}});
    const auto second = open("p0", {{"mode", "private"}});
    const auto third = open("p0", {{"name", "mine"}, {"mode", "private"}});
    tap::Netlink n;
    EXPECT_EQ(get_link(n, "macvtap0", "").mtu, 1300u);
    EXPECT_EQ(get_link(n, "macvtap0", "").kind, "macvtap");
    EXPECT_TRUE(there("macvtap1") && there("mine"));
    EXPECT_TRUE(contains(first->describe(), "queues=3"));
    error_of([] { open("p0", {{"name", "mine"}, {"mode", "private"}}); }, Errc::busy);
  });
}

TEST(Macvtap, NothingIsLeft) {
  with_macvtap([] {
    open("p0", {{"host-path", "on"}, {"host-address", "192.0.2.9/24"}});
    EXPECT_FALSE(there("macvtap0") || there("macvlan0"));
    error_of([] { open("p0", {{"mtu", "9000"}}); }, Errc::system);
    EXPECT_FALSE(there("macvtap0"));
    const auto alone = open("p0", {{"mode", "passthru"}});
    EXPECT_THROW(open("p0", {{"mode", "passthru"}}), Error);
    EXPECT_FALSE(there("macvtap1"));
  });
}

TEST(Macvtap, AHostPath) {
  with_macvtap([] {
    Params params = kOfGuest;
    params.insert(params.end(), {{"host-path", "on"}, {"host-address", "192.0.2.9/24"}});
    World w(open("p0", params));
    ASSERT_TRUE(there("macvlan0"));
    Wire host("macvlan0");
    tap::Netlink n;
    const Bytes out = ethernet(get_link(n, "macvlan0", "").mac.value(), kGuest, 100);
    w.send(out);
    EXPECT_EQ(host.receive(), out);
  });
}

TEST(Macvtap, OnlySendersThatAreAllowed) {
  with_macvtap([] {
    Params params = kOfGuest;
    params.insert(params.end(), {{"mode", "source"}, {"allow", "02:00:00:00:00:22"}});
    World w(open("p0", params));
    Wire wire("p1");
    ASSERT_TRUE(wire.send(ethernet(kGuest, 0x020000000033, 100)));
    ASSERT_TRUE(wire.send(ethernet(kGuest, kOutside, 101)));
    ASSERT_TRUE(w.until([&] { return !w.came().empty(); }));
    EXPECT_EQ(w.came()[0].size(), 101u);
  });
}

// What a bridge outside sends back would teach the switch that its own guest is outside.
TEST(Macvtap, AReflectedFrameIsLeftOut) {
  with_macvtap([] {
    Params params = kOfGuest;
    params.emplace_back("mode", "private");
    World w(open("p0", params));
    Wire wire("p1");
    ASSERT_TRUE(wire.send(ethernet(0xffffffffffff, kGuest, 100)));
    ASSERT_TRUE(wire.send(ethernet(0xffffffffffff, kOutside, 101)));
    ASSERT_TRUE(w.until([&] { return !w.came().empty(); }));
    EXPECT_EQ(w.came()[0].size(), 101u);
    EXPECT_EQ(w.counter("tap.reflected"), 1u);
  });
}

TEST(Macvtap, LostWithItsParentAndMadeAgain) {
  with_macvtap([] {
    World w(open("p0", kOfGuest));
    tap::Netlink n;
    remove_link(n, if_nametoindex("p0"), "test");
    EXPECT_TRUE(w.until([&] { return !w.port->link_up(); }));
    EXPECT_EQ(w.counter("tap.lost"), 1u);
    make_parent();
    EXPECT_TRUE(w.until([&] { return w.port->link_up(); }));
    EXPECT_EQ(w.counter("tap.found"), 1u);
    Wire wire("p1");
    const Bytes out = ethernet(kOutside, kGuest, 100);
    w.send(out);
    EXPECT_EQ(wire.receive(), out);
  });
}

TEST(Macvtap, DownAndUp) {
  with_macvtap([] {
    World w(open("p0", kOfGuest));
    tap::Netlink n;
    for (const bool up : {false, true, false, true}) {
      tap::LinkChange c;
      c.up = up;
      change_link(n, if_nametoindex("macvtap0"), c, "test");
      EXPECT_TRUE(w.until([&] { return w.port->link_up() == up; }));
    }
  });
}

TEST(Macvtap, WrongLocators) {
  error_of([] { open(""); }, Errc::invalid);
  error_of([] { open("a b"); }, Errc::invalid);
  EXPECT_TRUE(contains(error_of(
                           [] {
                             open("x", {{"mode", "vpea"}});
                           },
                           Errc::invalid),
                       "bridge, vepa, private, passthru, source"));
  error_of([] { open("x", {{"allow", "02:00:00:00:00:01"}}); }, Errc::invalid);
  error_of([] { open("x", {{"host-address", "192.0.2.1/24"}}); }, Errc::invalid);
  error_of([] { open("x", {{"host-path", "on"}, {"mode", "vepa"}}); }, Errc::invalid);
  in_network(
      [] {
        EXPECT_TRUE(contains(error_of([] { open("nonesuch"); }, Errc::not_found), "nonesuch"));
      },
      "/");
}

TEST(Macvtap, IpvtapOrWhyNot) {
  with_macvtap([] {
    const auto make = [](const Params& p) {
      return tap::open_ipvtap("p0", p, Log([](void*, int, const char*) {}, nullptr), 0ns);
    };
    if (!kernel_has("ipvtap", if_nametoindex("p0"))) {
      EXPECT_TRUE(contains(error_of([&] { make({}); }, Errc::unsupported),
                           "ipvtap:p0: this kernel has no ipvtap devices"));
      return;
    }
    for (const char* mode : {"l2", "l3", "l3s"}) {
      const auto port = make({{"mode", mode}});
      EXPECT_TRUE(port->link_up()) << mode;
    }
    EXPECT_FALSE(there("ipvtap0"));
  });
}

}  // namespace
}  // namespace rp::test
