// SPDX-License-Identifier: BSD-3-Clause
// plug_port_test.cc - two switches made one: frames across, offloads, and a neighbour that dies.
#include "backend/plug_port.h"

#include <gtest/gtest.h>

#include <random>

#include "backend/locator.h"
#include "backend/modes.h"
#include "backend/ring_port.h"
#include "tests/backend/scale.h"
#include "tests/backend/vhost_user/linked.h"

namespace rp::backend {
namespace {

/// A plug on a switch of our own.
struct LocalPlug {
  explicit LocalPlug(Loop& loop, sw::Offloads can = kAllOffloads,
                     PlugMemory m = PlugMemory::create())
      : port(loop.add(std::make_unique<RingPort>(m.duplicate(), can), "local")),
        plug(std::move(m)) {}
  bool send(std::span<const std::uint8_t> frame, const sw::Offload& o = {}) {
    const bool sent = plug.send(frame, o);
    plug.kick();
    return sent;
  }
  Bytes next() {
    Plug::Received r[1];
    if (!readable(plug.fd(), 20'000) || plug.peek(r) == 0) return {};
    const Bytes frame(r[0].bytes.begin(), r[0].bytes.end());
    plug.release(1);
    return frame;
  }
  sw::PortId port;
  Plug plug;
};

std::unique_ptr<sw::Port> open(const std::string& locator) {
  const Log log = quiet();
  return open_port(parse_locator(locator), {log, Loop::now()});
}

class PlugPortTest : public testing::Test {
 protected:
  test::Runtime runtime_;
};

TEST_F(PlugPortTest, TwoSwitchesAreOneNetwork) {
  Hall hall;
  Loop ours({});
  LocalPlug here(ours);
  LinkedPlug there;
  ours.add(open("switch:lan0"), "switch:lan0");
  std::mt19937 random(1);
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < rounds(2000) + 100; ++i) {
    const auto size = 60 + random() % (i % 4 ? 2000u : sw::kMaxFrame - 59u);
    const Bytes out = to_all(1, size, ++number), in = to_all(2, size, ++number);
    ASSERT_TRUE(here.send(out));
    ASSERT_TRUE(same(there.next(), out)) << size;
    ASSERT_TRUE(there.send(in));
    ASSERT_TRUE(same(here.next(), in)) << size;
  }
}

TEST_F(PlugPortTest, ManyFramesAtOnce) {
  Hall hall;
  Loop ours({});
  LocalPlug here(ours);
  LinkedPlug there;
  ours.add(open("switch:lan0"), "switch:lan0");
  constexpr std::uint32_t kFrames = 500;
  for (std::uint32_t i = 0; i < kFrames; ++i) {
    here.plug.send(to_all(1, 60 + i, i), {});
    there.plug.send(to_all(2, 60 + i, i), {});
  }
  here.plug.kick();
  there.plug.kick();
  for (std::uint32_t i = 0; i < kFrames; ++i) {
    ASSERT_TRUE(same(there.next(), to_all(1, 60 + i, i)));
    ASSERT_TRUE(same(here.next(), to_all(2, 60 + i, i)));
  }
}

TEST_F(PlugPortTest, AnyOffloadPasses) {
  Hall hall;
  Loop ours({});
  LocalPlug here(ours);
  LinkedPlug there;
  ours.add(open("switch:lan0"), "switch:lan0");
  Bytes f = to_all(1, 5000, 1);
  const std::uint8_t ip[] = {8, 0, 0x45, 0, 0x13, 0x7a, 0, 0, 0, 0, 64, 6};
  std::copy(std::begin(ip), std::end(ip), f.begin() + 12);
  f[46] = 5 << 4;
  const sw::Offload o{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1000, 34, 16};
  ASSERT_TRUE(here.send(f, o));
  Plug::Received r[1];
  ASSERT_TRUE(readable(there.plug.fd(), 20'000));
  ASSERT_EQ(there.plug.peek(r), 1u);
  EXPECT_TRUE(same(r[0].bytes, f));
  EXPECT_EQ(r[0].offload.gso_size, 1000);
  EXPECT_EQ(r[0].offload.csum_start, 34);
  there.plug.release(1);
  ASSERT_TRUE(there.send(f, o));
  ASSERT_TRUE(readable(here.plug.fd(), 20'000));
  ASSERT_EQ(here.plug.peek(r), 1u);
  EXPECT_EQ(r[0].offload.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
  here.plug.release(1);
}

TEST_F(PlugPortTest, WithoutTheOtherSwitchItHasNoLink) {
  auto hall = std::make_unique<Hall>();
  Loop ours({});
  LocalPlug here(ours);
  const auto id = ours.add(open("switch:lan0"), "switch:lan0");
  const auto state = [&] {
    std::string words;
    ours.call([&](sw::Switch& s) {
      words = s.port(id)->describe() + (s.port(id)->link_up() ? " up" : " down");
    });
    return words;
  };
  EXPECT_EQ(state(), "linked up");
  hall.reset();
  EXPECT_TRUE(soon([&] { return state() == "waiting down"; }));
  ASSERT_TRUE(here.send(to_all(1, 100, 1)));
  hall = std::make_unique<Hall>();
  EXPECT_TRUE(soon([&] { return state() == "linked up"; }));
  LinkedPlug there;
  ASSERT_TRUE(here.send(to_all(1, 100, 2)));
  EXPECT_EQ(number_of(there.next()), 2u) << "what was sent to nobody is dropped, not kept";
  ASSERT_TRUE(there.send(to_all(2, 100, 3)));
  EXPECT_EQ(number_of(here.next()), 3u);
}

TEST_F(PlugPortTest, IdleMeansNoWakeUps) {
  Hall hall;
  Loop ours({});
  LocalPlug here(ours);
  LinkedPlug there;
  ours.add(open("switch:lan0"), "switch:lan0");
  ASSERT_TRUE(here.send(to_all(1, 100, 1)));
  ASSERT_FALSE(there.next().empty());
  // As after a restart, which wakes each of them once.
  poll(nullptr, 0, 200);
  const auto links = sleeps_of("rp-link"), loops = sleeps_of("rp-switch");
  poll(nullptr, 0, 1000);
  EXPECT_EQ(sleeps_of("rp-link"), links);
  EXPECT_EQ(sleeps_of("rp-switch"), loops);
}

TEST_F(PlugPortTest, LocatorsThatAreWrong) {
  const auto refused = [](const std::string& locator, Errc code) {
    try {
      open(locator);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code) << e.what();
      return;
    }
    ADD_FAILURE() << locator;
  };
  refused("switch:lan0?start=off", Errc::not_found);
  refused("switch", Errc::invalid);
  refused("switch:", Errc::invalid);
  refused("switch:/tmp/x", Errc::invalid);
  refused("switch:lan0?start=maybe", Errc::invalid);
  refused("switch:lan0?vlan=10", Errc::invalid);
}

}  // namespace
}  // namespace rp::backend
