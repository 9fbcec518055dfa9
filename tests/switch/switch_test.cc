// SPDX-License-Identifier: BSD-3-Clause
// switch_test.cc - learning, flooding, dropping with reasons, and the sum of all counters.
#include "switch/switch.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <string>

#include "tests/switch/packets.h"
#include "tests/switch/switch_fixture.h"

namespace rp::sw {
namespace {

using test::Bytes;
using test::ethernet;
using test::FakePort;

constexpr std::uint64_t kA = 0x020000000001, kB = 0x020000000002, kC = 0x020000000003;
constexpr std::uint64_t kAll = 0xffffffffffff;

using SwitchTest = test::SwitchFixture;

TEST_F(SwitchTest, FloodsTheUnknownAndForwardsTheLearned) {
  add(), add(), add();
  send(0, ethernet(kB, kA));
  EXPECT_EQ(ports[1]->sent.size(), 1u);
  EXPECT_EQ(ports[2]->sent.size(), 1u);
  EXPECT_EQ(ports[0]->sent.size(), 0u) << "never back to where it came from";
  send(1, ethernet(kA, kB));
  EXPECT_EQ(ports[0]->sent.size(), 1u);
  EXPECT_EQ(ports[2]->sent.size(), 1u) << "a learned address is not flooded";
}

TEST_F(SwitchTest, CarriesFramesByteForByte) {
  add(), add();
  for (std::size_t size : {14u, 15u, 60u, 127u, 128u, 129u, 1514u, 9018u, 65557u}) {
    const Bytes frame = ethernet(kAll, kA, size);
    send(0, frame);
    EXPECT_EQ(ports[1]->sent.back().first, frame) << size;
  }
}

/// Has one buffer for all its frames.
class OneBufferPort final : public Port {
 public:
  std::vector<Bytes> inbound;
  std::size_t released = 0;
  int poll_fd() const noexcept override { return -1; }
  void receive(Burst& burst, Instant) noexcept override {
    EXPECT_TRUE(burst.forwards());
    for (const Bytes& b : inbound) {
      std::copy(b.begin(), b.end(), buffer_.begin());
      ASSERT_TRUE(burst.add(std::span(buffer_).first(b.size())));
      burst.hand_over();
      EXPECT_TRUE(burst.empty());
    }
    inbound.clear();
  }
  void release() noexcept override { ++released; }
  std::size_t send(std::span<const Frame* const>, Instant) noexcept override { return 0; }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return true; }

