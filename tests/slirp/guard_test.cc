// SPDX-License-Identifier: BSD-3-Clause
// guard_test.cc - the check in front of libslirp, layers 2 to 4.
#include "slirp/guard.h"

#include "tests/slirp/guard_fixture.h"

namespace rp::test {
namespace {

using sw::kProtoIcmp, sw::kProtoIcmp6, sw::kProtoTcp, sw::kProtoUdp;

using U8s = std::initializer_list<std::uint8_t>;
using U16s = std::initializer_list<std::uint16_t>;

Data ping(std::size_t payload = 8) {
  return icmp(8, Data(4 + payload));
}

TEST_F(GuardTest, NamesAndCounters) {
  judge(Data(13));
  judge(Data(13));
  judge(ether(guest_mac(1), 0x8100, Data(46)));
  std::map<std::string, std::uint64_t> seen;
  guard.report([&](std::string_view name, std::uint64_t n) { seen[std::string(name)] = n; });
  EXPECT_EQ(seen.size(), static_cast<std::size_t>(Refusal::count) - 1);
  EXPECT_EQ(seen["refused.runt"], 2u);
  EXPECT_EQ(seen["refused.ethertype"], 1u);
  for (std::size_t i = 1; i < static_cast<std::size_t>(Refusal::count); ++i)
    EXPECT_EQ(seen.count("refused." + std::string(refusal_name(static_cast<Refusal>(i)))), 1u);
}

TEST_F(GuardTest, T_NAT_7_ArpAndNcsi) {
  const Data good = arp(guest_mac(1), 1, kGuest, kGateway);
  EXPECT_EQ(judge(good), Refusal::none);
  EXPECT_EQ(judge(ether(guest_mac(1), 0x88f8, Data(60))), Refusal::ethertype);
  for (std::size_t len = 0; len < good.size(); ++len)
    EXPECT_EQ(judge(Data(good.begin(), good.begin() + static_cast<long>(len))), Refusal::runt);
  for (std::size_t at : {14u, 15u, 16u, 17u, 18u, 19u, 20u, 22u, 27u}) {
    Data bad = good;
    bad[at] ^= 4;
    EXPECT_EQ(judge(bad), Refusal::arp) << at;
  }
  EXPECT_EQ(judge(arp(guest_mac(1), 1, 0, kGuest)), Refusal::none);
  EXPECT_EQ(judge(arp(guest_mac(1), 2, 0, kGuest)), Refusal::arp);
  EXPECT_EQ(judge(arp(guest_mac(1), 2, kGateway, kGuest)), Refusal::spoofed_source);
  EXPECT_EQ(judge(arp(guest_mac(1), 1, kFar, kGuest)), Refusal::spoofed_source);
  EXPECT_EQ(judge(arp(guest_mac(2), 2, kGuest, kGateway), 2), Refusal::spoofed_source);
}

TEST_F(GuardTest, SourceMac) {
  for (sw::Mac mac : {sw::Mac{}, sw::kBroadcast, kGatewayMac, sw::Mac{{1, 0, 0x5e, 0, 0, 1}},
                      sw::Mac{{0x52, 0x56, 0, 0, 0, 2}}})
    EXPECT_EQ(judge(arp(mac, 1, kGuest, kGateway)), Refusal::source_mac);
  EXPECT_EQ(judge(arp(guest_mac(1), 1, kGuest, kGateway), 1), Refusal::none);
  EXPECT_EQ(judge(arp(guest_mac(1), 1, kOther, kGateway), 2), Refusal::source_mac);
  guard.forget(1);
  EXPECT_EQ(judge(arp(guest_mac(1), 1, kOther, kGateway), 2), Refusal::none);
}

TEST_F(GuardTest, T_NAT_15_Ipv4Header) {
  const Data good = ipv4(guest_mac(1), {kGuest, kFar}, kProtoUdp, udp(1000, 2000, Data(30)));
  EXPECT_EQ(judge(good), Refusal::none);
  const auto with = [&](std::size_t at, std::uint8_t value) {
    Data bad = good;
    bad[at] = value;
    seal_ipv4(bad);
    return judge(bad);
  };
  for (std::uint8_t ihl = 0; ihl < 5; ++ihl) EXPECT_EQ(with(14, 0x40 | ihl), Refusal::ip_header);
  EXPECT_EQ(with(14, 0x46), Refusal::ip_options);
  EXPECT_EQ(with(14, 0x4f), Refusal::ip_header);  // 60 > the total of 58
  for (std::uint8_t version : U8s{0, 5, 6, 15})
    EXPECT_EQ(with(14, static_cast<std::uint8_t>(version << 4 | 5)), Refusal::ip_header);
  EXPECT_EQ(with(17, 19), Refusal::ip_header);
  EXPECT_EQ(with(17, 59), Refusal::ip_header);
  EXPECT_EQ(with(16, 0xff), Refusal::ip_header);
  EXPECT_EQ(with(17, 20), Refusal::udp_header);
  EXPECT_EQ(with(23, 2), Refusal::protocol);
  Data bad = good;
  bad[24] ^= 1;
  EXPECT_EQ(judge(bad), Refusal::checksum);
}

TEST_F(GuardTest, T_NAT_2_PaddingAfterIpIsCutOff) {
  Data padded = ipv4(guest_mac(1), {kGuest, kFar, 1}, kProtoUdp, udp(1000, 2000, Data(1)));
  const std::size_t real = padded.size();
  padded.resize(60, 0xee);
  EXPECT_EQ(judge(padded), Refusal::none);
  EXPECT_EQ(out.size(), real);
  Data longer = ipv4(guest_mac(1), {kGuest, kFar, 1}, kProtoUdp, udp(1000, 2000, Data(500)));
  longer.resize(100);  // ip_len > frame: what an error would quote is not there
  EXPECT_EQ(judge(longer), Refusal::ip_header);
}

TEST_F(GuardTest, T_NAT_2_ErrorsQuoteNoForeignBytes) {
  const auto error = [&](std::size_t quoted_total, std::size_t quoted) {
    Data inner = ipv4(guest_mac(1), {kGuest, kFar}, kProtoUdp, udp(1, 2, Data(quoted_total - 28)));
    inner.erase(inner.begin(), inner.begin() + 14);
    inner.resize(quoted, 0xaa);
    Data rest(4);
    append(rest, inner);
    return ipv4(kGatewayMac, {kGateway, kGuest}, kProtoIcmp, icmp(3, rest, 1), guest_mac(1));
  };
  EXPECT_TRUE(from_nat(error(100, 100)));
  EXPECT_TRUE(from_nat(error(1000, 548)));
  EXPECT_FALSE(from_nat(error(100, 101)));
  EXPECT_FALSE(from_nat(error(100, 19)));
}

TEST_F(GuardTest, T_NAT_17_ForbiddenTargets) {
  for (std::uint32_t dst :
       {ip4(127, 0, 0, 1), ip4(127, 255, 0, 1), ip4(0, 0, 0, 0), ip4(0, 1, 2, 3),
        ip4(169, 254, 169, 254), ip4(240, 0, 0, 1), ip4(255, 255, 255, 254)})
    EXPECT_EQ(judge4(kProtoUdp, udp(1, 2, {}), dst), Refusal::forbidden_target) << dst;
  EXPECT_EQ(judge4(kProtoUdp, udp(1, 2, {}), kAll), Refusal::none);
  EXPECT_EQ(judge4(kProtoUdp, udp(1, 2, {}), ip4(224, 0, 0, 251)), Refusal::none);
  EXPECT_EQ(judge4(kProtoTcp, tcp({}), ip4(224, 0, 0, 251)), Refusal::forbidden_target);
  EXPECT_EQ(judge4(kProtoTcp, tcp({}), kAll), Refusal::forbidden_target);
  EXPECT_EQ(judge4(kProtoIcmp, ping(), ip4(10, 0, 2, 255)), Refusal::forbidden_target);
  EXPECT_EQ(judge4(kProtoTcp, tcp({}), kGateway), Refusal::none);
  for (const char* dst : {"::", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "fd00:ec2::254",
                          "fd20:ce::254", "fe80::9", "64:ff9b::169.254.169.254", "2002:7f00:1::1"})
    EXPECT_EQ(judge6(kProtoUdp, udp(1, 2, {}), dst), Refusal::forbidden_target) << dst;
  for (const char* dst : {"fe80::2", "fe80::3", "fec0::2", "2001:db8::1", "64:ff9b::192.0.2.1"})
    EXPECT_EQ(judge6(kProtoUdp, udp(1, 2, {}), dst), Refusal::none) << dst;
  EXPECT_FALSE(from_nat(ipv4(kGatewayMac, {ip4(127, 0, 0, 1), kGuest}, kProtoUdp, udp(1, 2, {}))));
}

TEST(GuardConfigTest, T_NAT_17_LinkLocalTargetsOnRequest) {
  GuardConfig c = default_config();
  c.link_local_targets = true;
  Guard guard(c);
  Data a = ipv4(guest_mac(1), {kGuest, ip4(169, 254, 1, 1)}, kProtoUdp, udp(1, 2, {}));
  Data b = ipv6(guest_mac(1), ip6("fec0::15"), ip6("fe80::9"), kProtoUdp, udp(1, 2, {}));
  std::span<std::uint8_t> sa(a), sb(b);
  EXPECT_EQ(guard.check(sa, 1, 0s), Refusal::none);
  EXPECT_EQ(guard.check(sb, 1, 0s), Refusal::none);
}

TEST_F(GuardTest, T_NAT_18_ForgedSources) {
  ASSERT_EQ(judge4(kProtoTcp, tcp({.flags = sw::kTcpSyn})), Refusal::none);
  ASSERT_EQ(judge6(kProtoTcp, tcp({.flags = sw::kTcpSyn})), Refusal::none);
  const Data reset = tcp({.flags = sw::kTcpRst});
  EXPECT_EQ(judge(ipv4(guest_mac(2), {kGuest, kFar}, kProtoTcp, reset), 2),
            Refusal::spoofed_source);
  EXPECT_EQ(judge(ipv4(guest_mac(1), {kGuest, kFar}, kProtoTcp, reset), 2), Refusal::source_mac);
  EXPECT_EQ(judge(ipv4(guest_mac(2), {kGuest, kFar}, kProtoIcmp, ping()), 2),
            Refusal::spoofed_source);
  EXPECT_EQ(judge(ipv6(guest_mac(2), ip6("fec0::15"), ip6("fec0::2"), kProtoTcp, reset), 2),
            Refusal::spoofed_source);
  for (std::uint32_t src : {ip4(10, 0, 2, 0), ip4(10, 0, 2, 255), kGateway, kDns, kFar,
                            ip4(127, 0, 0, 1), ip4(0, 0, 0, 0), kAll})
    EXPECT_EQ(judge(ipv4(guest_mac(2), {src, kFar}, kProtoUdp, udp(68, 67, {})), 2),
              Refusal::spoofed_source);
  for (const char* src :
       {"fec0::2", "fec0::3", "fe80::2", "fe80::3", "ff02::1", "2001:db8::1", "::", "::1"})
    EXPECT_EQ(judge(ipv6(guest_mac(2), ip6(src), ip6("fec0::2"), kProtoUdp, udp(1, 2, {})), 2),
              Refusal::spoofed_source)
        << src;
}

TEST_F(GuardTest, T_NAT_1_UrgentPointerIsCleared) {
  for (std::uint16_t urgent : U16s{0, 4, 5, 1400, 65535}) {
    for (std::uint8_t flag : {std::uint8_t{0}, std::uint8_t{sw::kTcpUrg}}) {
      const auto flags = static_cast<std::uint8_t>(sw::kTcpAck | flag);
      const Data l4 = tcp({.flags = flags, .urgent = urgent}, text("four"));
      EXPECT_EQ(judge4(kProtoTcp, l4), Refusal::none);
      EXPECT_EQ(out, ipv4(guest_mac(1), {kGuest, kFar}, kProtoTcp, tcp({}, text("four"))));
      EXPECT_EQ(judge6(kProtoTcp, l4), Refusal::none);
      EXPECT_EQ(out, ipv6(guest_mac(1), ip6("fec0::15"), ip6("fec0::2"), kProtoTcp,
                          tcp({}, text("four")), 255));
    }
  }
}

TEST_F(GuardTest, ARepeatedSynAckStatesNoSegmentSize) {
  constexpr std::uint8_t kSynAck = sw::kTcpSyn | sw::kTcpAck;
  const Tcp first{.from = 22,
                  .to = 6000,
                  .ack = 64002,
                  .flags = kSynAck,
                  .options = {1, 2, 4, 5, 0xb4, 3, 3, 7}};
  const Tcp syn{.from = first.to, .to = first.from, .seq = first.ack - 1, .flags = sw::kTcpSyn};
  Tcp stripped = first, unasked = first, no_syn = first;
  stripped.options = {1, 1, 1, 1, 1, 3, 3, 7};
  unasked.ack += 1;
  no_syn.flags = sw::kTcpAck;
  const auto becomes4 = [&](const Tcp& sent, const Tcp& wanted) {
    EXPECT_EQ(judge4(kProtoTcp, tcp(sent)), Refusal::none);
    EXPECT_EQ(out, ipv4(guest_mac(1), {kGuest, kFar}, kProtoTcp, tcp(wanted)));
  };
  const auto becomes6 = [&](const Tcp& sent, const Tcp& wanted) {
    EXPECT_EQ(judge6(kProtoTcp, tcp(sent)), Refusal::none);
    EXPECT_EQ(out,
              ipv6(guest_mac(1), ip6("fec0::15"), ip6("fec0::2"), kProtoTcp, tcp(wanted), 255));
  };
  becomes4(first, first);
  becomes4(first, first);
  ASSERT_TRUE(from_nat(ipv4(kGatewayMac, {kFar, kGuest}, kProtoTcp, tcp(syn))));
  Data wrong = ipv4(guest_mac(1), {kGuest, kFar}, kProtoTcp, tcp(first));
  wrong.back() ^= 1;
  EXPECT_EQ(judge(wrong), Refusal::none) << "libslirp's to refuse";
  becomes4(first, first);
  ASSERT_TRUE(from_nat(ipv4(kGatewayMac, {kFar, kGuest}, kProtoTcp, tcp(syn))));
  for (int round = 0; round < 3; ++round) {
    becomes4(first, stripped);
    becomes4(no_syn, no_syn);
    becomes4(unasked, unasked);
  }
  becomes6(first, first);
  ASSERT_TRUE(from_nat(ipv6(kGatewayMac, ip6("fec0::2"), ip6("fec0::15"), kProtoTcp, tcp(syn))));
  becomes6(first, first);
  becomes6(first, stripped);
}

TEST_F(GuardTest, SegmentsToAGuestAreAsLongAsItsSynSays) {
  const Tcp syn{3000, 80, 1, 0, sw::kTcpSyn, 0, {1, 2, 4, 0x22, 0x00, 0, 2, 4}};
  const Tcp data{80, 3000, 1, 2};
  const auto cut4 = [&](std::size_t len) {
    const Data frame = ipv4(kGatewayMac, {kFar, kGuest}, kProtoTcp, tcp(data, Data(len)));
    return guard.from_nat(frame, now).mss;
  };
  const auto cut6 = [&](std::size_t len) {
    const Data l4 = tcp(data, Data(len));
    const Data frame = ipv6(kGatewayMac, ip6("fec0::2"), ip6("fec0::15"), kProtoTcp, l4);
    return guard.from_nat(frame, now).mss;
  };
  EXPECT_EQ(cut4(1460), 0);
  EXPECT_EQ(cut4(1461), 1460) << "Ethernet's, where nothing is known";
  EXPECT_EQ(cut6(1440), 0);
  EXPECT_EQ(cut6(1441), 1440);
  EXPECT_EQ(judge4(kProtoTcp, tcp(syn)), Refusal::none);
  EXPECT_EQ(cut4(0x2200), 0);
  EXPECT_EQ(cut4(0x2201), 0x2200);
  EXPECT_EQ(cut6(1441), 1440) << "another connection";
  EXPECT_EQ(judge6(kProtoTcp, tcp(syn)), Refusal::none);
  EXPECT_EQ(cut6(0x2201), 0x2200);
  EXPECT_EQ(judge4(kProtoTcp, tcp({3000, 80, 1, 0, sw::kTcpSyn})), Refusal::none);
  EXPECT_EQ(cut4(1461), 1460) << "the port was used again, by a stack that says nothing";
}

TEST_F(GuardTest, WhatEndsAGuestsHandshakeTellsWhatLibslirpForgot) {
  GuardConfig c = default_config();
  c.mtu = 9000;
  Guard jumbo(c);
  const auto says = [&](const Tcp& t, std::size_t len = 0) {
    Data frame = ipv4(guest_mac(1), {kGuest, kFar}, kProtoTcp, tcp(t, Data(len)));
    std::span<std::uint8_t> bytes(frame);
    EXPECT_EQ(jumbo.check(bytes, 1, now), Refusal::none);
    return jumbo.untold_mss();
  };
  const auto offers = [&](std::uint32_t seq, std::uint32_t ack, std::uint8_t flags) {
    const Tcp t{80, 3000, seq, ack, flags};
    EXPECT_TRUE(jumbo.from_nat(ipv4(kGatewayMac, {kFar, kGuest}, kProtoTcp, tcp(t)), now).sound);
  };
  const auto syn = [](std::uint8_t high) {
    return Tcp{3000, 80, 99, 0, sw::kTcpSyn, 0, {2, 4, high, 0}};
  };
  constexpr std::uint8_t kSynAck = sw::kTcpSyn | sw::kTcpAck;
  const Tcp end{3000, 80, 100, 501};
  EXPECT_EQ(says(syn(4)), 0);
  EXPECT_EQ(says(end), 0) << "of a handshake that has not begun";
  offers(500, 100, kSynAck);
  EXPECT_EQ(says({3000, 81, 100, 501}), 0) << "another connection";
  EXPECT_EQ(says(end, 10), 0x400);
  EXPECT_EQ(says(end, 10), 0) << "it can't be told twice: by then there is data";
  offers(500, 100, kSynAck);
  EXPECT_EQ(says(end), 0) << "nor when libslirp has repeated itself";
  const Tcp others[] = {
      {3000, 80, 101, 501}, {3000, 80, 100, 500}, {3000, 80, 100, 501, sw::kTcpRst | sw::kTcpAck}};
  for (const Tcp& other : others) {
    EXPECT_EQ(says(syn(4)), 0);
    offers(500, 100, sw::kTcpAck);
    EXPECT_EQ(says(end), 0) << "that was no SYN-ACK";
    offers(500, 100, kSynAck);
    EXPECT_EQ(says(other), 0);
    EXPECT_EQ(says(end), 0) << "libslirp may have taken the other for the end";
  }
  EXPECT_EQ(says(syn(4)), 0);
  offers(500, 100, kSynAck);
  EXPECT_EQ(says(end), 0x400);
  EXPECT_EQ(says(syn(4)), 0);
  offers(500, 100, kSynAck);
  Data wrong = ipv4(guest_mac(1), {kGuest, kFar}, kProtoTcp, tcp(end, Data(10)));
  wrong.back() ^= 1;
  std::span<std::uint8_t> bytes(wrong);
  EXPECT_EQ(jumbo.check(bytes, 1, now), Refusal::none) << "libslirp's to refuse";
  EXPECT_EQ(jumbo.untold_mss(), 0);
  EXPECT_EQ(says(syn(0x23)), 0);
  offers(500, 100, kSynAck);
  EXPECT_EQ(says(end), 0) << "libslirp's own segments are no longer";
  EXPECT_EQ(says({3000, 80, 99, 0, sw::kTcpSyn}), 0);
  offers(500, 100, kSynAck);
  EXPECT_EQ(says(end), 1460) << "who says nothing has Ethernet's";
}

TEST_F(GuardTest, DatagramsToAGuestAreNoLongerThanItIsKnownToTake) {
  const auto cut = [&](std::size_t len, std::uint16_t frag = 0) {
    const Data l4 = udp(53, 3000, Data(len - 28));
    return guard.from_nat(ipv4(kGatewayMac, {kFar, kGuest, 64, 1, frag}, kProtoUdp, l4), now).mtu;
  };
  const auto states = [&](std::uint8_t high, std::uint8_t low) {
    const Tcp syn{3000, 80, 1, 0, sw::kTcpSyn, 0, {2, 4, high, low}};
    EXPECT_EQ(judge4(kProtoTcp, tcp(syn)), Refusal::none);
  };
  EXPECT_EQ(cut(1500), 0);
  EXPECT_EQ(cut(1501), 1500);
  EXPECT_EQ(cut(4000, kMore), 1500) << "a fragment of libslirp's own";
  EXPECT_EQ(cut(4000, 100), 1500);
  states(0x22, 0);
  EXPECT_EQ(cut(0x2228), 0);
  EXPECT_EQ(cut(0x2229), 0x2228);
  states(0xff, 0xff);
  EXPECT_EQ(cut(65000), 0);
  states(0x02, 0x18);
  EXPECT_EQ(cut(1400), 0);
  EXPECT_EQ(cut(1501), 1500);
}

TEST_F(GuardTest, T_NAT_15_TcpHeader) {
  for (std::size_t len = 0; len < 20; ++len)
    EXPECT_EQ(judge4(kProtoTcp, Data(len, 0x50)), Refusal::tcp_header);
  for (unsigned offset = 0; offset < 16; ++offset) {
    Data l4 = tcp({}, Data(20, 1));
    l4[12] = static_cast<std::uint8_t>(offset << 4);
    EXPECT_EQ(judge4(kProtoTcp, l4),
              offset >= 5 && offset <= 10 ? Refusal::none : Refusal::tcp_header);
  }
  const auto options = [&](const Data& o) { return judge4(kProtoTcp, tcp({.options = o})); };
  EXPECT_EQ(options({2, 4, 5, 0xb4}), Refusal::none);
  EXPECT_EQ(options({2, 4, 0, 0}), Refusal::tcp_header);
  EXPECT_EQ(options({2, 3, 5, 0}), Refusal::tcp_header);
  EXPECT_EQ(options({8, 0, 1, 1}), Refusal::tcp_header);
  EXPECT_EQ(options({8, 1, 1, 1}), Refusal::tcp_header);
  EXPECT_EQ(options({1, 1, 1, 8}), Refusal::tcp_header);
  EXPECT_EQ(options({1, 8, 10, 1}), Refusal::tcp_header);
  EXPECT_EQ(options({0, 8, 0, 0}), Refusal::none);
  EXPECT_EQ(options({3, 3, 7, 1}), Refusal::none);
}

TEST_F(GuardTest, T_NAT_6_UdpLengths) {
  for (std::uint16_t port :
       {std::uint16_t{67}, std::uint16_t{69}, std::uint16_t{547}, std::uint16_t{53}}) {
    for (std::size_t len = 0; len < 8; ++len) {
      EXPECT_EQ(judge4(kProtoUdp, Data(len), kGateway), Refusal::udp_header);
      EXPECT_EQ(judge6(kProtoUdp, Data(len)), Refusal::udp_header);
    }
    for (std::uint16_t claimed : U16s{0, 7, 8, 9, 11, 13, 65535}) {
      Data l4 = udp(1000, port, Data(4));
      put16(l4, 4, claimed);
      EXPECT_EQ(judge4(kProtoUdp, l4, kGateway), Refusal::udp_header);
      EXPECT_EQ(judge6(kProtoUdp, l4), Refusal::udp_header);
    }
  }
  EXPECT_EQ(judge4(kProtoUdp, udp(1000, 53, {}), kGateway), Refusal::none);
  EXPECT_EQ(judge4(kProtoUdp, udp(1000, 67, Data(1)), kGateway), Refusal::dhcp);
  EXPECT_EQ(judge4(kProtoUdp, udp(1000, 69, Data(1)), kGateway), Refusal::tftp);
  EXPECT_EQ(judge6(kProtoUdp, udp(1000, 547, Data(1)), "ff02::1:2"), Refusal::dhcp);
}

TEST_F(GuardTest, IcmpOnlyAsks) {
  for (unsigned type = 0; type < 256; ++type)
    EXPECT_EQ(judge4(kProtoIcmp, icmp(static_cast<std::uint8_t>(type), Data(12))),
              type == 8 ? Refusal::none : Refusal::icmp);
  EXPECT_EQ(judge4(kProtoIcmp, icmp(8, Data(3))), Refusal::icmp);
}

TEST_F(GuardTest, T_NAT_9_Fragments) {
  const Data whole = udp(1000, 2000, Data(1592));
  const auto piece = [&](std::size_t from, std::size_t to, bool more, std::uint16_t id) {
    const auto frag = static_cast<std::uint16_t>((more ? kMore : 0) | (from / 8));
    return ipv4(
        guest_mac(1), {kGuest, kFar, 64, id, frag}, kProtoUdp,
        Data(whole.begin() + static_cast<long>(from), whole.begin() + static_cast<long>(to)));
  };
  EXPECT_EQ(judge(piece(0, 800, true, 1)), Refusal::none);
  EXPECT_TRUE(guard.fragments_pending(now));
  EXPECT_EQ(judge(piece(800, 1600, false, 1)), Refusal::none);
  EXPECT_FALSE(guard.fragments_pending(now));
  EXPECT_EQ(judge(piece(0, 800, true, 2)), Refusal::none);
  EXPECT_EQ(judge(piece(792, 1600, false, 2)), Refusal::fragment);
  EXPECT_EQ(judge(piece(800, 1600, false, 2)), Refusal::fragment);
  EXPECT_EQ(judge(piece(0, 4, true, 3)), Refusal::fragment);  // header cut
  const auto first = [&](const Ip4& ip, std::uint8_t proto, const Data& l4) {
    return judge(ipv4(guest_mac(1), ip, proto, l4));
  };
  EXPECT_EQ(first({kGuest, kFar, 64, 4, kMore}, kProtoTcp, tcp({}, Data(20))), Refusal::fragment);
  EXPECT_EQ(first({kGuest, kFar, 0, 5, kMore}, kProtoUdp, udp(1, 2, Data(8))), Refusal::fragment);
  EXPECT_EQ(first({kGuest, kFar, 64, 6, 0x8000}, kProtoUdp, udp(1, 2, Data(8))), Refusal::fragment);
  EXPECT_EQ(first({kGuest, kGateway, 64, 7, kMore}, kProtoUdp, udp(1, 69, Data(8))),
            Refusal::fragment);
  EXPECT_EQ(first({0, kAll, 64, 8, kMore}, kProtoUdp, udp(68, 67, Data(248))),
            Refusal::spoofed_source);
  Data huge = udp(1, 2, Data(8));
  put16(huge, 4, 65516);
  EXPECT_EQ(first({kGuest, kFar, 64, 9, kMore}, kProtoUdp, huge), Refusal::udp_header);
  EXPECT_EQ(first({kGuest, kFar, 64, 10, kMore}, kProtoIcmp, icmp(5, Data(12))), Refusal::icmp);
  Data options = piece(0, 800, true, 11);
  options[14] = 0x46;
  seal_ipv4(options);
  EXPECT_EQ(judge(options), Refusal::ip_options);
}

TEST_F(GuardTest, T_NAT_8_Ipv6PayloadLength) {
  const Data good =
      ipv6(guest_mac(1), ip6("fec0::15"), ip6("fec0::2"), kProtoIcmp6, icmp(128, Data(12)));
  EXPECT_EQ(judge(good), Refusal::none);
  for (std::uint16_t len : U16s{17, 100, 65535}) {
    Data bad = good;
    put16(bad, 18, len);
    EXPECT_EQ(judge(bad), Refusal::ip_header);
  }
  Data padded = good;
  padded.resize(80);
  EXPECT_EQ(judge(padded), Refusal::none);
  EXPECT_EQ(out, good);
  EXPECT_EQ(judge6(kProtoIcmp6, icmp(128, Data(3))), Refusal::icmp);
  EXPECT_EQ(judge6(kProtoIcmp6, icmp(128, Data(12)), "2001:db8::1"), Refusal::icmp);
  EXPECT_EQ(judge6(kProtoIcmp6, icmp(129, Data(12))), Refusal::icmp);
}

TEST_F(GuardTest, T_NAT_15_ExtensionHeaders) {
  for (std::uint8_t next : U8s{0, 43, 44, 50, 51, 59, 60, 135, 139, 140})
    EXPECT_EQ(judge6(next, Data(8000)), Refusal::ip6_extension);
  EXPECT_EQ(judge6(132, Data(40)), Refusal::protocol);
  Data bad = ipv6(guest_mac(1), ip6("fec0::15"), ip6("fec0::2"), kProtoUdp, udp(1, 2, {}));
  bad[14] = 0x50;
  EXPECT_EQ(judge(bad), Refusal::ip_header);
}

TEST_F(GuardTest, T_NAT_14_Ndp) {
  const Data source = link_layer_option(1, guest_mac(1)),
             target = link_layer_option(2, guest_mac(1));
  const sw::Ip6Addr gw = ip6("fec0::2"), own = ip6("fec0::15");
  const char* node = "ff02::1:ff00:2";
  EXPECT_EQ(judge6(58, neighbor(135, gw, source), node), Refusal::none);
  EXPECT_EQ(judge6(58, neighbor(135, gw, source), node, "fec0::15", 64), Refusal::ndp);
  EXPECT_EQ(judge6(58, neighbor(135, ip6("ff02::1"), source), node), Refusal::ndp);
  EXPECT_EQ(judge6(58, neighbor(135, gw, link_layer_option(1, guest_mac(2))), node), Refusal::ndp);
  for (Data bad :
       {Data{1, 0, 0, 0, 0, 0, 0, 0}, Data{1, 2, 0, 0, 0, 0, 0, 0}, Data{1}, Data{14, 255}})
    EXPECT_EQ(judge6(58, neighbor(135, gw, bad), node), Refusal::ndp);
  EXPECT_EQ(judge6(58, neighbor(135, own), "ff02::1:ff00:15", "::"), Refusal::none);
  EXPECT_EQ(judge6(58, neighbor(135, own, source), "ff02::1:ff00:15", "::"), Refusal::ndp);
  EXPECT_EQ(judge6(58, neighbor(135, own), "ff02::1", "::"), Refusal::ndp);
  EXPECT_EQ(judge6(58, neighbor(136, own, target), "ff02::1", "::"), Refusal::spoofed_source);
  EXPECT_EQ(judge6(58, neighbor(136, own, target, 0x20), "ff02::1"), Refusal::none);
  EXPECT_EQ(judge6(58, neighbor(136, own, target, 0x60), "ff02::1"), Refusal::ndp);
  EXPECT_EQ(judge6(58, neighbor(136, gw, target, 0x20), "ff02::1"), Refusal::spoofed_source);
  EXPECT_EQ(judge6(58, icmp(133, Data(4)), "ff02::2", "::"), Refusal::none);
  EXPECT_EQ(judge6(58,
                   icmp(133,
                        [&] {
                          Data d(4);
                          append(d, source);
                          return d;
                        }()),
                   "ff02::2", "::"),
            Refusal::ndp);
  for (std::uint8_t type : U8s{134, 137})
    for (const char* src : {"fec0::15", "fe80::15"})
      EXPECT_EQ(judge6(58, icmp(type, Data(36)), "ff02::1", src), Refusal::ndp);
  EXPECT_EQ(judge6(58, icmp(134, Data(12)), "ff02::1", "::"), Refusal::spoofed_source);
  Data bad = ipv6(guest_mac(1), own, ip6(node), 58, neighbor(135, gw, source), 255);
  bad[56] ^= 1;
  EXPECT_EQ(judge(bad), Refusal::ndp);
}

TEST_F(GuardTest, AtMostSixteenAddressesAPort) {
  for (unsigned i = 0; i < 40; ++i)
    EXPECT_EQ(judge(ipv6(guest_mac(1), ip6(("fec0::1:" + std::to_string(i)).c_str()),
                         ip6("fec0::2"), kProtoUdp, udp(1, 2, {}))),
              i < 16 ? Refusal::none : Refusal::spoofed_source);
}

TEST_F(GuardTest, FromNatLengths) {
  const Data good = ipv4(kGatewayMac, {kFar, kGuest}, kProtoUdp, udp(53, 1000, Data(100)));
  EXPECT_TRUE(from_nat(good));
  for (std::size_t len = 0; len < good.size(); ++len)
    EXPECT_FALSE(from_nat(Data(good.begin(), good.begin() + static_cast<long>(len)))) << len;
  Data longer = good;
  longer.push_back(0);
  EXPECT_FALSE(from_nat(longer));
  Data small = ipv4(kGatewayMac, {kFar, kGuest}, kProtoUdp, udp(53, 1000, {}));
  small.resize(60);
  EXPECT_TRUE(from_nat(small));
  EXPECT_FALSE(from_nat(ether(kGatewayMac, 0x88f8, Data(60))));
  EXPECT_TRUE(from_nat(ipv6(kGatewayMac, ip6("fec0::2"), ip6("fec0::15"), 17, udp(1, 2, Data(9)))));
  EXPECT_FALSE(from_nat(ipv4(kGatewayMac, {kFar, kGuest}, kProtoIcmp, icmp(0, Data(3)))));
}

}  // namespace
}  // namespace rp::test
