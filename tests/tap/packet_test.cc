// SPDX-License-Identifier: BSD-3-Clause
// packet_test.cc - eth and veth: frames, tags, offloads, and what may become of the device.
#include "tap/open.h"
#include "tests/tap/sleeper.h"
#include "tests/tap/veth.h"
#include "tests/tap/world.h"

namespace rp::test {
namespace {

using tap::Params;

const Log kQuiet([](void*, int, const char*) {}, nullptr);

std::unique_ptr<sw::Port> eth(const std::string& name, const Params& params = {}) {
  return tap::open_eth(name, params, kQuiet, 0ns);
}

std::unique_ptr<sw::Port> veth(const std::string& name, const Params& params = {}) {
  return tap::open_veth(name, params, kQuiet, 0ns);
}

constexpr std::uint64_t kGuest = 0x020000000011, kOutside = 0x020000000022;

/// A frame with a tag behind the addresses.
Bytes tagged(Bytes f, std::uint16_t tpid, std::uint16_t tci) {
  const Bytes tag{static_cast<std::uint8_t>(tpid >> 8), static_cast<std::uint8_t>(tpid),
                  static_cast<std::uint8_t>(tci >> 8), static_cast<std::uint8_t>(tci)};
  f.insert(f.begin() + 12, tag.begin(), tag.end());
  return f;
}

void expect_both_ways(World& w, Wire& wire, std::size_t size) {
  const Bytes out = ethernet(kOutside, kGuest, size);
  w.send(out);
  EXPECT_EQ(wire.receive(), out) << size;
  w.guest->sent.clear();
  const Bytes in = ethernet(kGuest, kOutside, size);
  ASSERT_TRUE(wire.send(in)) << size;
  ASSERT_TRUE(w.until([&] { return !w.came().empty(); })) << size;
  EXPECT_EQ(w.came().size(), 1u);
  EXPECT_EQ(w.came()[0], in) << size;
}

TEST(Eth, FramesBothWays) {
  with_veth([] {
    for (const char* offload : {"on", "off"}) {
      World w(eth("p0", {{"offload", offload}}));
      EXPECT_TRUE(w.port->link_up());
      Wire wire("p1");
      for (const std::size_t size : {14u, 60u, 128u, 129u, 1514u}) expect_both_ways(w, wire, size);
    }
  });
}

TEST(Eth, TagsComeAsTheyWere) {
  with_veth([] {
    World w(eth("p0"));
    Wire wire("p1");
    const Bytes plain = ethernet(kGuest, kOutside, 200);
    const Bytes frames[] = {tagged(plain, 0x8100, 7), tagged(plain, 0x88a8, 0xe123),
                            tagged(tagged(plain, 0x8100, 7), 0x88a8, 9)};
    for (const Bytes& in : frames) {
      w.guest->sent.clear();
      ASSERT_TRUE(wire.send(in));
      ASSERT_TRUE(w.until([&] {
        for (const auto& [b, offload] : w.guest->sent)
          if (b == in) return true;
        return false;
      }));
    }
  });
}

TEST(Eth, AFullBurstKeepsTheOrder) {
  with_veth([] {
    World w(eth("p0"));
    Wire wire("p1");
    for (std::size_t i = 0; i < 300; ++i)
      ASSERT_TRUE(wire.send(ethernet(kGuest, kOutside, 100 + i)));
    EXPECT_TRUE(w.until([&] { return w.came().size() == 300; }));
    for (std::size_t i = 0; i < w.came().size(); ++i) EXPECT_EQ(w.came()[i].size(), 100 + i);
  });
}

/// Sends `n` frames, each told by its length, the i-th of size(i) bytes; `between` after each.
template <typename Size, typename Between>
void send_all(Wire& wire, std::size_t n, Size&& size, Between&& between) {
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_TRUE(wire.send(ethernet(kGuest, kOutside, size(i)))) << i;
    between();
  }
}

void let_jumbo_frames_pass() {
  tap::Netlink n;
  tap::LinkChange c;
  c.mtu = 9000;
  for (const char* name : {"p0", "p1"}) change_link(n, if_nametoindex(name), c, "test");
}

TEST(Eth, LongFramesThatFindNoRoomAreCounted) {
  with_veth([] {
    let_jumbo_frames_pass();
    World w(eth("p0"));
    Wire wire("p1");
    const auto size = [](std::size_t i) { return 7000 + i % 1000; };
    send_all(wire, 4000, size, [] {});
    for (int i = 0; i < 1000; ++i) w.turn();
    const auto came = w.came();
    const std::uint64_t lost = w.counter("tap.too-long-lost");
    EXPECT_EQ(came.size() + lost, 4000u);
    EXPECT_GT(lost, 0u);
    for (std::size_t i = 0; i < came.size(); ++i)
      ASSERT_EQ(came[i], ethernet(kGuest, kOutside, size(i)));
    expect_both_ways(w, wire, 8000);
  });
}

TEST(Eth, FramesLongerThanASlotKeepTheirPlace) {
  with_veth([] {
    let_jumbo_frames_pass();
    World w(eth("p0"));
    Wire wire("p1");
    // The lengths around 2048 fill a slot and just don't.
    const auto size = [](std::size_t i) { return i % 3 == 0 ? 8000 + i : 1850 + i; };
    send_all(wire, 200, size, [] {});
    EXPECT_TRUE(w.until([&] { return w.came().size() == 200; }));
    const auto came = w.came();
    for (std::size_t i = 0; i < came.size(); ++i)
      ASSERT_EQ(came[i], ethernet(kGuest, kOutside, size(i)));
    EXPECT_EQ(w.counter("tap.too-long-lost"), 0u);
  });
}

TEST(Eth, TheRingGoesRound) {
  with_veth([] {
    World w(eth("p0"));
    Wire wire("p1");
    std::size_t came = 0;
    const auto size = [](std::size_t i) { return 100 + i % 1000; };
    const auto take = [&] {
      w.turn();
      for (const Bytes& b : w.came()) ASSERT_EQ(b, ethernet(kGuest, kOutside, size(came++)));
      w.guest->sent.clear();
    };
    send_all(wire, 10'000, size, take);
    EXPECT_TRUE(w.until([&] {
      take();
      return came == 10'000;
    }));
  });
}

TEST(Eth, WhatFindsNoSlotIsLostAndNothingElse) {
  with_veth([] {
    World w(eth("p0"));
    Wire wire("p1");
    const auto size = [](std::size_t i) { return 100 + i % 1000; };
    send_all(wire, 6000, size, [] {});
    for (int i = 0; i < 200; ++i) w.turn();
    const auto came = w.came();
    ASSERT_GE(came.size(), 4000u);
    EXPECT_LT(came.size(), 4100u);
    for (std::size_t i = 0; i < 4000; ++i) ASSERT_EQ(came[i], ethernet(kGuest, kOutside, size(i)));
    expect_both_ways(w, wire, 200);
  });
}

// What the host itself sends by the device is not for us: it is on its way out already.
TEST(Eth, TheHostsOwnFramesAreLeftOut) {
  with_veth([] {
    World w(eth("p0"));
    Wire host("p0"), wire("p1");
    ASSERT_TRUE(host.send(ethernet(kOutside, 0x020000000099, 100)));
    EXPECT_EQ(wire.receive().size(), 100u);
    expect_both_ways(w, wire, 200);
  });
}

TEST(Eth, DownAndUp) {
  with_veth([] {
    World w(eth("p0"));
    Wire wire("p1");
    for (int i = 0; i < 2; ++i) {
      for (const bool up : {false, true}) {
        tap::Netlink n;
        tap::LinkChange c;
        c.up = up;
        change_link(n, if_nametoindex("p0"), c, "test");
        EXPECT_TRUE(w.until([&] { return w.port->link_up() == up; }));
        EXPECT_TRUE(w.until([&] { return w.port->arm(0ns); })) << "something is left unread";
      }
      // The other end sends again only a while after its carrier is back.
      w.guest->sent.clear();
      EXPECT_TRUE(w.until([&] {
        wire.send(ethernet(kGuest, kOutside, 100));
        return !w.came().empty();
      }));
    }
    EXPECT_EQ(w.counter("tap.lost"), 0u);
  });
}

TEST(Eth, DeletedInUseAndFoundAgain) {
  with_veth([] {
    World w(eth("p0"));
    tap::Netlink n;
    remove_link(n, if_nametoindex("p0"), "test");
    EXPECT_TRUE(w.until([&] { return !w.port->link_up(); }));
    make_parent();
    EXPECT_TRUE(w.until([&] { return w.port->link_up(); }));
    Wire wire("p1");
    expect_both_ways(w, wire, 100);
    EXPECT_EQ(w.counter("tap.found"), 1u);
  });
}

TEST(Eth, AFrameThatIsTooLongIsCounted) {
  with_veth([] {
    World w(eth("p0"));
    Wire wire("p1");
    w.send(ethernet(kOutside, kGuest, 3000));
    EXPECT_EQ(w.counter("tap.refused"), 1u);
    expect_both_ways(w, wire, 100);
  });
}

TEST(Eth, AGroupSharesTheFrames) {
  with_veth([] {
    World one(eth("p0", {{"fanout", "7"}})), two(eth("p0", {{"fanout", "7"}}));
    Wire wire("p1");
    for (std::size_t i = 0; i < 50; ++i)
      ASSERT_TRUE(wire.send(ethernet(kGuest, kOutside, 100 + i)));
    EXPECT_TRUE(one.until([&] {
      two.turn();
      return one.came().size() + two.came().size() == 50;
    }));
  });
}

TEST(Eth, Errors) {
  with_veth([] {
    error_of([] { eth(""); }, Errc::invalid);
    EXPECT_TRUE(contains(error_of([] { eth("nonesuch"); }, Errc::not_found), "nonesuch"));
    EXPECT_TRUE(contains(error_of([] { eth("lo"); }, Errc::invalid), "no Ethernet"));
    if (geteuid() != 0 || setresuid(65534, 65534, 65534) != 0) return;
    EXPECT_TRUE(contains(error_of([] { eth("p0"); }, Errc::denied), "CAP_NET_RAW"));
  });
}

TEST(Veth, APairIsMadeAndRemoved) {
  with_veth([] {
    {
      World w(
          veth("v0", {{"address", "192.0.2.1/24"}, {"mtu", "9000"}, {"mac", "02:00:00:00:00:22"}}));
      tap::Netlink n;
      EXPECT_EQ(get_link(n, "v0-peer", "").mtu, 9000u);
      EXPECT_EQ(get_link(n, "v0-peer", "").mac.value(), kOutside);
      Wire wire("v0-peer");
      expect_both_ways(w, wire, 9014);
    }
    EXPECT_FALSE(there("v0") || there("v0-peer"));
    EXPECT_TRUE(contains(error_of([] { veth("p0"); }, Errc::busy), "veth:p0"));
    EXPECT_FALSE(there("p0-peer"));
    error_of([] { veth("v0", {{"bridge", "br7"}}); }, Errc::not_found);
    EXPECT_FALSE(there("v0"));
  });
}

TEST(Veth, ThePeerInAnotherNamespace) {
  if (geteuid() != 0) GTEST_SKIP() << "moving a device takes root";
  with_veth([] {
    Sleeper s;
    World w(veth("v0", {{"peer", "eth0"}, {"netns", s.pid()}, {"address", "192.0.2.2/24"}}));
    EXPECT_FALSE(there("eth0"));
    s.inside([&] {
      tap::Netlink n;
      EXPECT_TRUE(get_link(n, "eth0", "").flags & IFF_UP);
      Wire wire("eth0");
      expect_both_ways(w, wire, 100);
    });
    s.end();
    EXPECT_TRUE(w.until([&] { return w.port->gone(); }));
  });
}

}  // namespace
}  // namespace rp::test