 private:
  std::array<std::uint8_t, 2000> buffer_;
};

TEST_F(SwitchTest, FramesThatDoNotStayAreForwardedAtOnce) {
  FakePort& to = add();
  auto own = std::make_unique<OneBufferPort>();
  OneBufferPort& from = *own;
  const PortId id = sw.add(std::move(own), "one buffer");
  std::vector<Bytes> sent;
  for (std::size_t i = 0; i < 3 * Burst::kFrames; ++i) sent.push_back(ethernet(kB, kA, 200 + i));
  from.inbound = sent;
  EXPECT_EQ(sw.turn(id, now), sent.size());
  EXPECT_EQ(from.released, 1u);
  ASSERT_EQ(to.sent.size(), sent.size());
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_EQ(to.sent[i].first, sent[i]) << i;
  EXPECT_EQ(to.flushes, 0);
  sw.flush(now, [](PortId) {});
  EXPECT_EQ(to.flushes, 1) << "once a turn, however often frames were handed over";
  EXPECT_EQ(sw.turn(id, now), 0u);
}

TEST(Burst, OnlyThePortsOwnBytesAreSaidToBe) {
  Bytes bytes = ethernet(kB, kA, 1000);
  Burst burst;
  ASSERT_TRUE(burst.add_own(bytes));
  EXPECT_EQ(burst[0].own, bytes.data());
  burst[0].head[20] = 7;
  std::fill_n(bytes.begin(), Frame::kHead, std::uint8_t{0xee});
  EXPECT_EQ(burst[0].own_bytes().size(), 1000u);
  EXPECT_EQ(bytes[20], 7) << "heads are as they are by now";
  burst.clear();
  ASSERT_TRUE(burst.add(bytes));
  EXPECT_EQ(burst[0].own, nullptr);
  burst.clear();
  ASSERT_TRUE(burst.add_own(bytes));
  burst.clear();
  burst.push(0);
  EXPECT_EQ(burst[0].own, nullptr) << "of a guest";
}

TEST_F(SwitchTest, ABurstOfNoSwitchForwardsNothing) {
  Burst burst;
  EXPECT_FALSE(burst.forwards());
}

TEST_F(SwitchTest, BroadcastAndMulticastGoEverywhere) {
  add(), add(), add();
  send(0, ethernet(kAll, kA));
  send(0, ethernet(0x01005e000001, kA));
  EXPECT_EQ(ports[1]->sent.size(), 2u);
  EXPECT_EQ(ports[2]->sent.size(), 2u);
  EXPECT_EQ(counter(0, "in.flooded"), 2u);
}

TEST_F(SwitchTest, T_HDR_4_RuntsAreDroppedAndCounted) {
  add(), add();
  for (std::size_t size : {0u, 1u, 13u}) send(0, Bytes(size));
  EXPECT_EQ(ports[1]->sent.size(), 0u);
  EXPECT_EQ(counter(0, "drop.runt"), 3u);
  send(0, ethernet(kAll, kA, 14));
  EXPECT_EQ(ports[1]->sent.size(), 1u);
}

TEST_F(SwitchTest, T_HDR_6_OversizeIsDroppedAndCounted) {
  add(), add();
  send(0, ethernet(kAll, kA, kMaxFrame + 1));
  EXPECT_EQ(ports[1]->sent.size(), 0u);
  EXPECT_EQ(counter(0, "drop.oversize"), 1u);
}

TEST_F(SwitchTest, T_SW_3_BadSourcesAreDropped) {
  add(), add();
  send(0, ethernet(kB, kAll));
  send(0, ethernet(kB, 0x010000000000));
  send(0, ethernet(kB, 0));
  EXPECT_EQ(ports[1]->sent.size(), 0u);
  EXPECT_EQ(counter(0, "drop.bad-source"), 3u);
}

TEST_F(SwitchTest, T_SW_5_LinkConstrainedAddressesStayOnTheirLink) {
  add(), add();
  for (std::uint64_t i = 0; i < 16; ++i) send(0, ethernet(0x0180c2000000 + i, kA));
  EXPECT_EQ(ports[1]->sent.size(), 0u);
  EXPECT_EQ(counter(0, "drop.reserved-address"), 16u);
  send(0, ethernet(0x0180c2000010, kA));
  EXPECT_EQ(ports[1]->sent.size(), 1u);
}

TEST_F(SwitchTest, AStationThatMovesIsFoundAgainAndCounted) {
  add(), add(), add();
  send(0, ethernet(kAll, kA));
  send(1, ethernet(kAll, kA));
  EXPECT_EQ(counter(1, "mac.moves"), 1u);
  ports[1]->sent.clear();
  send(2, ethernet(kA, kC));
  EXPECT_EQ(ports[1]->sent.size(), 1u);
}

TEST_F(SwitchTest, TrafficBetweenStationsOfOnePortStaysThere) {
  add(), add();
  send(0, ethernet(kAll, kA));
  ports[1]->sent.clear();
  send(0, ethernet(kA, kC));
  EXPECT_EQ(ports[1]->sent.size(), 0u);
  EXPECT_EQ(counter(0, "drop.same-port"), 1u);
}

TEST_F(SwitchTest, AFullPortDropsItsOwnFramesOnly) {
  add(), add(), add();
  ports[1]->room = 3;
  for (int i = 0; i < 10; ++i) ports[0]->inbound.emplace_back(ethernet(kAll, kA), Offload{});
  run();
  EXPECT_EQ(ports[1]->sent.size(), 3u);
  EXPECT_EQ(ports[2]->sent.size(), 10u);
  EXPECT_EQ(counter(1, "drop.queue-full"), 7u);
  EXPECT_EQ(counter(1, "out.frames"), 3u);
  EXPECT_EQ(counter(1, "out.bytes"), 180u);
  EXPECT_EQ(counter(2, "drop.queue-full"), 0u);
}

TEST_F(SwitchTest, APortWithoutLinkGetsNothing) {
  add(), add();
  ports[1]->up = false;
  send(0, ethernet(kAll, kA));
  EXPECT_EQ(ports[1]->sent.size(), 0u);
  EXPECT_EQ(counter(0, "drop.nowhere"), 1u);
}

TEST_F(SwitchTest, ABurstIsOneSendAndOneFlush) {
  add(), add();
  for (int i = 0; i < 64; ++i) ports[0]->inbound.emplace_back(ethernet(kAll, kA), Offload{});
  run();
  EXPECT_EQ(ports[1]->sends, 1);
  EXPECT_EQ(ports[1]->flushes, 1);
  EXPECT_EQ(ports[1]->sent.size(), 64u);
}

/// A switch in which frames go many ways.
class World : public test::SwitchFixture {
 public:
  explicit World(bool vlans) {
    for (int i = 0; i < 4; ++i) {
      PortPolicy p;
      p.vlan_aware = vlans && i != 2;
      p.untagged = i == 1 ? kNoVlan : 5;
      p.tagged[i == 1 ? 5 : 6] = true;
      p.isolated = i == 1 || i == 2;
      if (i == 3) p.addresses = {{Mac{{2, 0, 0, 0, 0, 4}}, 0}};
      add(p);
    }
    sw.addresses().set_hold(std::chrono::seconds(10));
    sw.set_loop_guard(false);  // it probes once a turn
  }
  void TestBody() override {}
  std::vector<Bytes> take(std::size_t port) {
    std::vector<Bytes> got;
    for (auto& [frame, offload] : std::exchange(ports[port]->sent, {}))
      got.push_back(std::move(frame));
    return got;
  }
  std::map<std::string, std::uint64_t> counters() const {
    std::map<std::string, std::uint64_t> all;
    sw.report([&](PortId id, const std::string&, std::string_view name, std::uint64_t v) {
      all[std::to_string(id) + std::string(name)] = v;
    });
    return all;
  }
  using SwitchFixture::now;
  using SwitchFixture::ports;
  using SwitchFixture::run;
  using SwitchFixture::send;
};

/// What a frame does must not hang on whether it came in one burst with others like it.
class SwitchBurstTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(WithAndWithoutVlans, SwitchBurstTest, testing::Bool());

TEST_P(SwitchBurstTest, ItsFramesGoWhereTheyWouldAlone) {
  World together(GetParam()), alone(GetParam());
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    const std::size_t port = random() % 4;
    for (auto n = 1 + random() % 12; n > 0; --n) {
      static constexpr std::uint64_t kSome[] = {kA, kB, kC, 0x020000000004, kAll};
      Bytes frame = ethernet(kSome[random() % 5], kSome[random() % 4], 60 + random() % 4);
      if (random() % 4 == 0) {
        frame[12] = 0x81, frame[13] = frame[14] = 0;
        frame[15] = static_cast<std::uint8_t>(random() % 3 == 0 ? 0 : 5 + random() % 2);
        if (random() % 4 == 0) frame.resize(14 + random() % 5);
      }
      for (auto times = 1 + random() % 3; times > 0; --times) {
        together.ports[port]->inbound.emplace_back(frame, Offload{});
        alone.send(port, frame);
      }
    }
    together.run();
    for (std::size_t i = 0; i < 4; ++i) {
      ASSERT_EQ(together.take(i), alone.take(i)) << round << ": port " << i;
    }
    ASSERT_EQ(together.counters(), alone.counters()) << round;
    const Instant later{random() % 3 == 0 ? std::chrono::seconds(random() % 8) : 0s};
    together.now += later, alone.now += later;
  }
}

