// SPDX-License-Identifier: BSD-3-Clause
// l3_edge_test.cc - who is answered, who is asked for, and what goes where.
#include "tap/l3_edge.h"

#include <random>

#include "switch/checksum.h"
#include "tests/tap/network.h"

namespace rp::test {
namespace {

const sw::Mac kEdge{{2, 0, 0, 0, 0, 1}}, kGuest{{2, 0, 0, 0, 0, 2}}, kOther{{2, 0, 0, 0, 0, 3}};

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Bytes of(const sw::Mac& m) {
  return Bytes(m.bytes.begin(), m.bytes.end());
}

Bytes of(const std::string& ip) {
  const tap::Ip a = tap::parse_ip(ip);
  return Bytes(a.bytes.begin(), a.bytes.begin() + static_cast<long>(a.size()));
}

Bytes eth(const sw::Mac& dst, const sw::Mac& src, unsigned type) {
  return of(dst) + of(src) +
         Bytes{static_cast<std::uint8_t>(type >> 8), static_cast<std::uint8_t>(type)};
}

Bytes arp(std::uint8_t op, const sw::Mac& sha, const std::string& spa, const std::string& tpa) {
  return eth(sw::kBroadcast, sha, 0x0806) + Bytes{0, 1, 8, 0, 6, 4, 0, op} + of(sha) + of(spa) +
         Bytes(6) + of(tpa);
}

Bytes ip4(const std::string& src, const std::string& dst) {
  return Bytes{0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0} + of(src) + of(dst) + Bytes(8);
}

Bytes ip6(const std::string& src, const std::string& dst, std::uint8_t next, const Bytes& payload,
          std::uint8_t hops = 255) {
  return Bytes{0x60, 0, 0, 0, 0, static_cast<std::uint8_t>(payload.size()), next, hops} + of(src) +
         of(dst) + payload;
}

Bytes solicitation(const sw::Mac& from, const std::string& src, const std::string& target,
                   std::uint8_t hops = 255) {
  return eth({{0x33, 0x33, 0xff, 0, 0, 1}}, from, 0x86dd) +
         ip6(src, "ff02::1:ff00:1", 58,
             Bytes{135, 0, 0, 0, 0, 0, 0, 0} + of(target) + Bytes{1, 1} + of(from), hops);
}

struct Edge {
  explicit Edge(const std::vector<std::string>& addresses = {"192.0.2.1/24", "2001:db8::1/64"},
                bool proxy = false)
      : edge(kEdge, parsed(addresses), proxy) {}

