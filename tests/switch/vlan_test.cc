// SPDX-License-Identifier: BSD-3-Clause
// vlan_test.cc - VLANs, isolation, locked ports, hub mode: what passes, and in which form.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/switch/packets.h"
#include "tests/switch/switch_fixture.h"

namespace rp::sw {
namespace {

using test::Bytes;
using test::ethernet;
using test::SwitchFixture;

constexpr std::uint64_t kA = 0x020000000001, kB = 0x020000000002, kC = 0x020000000003;
constexpr std::uint64_t kAll = 0xffffffffffff;
const PortPolicy kPlain;

/// `frame` with a tag of `type` and `tci` after its addresses.
Bytes tag(Bytes frame, std::uint16_t tci, std::uint16_t type = kEtherVlan) {
  const std::uint8_t bytes[] = {
      static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type),
      static_cast<std::uint8_t>(tci >> 8), static_cast<std::uint8_t>(tci)};
  frame.insert(frame.begin() + 12, bytes, bytes + 4);
  return frame;
}

PortPolicy access(std::uint16_t vlan) {
  PortPolicy p;
  p.vlan_aware = true;
  p.untagged = vlan;
  return p;
}

PortPolicy trunk(std::initializer_list<std::uint16_t> vlans, std::uint16_t native = kNoVlan) {
  PortPolicy p = access(native);
  for (const std::uint16_t v : vlans) p.tagged.set(v);
  return p;
}

/// Three broadcast TCP segments in one, unfinished.
std::pair<Bytes, Offload> tcp_segments() {
  test::Recipe r;
  r.payload = 3000;
  std::mt19937 rng(1);
  Bytes b = test::build(r, rng);
  const Bytes addresses = ethernet(kAll, kA, 12);
  std::copy(addresses.begin(), addresses.end(), b.begin());
  return {b, test::gso_claim(r, 1000)};
}

class VlanTest : public SwitchFixture {
 protected:
  Bytes only(std::size_t port) {
    EXPECT_EQ(ports[port]->sent.size(), 1u) << "port " << port;
    return ports[port]->sent.empty() ? Bytes{} : ports[port]->sent.back().first;
  }
  bool nothing(std::size_t port) const { return ports[port]->sent.empty(); }
};

TEST_F(VlanTest, EachPortGetsTheFormThatItWants) {
  add(access(10)), add(access(10)), add(trunk({10, 20})), add(trunk({20}, 10)), add(kPlain),
      add(access(20));
  const Bytes plain = ethernet(kAll, kA);
  send(0, plain);
  EXPECT_EQ(only(1), plain) << "access";
  EXPECT_EQ(only(2), tag(plain, 10)) << "trunk";
  EXPECT_EQ(only(3), plain) << "native";
  EXPECT_EQ(only(4), tag(plain, 10)) << "a port without a policy carries all VLANs";
  EXPECT_TRUE(nothing(5));
}

TEST_F(VlanTest, TagsAreTakenOffForAccessPortsAndKeepTheirPriorityOnTrunks) {
  add(trunk({10})), add(access(10)), add(trunk({10, 30}));
  const Bytes plain = ethernet(kAll, kA);
  send(0, tag(plain, 0xb00a));
  EXPECT_EQ(only(1), plain);
  EXPECT_EQ(only(2), tag(plain, 0xb00a));
}

TEST_F(VlanTest, FormsAreRightAtEverySizeAndSplit) {
  sw.set_loop_guard(false);  // one address is at two ports in turn
  add(access(10)), add(trunk({10})), add(trunk({10})), add(access(10));
  for (const std::size_t size :
       {14u, 15u, 60u, 123u, 124u, 125u, 127u, 128u, 129u, 132u, 133u, 1514u, 9018u, 65553u}) {
    for (auto* p : ports) p->sent.clear();
    const Bytes plain = ethernet(kAll, kA, size);
    send(0, plain);
    EXPECT_EQ(only(1), tag(plain, 10)) << size;
    EXPECT_EQ(only(3), plain) << size;
    for (auto* p : ports) p->sent.clear();
    send(1, tag(plain, 10));
    EXPECT_EQ(only(0), plain) << size;
    EXPECT_EQ(only(2), tag(plain, 10)) << size;
  }
}

TEST_F(VlanTest, AFrameThatATagWouldMakeTooLongIsDropped) {
  add(access(10)), add(trunk({10}));
  send(1, tag(ethernet(kAll, kB), 10));
  send(0, ethernet(kB, kA, kMaxFrame));
  EXPECT_TRUE(nothing(1));
  EXPECT_EQ(counter(0, "drop.oversize"), 1u);
}

TEST_F(VlanTest, EveryVlanIsANetworkOfItsOwn) {
  add(kPlain), add(kPlain);
  for (std::uint16_t v = 1; v <= kMaxVlan; ++v) {
    for (auto* p : ports) p->sent.clear();
    configure(0, access(v));
    configure(1, access(v));
    const Bytes frame = ethernet(kAll, kA);
    send(0, frame);
    ASSERT_EQ(only(1), frame) << v;
    configure(1, access(v == kMaxVlan ? 1 : v + 1));
    ports[1]->sent.clear();
    send(0, frame);
    ASSERT_TRUE(nothing(1)) << v;
  }
}

TEST_F(VlanTest, IngressIsFiltered) {
  add(access(10)), add(trunk({10, 20})), add(kPlain);
  const Bytes plain = ethernet(kAll, kA);
  send(0, tag(plain, 20));
  send(0, tag(plain, 10));
  EXPECT_EQ(counter(0, "drop.vlan"), 2u) << "an access port takes no tags, its own VLAN's either";
  send(1, plain);
  send(1, tag(plain, 30));
  send(1, tag(plain, 4095));
  EXPECT_EQ(counter(1, "drop.vlan"), 3u) << "a trunk without a native VLAN, VLANs it is not in";
  EXPECT_TRUE(nothing(2));
}

TEST_F(VlanTest, APriorityTagIsNoVlan) {
  add(access(10)), add(access(10)), add(trunk({10})), add(kPlain), add(kPlain);
  const Bytes plain = ethernet(kAll, kA);
  send(0, tag(plain, 0x6000));
  EXPECT_EQ(only(1), plain);
  EXPECT_EQ(only(2), tag(plain, 0x600a));
  for (auto* p : ports) p->sent.clear();
  send(3, tag(ethernet(kAll, kB), 0x6000));
  EXPECT_EQ(only(4), tag(ethernet(kAll, kB), 0x6000)) << "byte for byte where nobody asks";
}

TEST_F(VlanTest, ServiceTagsPassLikeAnyType) {
  add(access(10)), add(access(10)), add(trunk({10})), add(kPlain);
  const Bytes qinq = tag(tag(ethernet(kAll, kA), 7), 5, kEtherQinQ);
  send(0, qinq);
  EXPECT_EQ(only(1), qinq);
  EXPECT_EQ(only(2), tag(qinq, 10));
  for (auto* p : ports) p->sent.clear();
  const Bytes two = tag(tag(ethernet(kAll, kB), 7), 10);
  send(2, two);
  EXPECT_EQ(only(0), tag(ethernet(kAll, kB), 7)) << "the outer tag alone counts";
  EXPECT_EQ(only(3), two);
}

TEST_F(VlanTest, AddressesAreLearnedPerVlan) {
  add(access(10)), add(access(20)), add(trunk({10, 20})), add(access(10));
  send(0, ethernet(kB, kA));
  send(1, ethernet(kB, kA));
  for (auto* p : ports) p->sent.clear();
  send(2, tag(ethernet(kA, kC), 10));
  send(2, tag(ethernet(kA, kC), 20));
  EXPECT_EQ(only(0), ethernet(kA, kC));
  EXPECT_EQ(only(1), ethernet(kA, kC));
  EXPECT_TRUE(nothing(3)) << "unicast in its VLAN";
}

TEST_F(VlanTest, UnicastIntoAVlanThatThePortIsNotIn) {
  PortPolicy fixed = access(20);
  fixed.addresses = {{Mac{{2, 0, 0, 0, 0, 2}}, 10}};
  add(access(10)), add(fixed);
  send(0, ethernet(kB, kA));
  EXPECT_TRUE(nothing(1));
  EXPECT_EQ(counter(0, "drop.vlan"), 1u);
}

TEST_F(VlanTest, OffloadsFollowTheTag) {
  add(access(10)), add(trunk({10}));
  ports[0]->can = ports[1]->can = {true, true, true, true, true};
  const auto [frame, offload] = tcp_segments();
  send(0, frame, offload);
  ASSERT_EQ(ports[1]->sent.size(), 1u);
  EXPECT_EQ(ports[1]->sent[0].first, tag(frame, 10));
  EXPECT_EQ(ports[1]->sent[0].second.csum_start, offload.csum_start + 4);
  EXPECT_EQ(ports[1]->sent[0].second.hdr_len, offload.hdr_len + 4);
  send(1, tag(frame, 10), ports[1]->sent[0].second);
  ASSERT_EQ(ports[0]->sent.size(), 1u);
  EXPECT_EQ(ports[0]->sent[0].first, frame);
  EXPECT_EQ(ports[0]->sent[0].second.csum_start, offload.csum_start);
}

TEST_F(VlanTest, SegmentsMadeBehindATagEqualThoseMadeWithout) {
  add(access(10)), add(trunk({10})), add(access(10));
  const auto [frame, offload] = tcp_segments();
  send(0, frame, offload);
  ASSERT_GT(ports[2]->sent.size(), 1u);
  ASSERT_EQ(ports[1]->sent.size(), ports[2]->sent.size());
  for (std::size_t i = 0; i < ports[1]->sent.size(); ++i)
    EXPECT_EQ(ports[1]->sent[i].first, tag(ports[2]->sent[i].first, 10)) << i;
}

TEST_F(VlanTest, IsolatedPortsReachOnlyTheOthers) {
  PortPolicy isolated;
  isolated.isolated = true;
  add(isolated), add(isolated), add(kPlain);
  send(0, ethernet(kAll, kA));
  EXPECT_TRUE(nothing(1));
  EXPECT_EQ(ports[2]->sent.size(), 1u);
  send(1, ethernet(kA, kB));
  EXPECT_TRUE(nothing(0));
  EXPECT_EQ(counter(1, "drop.isolated"), 1u);
  send(2, ethernet(kA, kC));
  EXPECT_EQ(ports[0]->sent.size(), 1u);
}

TEST_F(VlanTest, T_SW_3_ALockedPortTakesOnlyItsAddresses) {
  PortPolicy locked;
  locked.locked = true;
  locked.addresses = {{Mac{{2, 0, 0, 0, 0, 1}}, 0}};
  add(locked), add(kPlain), add(kPlain);
  send(0, ethernet(kAll, kB));
  EXPECT_TRUE(nothing(1));
  EXPECT_EQ(counter(0, "drop.locked"), 1u);
  send(0, ethernet(kAll, kA));
  EXPECT_EQ(ports[1]->sent.size(), 1u);
  // Nobody takes the address away.
  send(1, ethernet(kAll, kA));
  EXPECT_EQ(counter(1, "mac.refused"), 1u);
  ports[0]->sent.clear(), ports[1]->sent.clear();
  send(2, ethernet(kA, kC));
  EXPECT_EQ(ports[0]->sent.size(), 1u);
  EXPECT_TRUE(nothing(1));
}

TEST_F(VlanTest, T_SW_4_NoEncapsulationGetsRoundAFilter) {
  PortPolicy locked = access(10);
  locked.locked = true;
  locked.addresses = {{Mac{{2, 0, 0, 0, 0, 1}}, 10}};
  add(locked), add(kPlain);
  for (const std::uint16_t type : {kEtherVlan, kEtherQinQ, std::uint16_t{0x8847},
                                   std::uint16_t{0x9100}, std::uint16_t{0x893f}}) {
    Bytes frame = ethernet(kAll, kB, 100);
    for (int tags = 0; tags <= 20; ++tags, frame = tag(frame, 10, type)) {
      send(0, frame);
      ASSERT_TRUE(nothing(1)) << type << " x " << tags;
    }
  }
  // Its own address, but a C-tag outside: no way into another VLAN.
  Bytes frame = ethernet(kAll, kA, 100);
  for (int tags = 1; tags <= 20; ++tags) {
    frame = tag(frame, 20);
    send(0, frame);
    ASSERT_TRUE(nothing(1)) << tags;
  }
  send(0, ethernet(kAll, kA, 100));
  EXPECT_EQ(only(1), tag(ethernet(kAll, kA, 100), 10));
}

TEST_F(VlanTest, StaticAddressesOutliveAPortOfTheSameNumber) {
  PortPolicy locked;
  locked.locked = true;
  locked.addresses = {{Mac{{2, 0, 0, 0, 0, 1}}, 0}};
  add(kPlain), add(kPlain);
  configure(0, locked);
  auto second = std::make_unique<test::FakePort>();
  second->claims.number = sw.number(ids[0]);
  const PortId guest = sw.add(std::move(second), "second");
  sw.remove(guest);
  send(0, ethernet(kAll, kA));
  EXPECT_EQ(ports[1]->sent.size(), 1u);
  EXPECT_EQ(counter(0, "drop.locked"), 0u);
}

TEST_F(VlanTest, AStaticAddressOfTwoPortsIsOneUntilItLeaves) {
  PortPolicy fixed;
  fixed.addresses = {{Mac{{2, 0, 0, 0, 0, 2}}, 0}};
  for (int i = 0; i < 4; ++i) add(kPlain);
  configure(1, fixed);
  configure(0, fixed);
  const auto owner = [&] {
    send(3, ethernet(kB, kC));
    for (const std::size_t i : {0u, 1u, 2u}) {
      if (!ports[i]) continue;
      const bool here = !ports[i]->sent.empty();
      ports[i]->sent.clear();
      if (here) return static_cast<int>(i);
    }
    return -1;
  };
  EXPECT_EQ(owner(), 0) << "who was told last";
  sw.remove(ids[2]);
  ports[2] = nullptr;
  EXPECT_EQ(owner(), 0) << "whoever else leaves";
  configure(0, kPlain);
  EXPECT_EQ(owner(), 1);
  configure(0, fixed);
  EXPECT_EQ(owner(), 0);
  sw.remove(ids[0]);
  ports[0] = nullptr;
  EXPECT_EQ(owner(), 1);
}

TEST_F(VlanTest, AChecksumThatATagWouldWrapIsDropped) {
  add(access(10)), add(trunk({10})), add(access(10));
  for (auto* p : ports) p->can = {true, true, true, true, true};
  Bytes frame = ethernet(kAll, kA, 65550);
  Offload o;
  o.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  o.csum_start = 65534;
  o.csum_offset = 2;
  send(0, frame, o);
  EXPECT_TRUE(nothing(1));
}

TEST_F(VlanTest, AHubSendsEverythingEverywhere) {
  add(kPlain), add(kPlain), add(kPlain);
  sw.set_hub(true);
  send(1, ethernet(kB, kA));
  for (auto* p : ports) p->sent.clear();
  send(0, ethernet(kA, kB));
  send(0, ethernet(0x0180c2000000, kB));
  EXPECT_EQ(ports[1]->sent.size(), 2u);
  EXPECT_EQ(ports[2]->sent.size(), 2u);
}

TEST_F(VlanTest, APolicyStaysWithTheNumber) {
  add(kPlain), add(kPlain);
  configure(1, access(10));
  EXPECT_EQ(sw.number(ids[1]), 2u);
  sw.remove(ids[1]);
  ids.pop_back(), ports.pop_back();
  add(kPlain);
  EXPECT_EQ(sw.number(ids[1]), 2u);
  EXPECT_EQ(sw.policy(ids[1])->untagged, 10);
}

TEST_F(VlanTest, ReconfiguringForgetsWhatWasLearned) {
  add(kPlain), add(kPlain), add(kPlain);
  send(0, ethernet(kB, kA));
  configure(0, access(10));
  ports[2]->sent.clear();
  send(1, ethernet(kA, kB));
  EXPECT_EQ(ports[2]->sent.size(), 1u) << "flooded, as nobody in VLAN 0 is known as kA";
}

}  // namespace
}  // namespace rp::sw