TEST_F(SwitchTest, EachTurnLearnsAnew) {
  add(), add();
  for (std::size_t i = 0; i < 4; ++i) send(i % 2, ethernet(kB, kA));
  EXPECT_EQ(counter(0, "mac.moves"), 1u);
  EXPECT_EQ(counter(1, "mac.moves"), 2u);
  now += 400s;
  send(1, ethernet(kB, kA));
  send(0, ethernet(kA, kB));
  EXPECT_EQ(counter(0, "in.flooded"), 2u) << "it was heard of just now";
}

TEST_F(SwitchTest, ARemovedPortIsForgottenByAll) {
  add(), add(), add();
  send(0, ethernet(kAll, kA));
  const PortId gone = ids[0];
  EXPECT_NE(sw.remove(gone), nullptr);
  EXPECT_EQ(sw.remove(gone), nullptr);
  ids.erase(ids.begin());
  ports.erase(ports.begin());
  EXPECT_EQ(ports[0]->forgotten, std::vector<PortId>{gone});
  ports[0]->sent.clear(), ports[1]->sent.clear();
  send(0, ethernet(kA, kB));
  EXPECT_EQ(ports[1]->sent.size(), 1u) << "its address is unknown again";
  add();
  EXPECT_NE(ids.back(), gone) << "an id does not come back at once";
}