  static std::vector<tap::Prefix> parsed(const std::vector<std::string>& texts) {
    std::vector<tap::Prefix> out;
    for (const auto& t : texts) out.push_back(tap::parse_prefix(t));
    return out;
  }
  bool give(const Bytes& bytes) {
    sw::Frame f;
    sw::Part part;
    sw::make_frame(f, part, bytes);
    return edge.from_guest(f);
  }
  /// What it has to say of itself.
  std::vector<Bytes> said() {
    std::vector<Bytes> out;
    for (std::size_t i = 0; i < edge.own_frames(); ++i) {
      const auto f = edge.own_frame(i);
      out.emplace_back(f.begin(), f.end());
    }
    edge.clear(edge.own_frames());
    return out;
  }
  /// The header that a packet gets; empty: none.
  Bytes header(const Bytes& packet) {
    sw::EthHeader h{};
    if (!edge.to_guest(packet, h)) return {};
    const auto* b = reinterpret_cast<const std::uint8_t*>(&h);
    return Bytes(b, b + sizeof h);
  }
  tap::L3Edge edge;
};

TEST(L3Edge, AnswersArpForItsAddressAlone) {
  Edge e;
  EXPECT_FALSE(e.give(arp(1, kGuest, "192.0.2.2", "192.0.2.1")));
  const auto said = e.said();
  ASSERT_EQ(said.size(), 1u);
  const Bytes reply = eth(kGuest, kEdge, 0x0806) + Bytes{0, 1, 8, 0, 6, 4, 0, 2} + of(kEdge) +
                      of("192.0.2.1") + of(kGuest) + of("192.0.2.2");
  EXPECT_EQ(said[0], reply);
  for (const char* other : {"192.0.2.3", "198.51.100.1", "192.0.2.2"})
    e.give(arp(1, kGuest, "192.0.2.2", other));
  e.give(arp(2, kGuest, "192.0.2.2", "192.0.2.1"));
  EXPECT_TRUE(e.said().empty());
}

TEST(L3Edge, ProbesAreAnsweredForItsAddressAlone) {
  for (const bool proxy : {false, true}) {
    Edge e({"192.0.2.1/24", "2001:db8::1/64"}, proxy);
    e.give(arp(1, kGuest, "0.0.0.0", "192.0.2.7"));
    e.give(arp(1, kGuest, "192.0.2.7", "192.0.2.7"));
    e.give(solicitation(kGuest, "::", "2001:db8::7"));
    EXPECT_TRUE(e.said().empty());
    e.give(arp(1, kGuest, "0.0.0.0", "192.0.2.1"));
    e.give(solicitation(kGuest, "::", "2001:db8::1"));
    const auto said = e.said();
    ASSERT_EQ(said.size(), 2u);
    EXPECT_EQ(Bytes(said[1].begin(), said[1].begin() + 6), (Bytes{0x33, 0x33, 0, 0, 0, 1}));
  }
}

TEST(L3Edge, AProxyAnswersForWhomNoGuestIs) {
  Edge e({}, true);
  e.give(arp(1, kGuest, "192.0.2.2", "198.51.100.1"));
  EXPECT_EQ(e.said().size(), 1u);
  e.give(arp(1, kOther, "192.0.2.3", "192.0.2.2"));  // it is one by now
  EXPECT_TRUE(e.said().empty());
  e.give(solicitation(kGuest, "2001:db8::2", "2001:db8:9::1"));
  EXPECT_EQ(e.said().size(), 1u);
}

TEST(L3Edge, AnswersNeighbourSolicitations) {
  Edge e;
  for (const char* target : {"2001:db8::1", "fe80::ff:fe00:1"}) {
    EXPECT_FALSE(e.give(solicitation(kGuest, "2001:db8::2", target)));
    const auto said = e.said();
    ASSERT_EQ(said.size(), 1u) << target;
    const Bytes& f = said[0];
    ASSERT_EQ(f.size(), 86u);
    EXPECT_EQ(Bytes(f.begin(), f.begin() + 14), eth(kGuest, kEdge, 0x86dd));
    EXPECT_EQ(f[14 + 7], 255);
    EXPECT_EQ(Bytes(f.begin() + 22, f.begin() + 38), of(target));
    EXPECT_EQ(f[54], 136);
    EXPECT_EQ(f[58], 0xe0);
    const Bytes rest = of(target) + Bytes{2, 1} + of(kEdge);
    EXPECT_EQ(Bytes(f.begin() + 62, f.end()), rest);
    sw::Ipv6Header ip;
    std::memcpy(&ip, f.data() + 14, sizeof ip);
    EXPECT_EQ(
        sw::checksum_finish(sw::checksum_add(sw::pseudo_sum(ip, 58, 32), std::span(f).subspan(54))),
        0);
  }
  e.give(solicitation(kGuest, "2001:db8::2", "2001:db8::3"));
  e.give(solicitation(kGuest, "2001:db8::2", "2001:db8::1", 254));  // from behind a router
  EXPECT_TRUE(e.said().empty());
}

TEST(L3Edge, PacketsForItGoToTheDevice) {
  Edge e;
  const Bytes udp4 = ip4("192.0.2.2", "198.51.100.1"),
              udp6 = ip6("2001:db8::2", "2001:db8:9::1", 17, Bytes(8));
  EXPECT_TRUE(e.give(eth(kEdge, kGuest, 0x0800) + udp4));
  EXPECT_TRUE(e.give(eth(kEdge, kGuest, 0x86dd) + udp6));
  EXPECT_TRUE(e.give(eth(sw::kBroadcast, kGuest, 0x0800) + udp4));
  EXPECT_FALSE(e.give(eth(kOther, kGuest, 0x0800) + udp4));
  EXPECT_FALSE(e.give(eth(kEdge, kGuest, 0x88b5) + udp4));
  EXPECT_FALSE(e.give(eth(kEdge, kGuest, 0x0800) + udp6));
  EXPECT_FALSE(e.give(eth(kEdge, kGuest, 0x86dd) + udp4));
  EXPECT_FALSE(e.give(eth(kEdge, kGuest, 0x8100) + Bytes{0, 7, 8, 0} + udp4));
}

TEST(L3Edge, PacketsFindTheGuestThatSpoke) {
  Edge e;
  e.give(eth(kEdge, kGuest, 0x0800) + ip4("192.0.2.2", "192.0.2.1"));
  e.give(arp(1, kOther, "192.0.2.3", "192.0.2.1"));
  e.give(solicitation(kOther, "2001:db8::3", "2001:db8::1"));
  e.said();
  EXPECT_EQ(e.header(ip4("198.51.100.1", "192.0.2.2")), eth(kGuest, kEdge, 0x0800));
  EXPECT_EQ(e.header(ip4("198.51.100.1", "192.0.2.3")), eth(kOther, kEdge, 0x0800));
  EXPECT_EQ(e.header(ip6("2001:db8:9::1", "2001:db8::3", 17, Bytes(8))),
            eth(kOther, kEdge, 0x86dd));
  EXPECT_TRUE(e.said().empty());
}

TEST(L3Edge, WhoeverIsNotKnownIsAskedFor) {
  Edge e;
  EXPECT_TRUE(e.header(ip4("198.51.100.1", "192.0.2.9")).empty());
  EXPECT_TRUE(e.header(ip6("2001:db8:9::1", "2001:db8::1:9", 17, Bytes(8))).empty());
  const auto said = e.said();
  ASSERT_EQ(said.size(), 2u);
  EXPECT_EQ(said[0], arp(1, kEdge, "192.0.2.1", "192.0.2.9"));
  EXPECT_EQ(Bytes(said[1].begin(), said[1].begin() + 6), (Bytes{0x33, 0x33, 0xff, 0x01, 0, 9}));
  EXPECT_EQ(Bytes(said[1].begin() + 38, said[1].begin() + 54), of("ff02::1:ff01:9"));
  EXPECT_EQ(said[1][54], 135);
  // And known once it answers.
  e.give(arp(2, kGuest, "192.0.2.9", "192.0.2.1"));
  EXPECT_EQ(e.header(ip4("198.51.100.1", "192.0.2.9")), eth(kGuest, kEdge, 0x0800));
}

TEST(L3Edge, GroupsGoToGroups) {
  Edge e;
  EXPECT_EQ(e.header(ip4("192.0.2.1", "255.255.255.255")), eth(sw::kBroadcast, kEdge, 0x0800));
  EXPECT_EQ(e.header(ip4("192.0.2.1", "192.0.2.255")), eth(sw::kBroadcast, kEdge, 0x0800));
  EXPECT_EQ(e.header(ip4("192.0.2.1", "239.129.2.3")), eth({{1, 0, 0x5e, 1, 2, 3}}, kEdge, 0x0800));
  EXPECT_EQ(e.header(ip6("fe80::1", "ff02::fb", 17, Bytes(8))),
            eth({{0x33, 0x33, 0, 0, 0, 0xfb}}, kEdge, 0x86dd));
}

TEST(L3Edge, NobodyTakesItsOwnAddress) {
  Edge e;
  e.give(arp(2, kGuest, "192.0.2.1", "192.0.2.9"));
  e.give(eth(kEdge, kGuest, 0x0800) + ip4("192.0.2.1", "192.0.2.9"));
  e.give(arp(1, sw::Mac{{3, 0, 0, 0, 0, 1}}, "192.0.2.5", "192.0.2.9"));  // a group's
  EXPECT_TRUE(e.header(ip4("198.51.100.1", "192.0.2.1")).empty());
  EXPECT_TRUE(e.header(ip4("198.51.100.1", "192.0.2.5")).empty());
}

TEST(L3Edge, AFloodOfQuestionsIsBounded) {
  Edge e;
  for (int i = 0; i < 1000; ++i) e.give(arp(1, kGuest, "192.0.2.2", "192.0.2.1"));
  EXPECT_EQ(e.edge.own_frames(), 32u);
  e.edge.clear(30);
  EXPECT_EQ(e.edge.own_frames(), 2u);
  e.give(arp(1, kGuest, "192.0.2.2", "192.0.2.1"));
  EXPECT_EQ(e.said().size(), 3u);
}

TEST(L3Edge, GarbageBreaksNothing) {
  std::mt19937 rng(7);
  Edge e({"192.0.2.1/24", "2001:db8::1/64"}, true);
  const Bytes seeds[] = {arp(1, kGuest, "192.0.2.2", "192.0.2.1"),
                         solicitation(kGuest, "2001:db8::2", "2001:db8::1"),
                         eth(kEdge, kGuest, 0x0800) + ip4("192.0.2.2", "192.0.2.1")};
  for (int i = 0; i < 100000; ++i) {
    Bytes b = seeds[rng() % 3];
    for (unsigned k = 0; k < rng() % 4; ++k) b[rng() % b.size()] = static_cast<std::uint8_t>(rng());
    b.resize(rng() % (b.size() + 1));
    e.give(b);
    e.header(Bytes(b.begin() + static_cast<long>(std::min<std::size_t>(14, b.size())), b.end()));
    for (const Bytes& f : e.said()) ASSERT_TRUE(f.size() == 42 || f.size() == 86);
  }
}

}  // namespace
}  // namespace rp::test
