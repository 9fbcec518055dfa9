// SPDX-License-Identifier: BSD-3-Clause
// nat_lengths_test.cc - guests get no longer packets than they take, whatever libslirp's MTU is.
#include <gtest/gtest.h>

#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

/// The host sends it all, and the guest gets it all.
void send_to_guest(World& w, Stream& host, TcpConn& c, const Data& sent) {
  host.out = sent;
  w.until([&] {
    host.step();
    return c.received.size() >= sent.size();
  });
  EXPECT_EQ(c.received, sent);
}

/// What a guest whose SYN states `mss` is sent of 300 kB that the host has for it.
struct Download {
  std::size_t longest = 0;  ///< frame, bytes
  std::size_t to_be_cut = 0;
};

Download download(World& w, const char* host_ip, const sw::Ip6Addr& gateway, std::size_t mss) {
  Guest& g = w.add_guest();
  g.mss = mss;
  const Fd listener = tcp_listener(host_ip);
  TcpConn& c = g.connect(gateway, local_of(listener.get()).port());
  Stream host = accept_in(w, listener);
  EXPECT_TRUE(host);
  Download d;
  g.watch = [&](const Data& f) { d.longest = std::max(d.longest, f.size()); };
  send_to_guest(w, host, c, pattern(300'000));
  EXPECT_EQ(g.broken, 0u);
  EXPECT_EQ(w.counter("nat.inconsistent"), 0u);
  EXPECT_EQ(w.counter("nat.queue-overflow"), 0u);
  d.to_be_cut = w.to_be_cut;
  g.watch = nullptr;
  return d;
}

Download download4(Options options, std::size_t mss) {
  World w(options);
  return download(w, "127.0.0.1", mapped(kGateway), mss);
}

/// The longest packet of those in which a guest gets a datagram of `size` bytes.
std::size_t longest_of_datagram(World& w, Guest& g, std::size_t size) {
  std::size_t longest = 0, came = 0;
  const Fd host = udp_socket();
  const Address at = local_of(host.get());
  g.send_udp(kGateway, 7000, at.port(), {1});
  Address from;
  w.until([&] {
    std::uint8_t byte;
    return recvfrom(host.get(), &byte, 1, MSG_DONTWAIT, from.raw(), &from.len) == 1;
  });
  const Data sent = pattern(size);
  Data whole(size + 8);
  g.watch = [&](const Data& f) {
    if (get16(f, 12) != sw::kEtherIpv4 || f[23] != sw::kProtoUdp) return;
    longest = std::max(longest, f.size() - 14);
    const std::size_t offset = (get16(f, 20) & 0x1fffu) * 8, len = get16(f, 16) - 20u;
    if (offset + len > whole.size()) return;
    std::copy_n(f.begin() + 34, len, whole.begin() + static_cast<long>(offset));
    came += len;
  };
  EXPECT_EQ(sendto(host.get(), sent.data(), size, 0, from.raw(), from.len),
            static_cast<ssize_t>(size));
  w.until([&] { return came >= whole.size(); });
  w.settle();
  g.watch = nullptr;
  EXPECT_EQ(Data(whole.begin() + 8, whole.end()), sent);
  EXPECT_EQ(came, whole.size());
  return longest;
}

TEST(NatLengths, SegmentsAreThoseOfTheGuestsSyn) {
  // libslirp allows for IPv6's header in either case.
  EXPECT_EQ(download4({{"mtu", "9000"}}, 8960).longest, 9014u - 20);
  for (const char* mtu : {"9000", "65521"}) {
    const Download d = download4({{"mtu", mtu}}, 1460);
    EXPECT_EQ(d.longest, 1514u) << mtu;
    EXPECT_EQ(d.to_be_cut, 0u) << "libslirp is to know: windows and retransmissions are its own";
  }
  EXPECT_EQ(download4({{"mtu", "9000"}}, 4000).longest, 4054u);
}

TEST(NatLengths, AGuestBehindASmallMtuIsNotOverrun) {
  EXPECT_EQ(download4({}, 1200).longest, 1254u);
  EXPECT_EQ(download4({{"mtu", "9000"}}, 1).longest, 48u + 54u) << "but not cut into dust";
}

TEST(NatLengths, WhatFitsIsLeftAlone) {
  EXPECT_EQ(download4({}, 1460).to_be_cut, 0u);
  EXPECT_EQ(download4({{"mtu", "9000"}}, 8960).to_be_cut, 0u);
}

TEST(NatLengths, LibslirpIsToldByWhateverEndsTheHandshake) {
  for (const bool alone : {true, false}) {
    World w({{"mtu", "9000"}});
    Guest& g = w.add_guest();
    const Fd listener = tcp_listener();
    TcpConn& c = g.connect(kGateway, local_of(listener.get()).port());
    c.acks_alone = alone;
    c.write({1, 2, 3});
    Stream host = accept_in(w, listener);
    ASSERT_TRUE(host);
    send_to_guest(w, host, c, pattern(300'000));
    EXPECT_EQ(host.in, (Data{1, 2, 3}));
    EXPECT_EQ(w.to_be_cut, 0u) << alone;
  }
}

TEST(NatLengths, SegmentsAreCutWhereLibslirpCouldNotBeTold) {
  World w({{"mtu", "9000"}});
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener();
  const std::uint16_t to = local_of(listener.get()).port();
  g.mss = 8960;
  TcpConn& c = g.connect(kGateway, to);
  Stream host = accept_in(w, listener);
  ASSERT_TRUE(host);
  w.settle();
  // An old SYN that says nothing: libslirp takes no notice.
  const Tcp bare{c.local(), to, c.seq() - 1000, 0, sw::kTcpSyn};
  w.inject(g.port, ipv4(g.mac, {g.ip, kGateway}, sw::kProtoTcp, tcp(bare)));
  std::size_t longest = 0;
  g.watch = [&](const Data& f) { longest = std::max(longest, f.size()); };
  send_to_guest(w, host, c, pattern(300'000));
  EXPECT_GT(w.to_be_cut, 3u);
  EXPECT_EQ(longest, 1514u);
  g.watch = nullptr;
}

TEST(NatLengths, ACardThatCarriesLessThanItsStackSaysGetsEthernetsPackets) {
  World w({{"mtu", "9000"}});
  Guest& g = w.add_guest();
  g.mss = 8960;
  g.most = 1514;
  const Fd listener = tcp_listener();
  const std::uint16_t to = local_of(listener.get()).port();
  for (int round = 0; round < 2; ++round) {
    TcpConn& c = g.connect(kGateway, to);
    Stream host = accept_in(w, listener);
    ASSERT_TRUE(host);
    const Instant begun = w.now;
    send_to_guest(w, host, c, pattern(300'000));
    EXPECT_TRUE(round == 0 || w.now - begun < 500ms) << "it is known by now";
  }
  EXPECT_EQ(longest_of_datagram(w, g, 8000), 1500u);
}

/// A guest that has been offered a connection and holds its answer back, while the host has already
/// sent what there is.
struct HeldBack {
  explicit HeldBack(std::size_t mss) : w({{"mtu", "9000"}}), c(connect(mss)) {
    w.until([&] { return c.established; });
    host = accept_in(w, listener);
    EXPECT_TRUE(host);
    host.out = sent;
    host.step();
  }
  TcpConn& connect(std::size_t mss) {
    g.mss = mss;
    TcpConn& made = g.connect(kGateway, local_of(listener.get()).port());
    made.hold = true;
    return made;
  }
  /// From now on the guest acknowledges; libslirp may have to send again.
  void expect_all(std::string_view when) {
    c.hold = false;
    for (int i = 0; i < 60 && c.received.size() < sent.size(); ++i) {
      w.pass(1s);
      host.step();
    }
    EXPECT_EQ(c.received, sent) << when;
  }

  World w;
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener();
  TcpConn& c;
  Stream host;
  const Data sent = pattern(60'000);
};

TEST(NatLengths, LibslirpIsToldNothingOnceItHasDataForTheGuest) {
  for (const std::size_t mss : {8960u, 1460u}) {
    HeldBack h(mss);
    // The first of two segments is lost, so that the second ends the handshake.
    h.c.segment_at(h.c.seq() + 3, sw::kTcpAck | sw::kTcpPsh, {4, 5, 6});
    h.w.settle();
    h.host.step();
    h.w.settle();
    h.c.segment(sw::kTcpAck | sw::kTcpPsh, {1, 2, 3});
    h.c.count_as_sent({1, 2, 3, 4, 5, 6});
    h.w.turn();
    h.expect_all(std::to_string(mss));
    EXPECT_EQ(h.host.in, (Data{1, 2, 3, 4, 5, 6}));
  }
}

TEST(NatLengths, LibslirpIsToldNothingAfterItHasRepeatedItsSynAck) {
  for (const int ticks : {0, 11, 12, 13}) {
    HeldBack h(1460);
    for (int i = 0; i < ticks; ++i) h.w.pass(500ms);
    h.w.advance(500ms);
    for (int i = 0; i < 2; ++i) {
      h.c.send_ack();
      h.w.turn();
    }
    h.expect_all(std::to_string(ticks));
  }
}

TEST(NatLengths, AndOverIpv6) {
  if (!have_ipv6_loopback()) GTEST_SKIP() << "this host has no ::1";
  for (const std::size_t mss : {1460u, 8960u}) {
    World w({{"mtu", "9000"}});
    EXPECT_EQ(download(w, "::1", ip6("fec0::2"), mss).longest, mss + 54);
  }
}

TEST(NatLengths, OfConnectionsFromTheHost) {
  for (const std::size_t mss : {1000u, 1460u, 8960u}) {
    const std::uint16_t port = free_port();
    World w({{"mtu", "9000"}, {"hostfwd", "tcp::" + std::to_string(port) + "-:80"}});
    Guest& g = w.add_guest();
    g.listening = {80};
    g.mss = mss;
    std::size_t longest = 0;
    g.watch = [&](const Data& f) { longest = std::max(longest, f.size()); };
    Stream host = stream_to(address("127.0.0.1", port));
    const Data sent = pattern(100'000);
    host.out = sent;
    EXPECT_TRUE(w.until([&] {
      host.step();
      return !g.accepted.empty() && g.accepted[0]->received.size() >= sent.size();
    })) << mss;
    EXPECT_EQ(longest, mss + 54);
    g.watch = nullptr;
  }
}

TEST(NatLengths, DatagramsComeInEthernetsFragmentsUntilTheGuestSaysMore) {
  World w({{"mtu", "9000"}});
  Guest& g = w.add_guest();
  EXPECT_EQ(longest_of_datagram(w, g, 20'000), 1500u);
  EXPECT_EQ(longest_of_datagram(w, g, 1472), 1500u);
  EXPECT_EQ(longest_of_datagram(w, g, 1473), 1500u);
  const Fd listener = tcp_listener();
  g.mss = 8960;
  g.connect(kGateway, local_of(listener.get()).port());
  ASSERT_TRUE(accept_in(w, listener));
  EXPECT_EQ(longest_of_datagram(w, g, 8000), 8028u);
  EXPECT_GT(longest_of_datagram(w, g, 20'000), 8000u);
  g.mss = 536;
  g.connect(kGateway, local_of(listener.get()).port());
  ASSERT_TRUE(accept_in(w, listener));
  EXPECT_EQ(longest_of_datagram(w, g, 1400), 1428u) << "many small stacks put nothing together";
  EXPECT_EQ(longest_of_datagram(w, g, 3000), 1500u);
}

}  // namespace
}  // namespace rp::test