TEST_F(SwitchTest, APortWithoutOffloadsGetsCompleteFrames) {
  add(), add({.csum = true, .tso4 = true}), add();
  // Ethernet, IPv4, UDP with a checksum to complete.
  Bytes f = ethernet(kAll, kA, 60, kEtherIpv4);
  const std::uint8_t ip[] = {0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
  std::copy(std::begin(ip), std::end(ip), f.begin() + 14);
  f[38] = 0, f[39] = 26, f[40] = f[41] = 0;
  Offload o;
  o.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  o.csum_start = 34;
  o.csum_offset = 6;
  send(0, f, o);
  EXPECT_TRUE(ports[1]->sent.at(0).second.needs_csum());
  EXPECT_EQ(ports[1]->sent.at(0).first, f) << "passed through untouched";
  EXPECT_TRUE(ports[2]->sent.at(0).second.none());
  EXPECT_NE(ports[2]->sent.at(0).first, f) << "completed";
}

TEST_F(SwitchTest, T_HDR_5_AReceiverSeesNoStrayMetadata) {
  add(), add();
  Offload o;
  o.hdr_len = 99, o.gso_size = 7, o.csum_start = 3;
  send(0, ethernet(kAll, kA), o);
  const Offload got = ports[1]->sent.at(0).second;
  EXPECT_EQ(got.hdr_len, 0);
  EXPECT_EQ(got.gso_size, 0);
  EXPECT_EQ(got.csum_start, 0);
}

TEST_F(SwitchTest, MetadataThatContradictsTheFrameIsDropped) {
  add(), add();
  Offload o;
  o.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
  o.csum_start = 500;
  send(0, ethernet(kAll, kA), o);
  EXPECT_EQ(ports[1]->sent.size(), 0u);
  EXPECT_EQ(counter(0, "drop.bad-offload"), 1u);
}

TEST_F(SwitchTest, TellsNamesAndAddresses) {
  add(), add();
  send(0, ethernet(kAll, kA));
  now += 7s;
  send(1, ethernet(kAll, kB));
  std::map<std::uint64_t, MacTable::Entry> found;
  sw.each_address(now, [&](const MacTable::Entry& e) { found[e.mac.value()] = e; });
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[kA].port, ids[0]);
  EXPECT_EQ(found[kA].age_s, 7u);
  EXPECT_EQ(found[kB].port, ids[1]);
  EXPECT_EQ(found[kB].age_s, 0u);
  EXPECT_EQ(sw.name(ids[1]), "p1");
  const auto gone = sw.remove(ids[1]);
  EXPECT_EQ(sw.name(ids[1]), "");
  EXPECT_EQ(sw.name(kNoPort), "");
}

constexpr Offloads kTso{.csum = true, .tso4 = true, .tso6 = true};

/// `n` TCP segments of one flow of kA's to `dst`.
std::vector<Bytes> segments(std::uint64_t dst, std::size_t n, unsigned flow = 1) {
  auto out = test::train({}, n, 1000, flow);
  const Bytes header = ethernet(dst, kA, 12);
  for (Bytes& s : out) std::copy(header.begin(), header.end(), s.begin());
  return out;
}

TEST_F(SwitchTest, SegmentsAreJoinedForAPortThatTakesThemSo) {
  add(), add(kTso), add(), add({.csum = true, .tso6 = true});
  const auto burst = segments(kAll, 10);
  for (const Bytes& s : burst) ports[0]->inbound.emplace_back(s, Offload{});
  run();
  ASSERT_EQ(ports[1]->sent.size(), 1u);
  EXPECT_EQ(ports[1]->sent[0].second.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
  EXPECT_EQ(ports[1]->sent[0].second.gso_size, 1000);
  EXPECT_EQ(ports[1]->sent[0].first.size(), 54u + 10 * 1000);
  EXPECT_EQ(counter(1, "out.frames"), 1u);
  EXPECT_EQ(counter(1, "out.bytes"), 54u + 10 * 1000);
  EXPECT_EQ(counter(1, "out.coalesced"), 9u);
  for (std::size_t other : {2u, 3u}) {
    ASSERT_EQ(ports[other]->sent.size(), 10u) << "the others get what was sent";
    for (std::size_t i = 0; i < 10; ++i) {
      EXPECT_EQ(ports[other]->sent[i].first, burst[i]);
      EXPECT_TRUE(ports[other]->sent[i].second.none());
    }
    EXPECT_EQ(counter(other, "out.coalesced"), 0u);
  }
}

TEST_F(SwitchTest, SegmentsOfOneBurstAloneAreJoined) {
  add(), add(kTso);
  send(1, ethernet(kAll, kB));
  for (const Bytes& s : segments(kB, 3)) send(0, s);
  EXPECT_EQ(ports[1]->sent.size(), 3u) << "nothing waits for a later one";
  for (const Bytes& s : segments(kB, Burst::kFrames + 2, 2))
    ports[0]->inbound.emplace_back(s, Offload{});
  run();
  EXPECT_EQ(ports[1]->sent.size(), 5u);
}

TEST_F(SwitchTest, AJoinedFrameRefusedIsDroppedAsTheFramesItWasMadeOf) {
  add(), add(kTso);
  for (unsigned flow : {1u, 2u})
    for (const Bytes& s : segments(kAll, 5, flow)) ports[0]->inbound.emplace_back(s, Offload{});
  ports[1]->room = 1;
  run();
  EXPECT_EQ(counter(1, "out.frames"), 1u);
  EXPECT_EQ(counter(1, "out.coalesced"), 4u);
  EXPECT_EQ(counter(1, "drop.queue-full"), 5u);
}

TEST_F(SwitchTest, WhatAPortCantTakeIsCompletedBesideWhatIsJoined) {
  add(), add(kTso);
  const auto burst = segments(kAll, 4);
  test::Recipe udp;
  udp.udp = true;
  udp.payload = 3000;
  std::mt19937 rng(1);
  Bytes datagrams = build(udp, rng);
  std::copy(burst[0].begin(), burst[0].begin() + 12, datagrams.begin());
  ports[0]->inbound.emplace_back(burst[0], Offload{});
  ports[0]->inbound.emplace_back(datagrams, gso_claim(udp, 1000));
  for (std::size_t i : {1u, 2u, 3u}) ports[0]->inbound.emplace_back(burst[i], Offload{});
  run();
  ASSERT_EQ(ports[1]->sent.size(), 4u);
  EXPECT_EQ(ports[1]->sent[0].second.gso_size, 1000);
  for (std::size_t i : {1u, 2u, 3u}) EXPECT_FALSE(ports[1]->sent[i].second.is_gso());
  EXPECT_EQ(counter(1, "out.coalesced"), 3u);
}

TEST_F(SwitchTest, FramesInEqualFramesOutPlusDrops) {
  sw.set_loop_guard(false);  // addresses move without end here
  for (int i = 0; i < 6; ++i) add();
  std::mt19937 random(7);
  std::uint64_t offered = 0;
  std::vector<std::uint64_t> delivered(6);
  for (int round = 0; round < 2000; ++round) {
    const auto from = random() % 6;
    const Bytes f = random() % 20 == 0 ? Bytes(random() % 14)
                                       : ethernet(random() % 5 ? 2 + 2 * (random() % 12) : kAll,
                                                  2 * (random() % 12), 14 + random() % 200);
    for (auto* p : ports) p->room = random() % 3;
    send(from, f);
    ++offered;
  }
  std::uint64_t in = 0, out = 0, refused = 0, dropped = 0, sent = 0;
  for (std::size_t p = 0; p < 6; ++p) {
    in += counter(p, "in.frames");
    out += counter(p, "out.frames");
    refused += counter(p, "drop.queue-full");
    for (auto name : {"runt", "bad-source", "same-port", "nowhere"})
      dropped += counter(p, std::string("drop.") + name);
    sent += ports[p]->sent.size();
  }
  EXPECT_EQ(in, offered);
  EXPECT_EQ(out, sent);
  std::uint64_t flooded = 0;
  for (std::size_t p = 0; p < 6; ++p) flooded += counter(p, "in.flooded");
  // Unicast to one port, floods to five.
  EXPECT_EQ(out + refused, (in - dropped - flooded) + flooded * 5);
}

}  // namespace
}  // namespace rp::sw
