// SPDX-License-Identifier: BSD-3-Clause
// nat_test.cc - whole conversations of guests with the host through the NAT.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "slirp/nat.h"
#include "switch/offload.h"
#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

TEST(ConfigVersion, FollowsTheLibraryFound) {
  using slirp::config_version;
  EXPECT_EQ(config_version("4.0.0"), 1u);
  EXPECT_EQ(config_version("4.1.9"), 1u);
  EXPECT_EQ(config_version("4.2.0"), 2u);
  EXPECT_EQ(config_version("4.3.1-dirty"), 3u);
  EXPECT_EQ(config_version("4.6.1"), 3u);
  EXPECT_EQ(config_version("4.7.0"), 4u);
  EXPECT_EQ(config_version("4.9.2"), std::min(4u, unsigned{SLIRP_CONFIG_VERSION_MAX}));
  EXPECT_LE(config_version("5.0.0"), unsigned{SLIRP_CONFIG_VERSION_MAX});
  EXPECT_EQ(config_version(""), unsigned{SLIRP_CONFIG_VERSION_MIN});
  EXPECT_EQ(config_version("nonsense"), unsigned{SLIRP_CONFIG_VERSION_MIN});
}

TEST(Nat, GivesTheLeaseThatQemuGives) {
  World w;
  Guest& g = w.add_guest();
  EXPECT_EQ(g.ip, ip4(10, 0, 2, 15));
  EXPECT_EQ(g.broken, 0u);
  EXPECT_EQ(w.counter("nat.inconsistent"), 0u);
}

TEST(Nat, GivesTwoGuestsDifferentLeases) {
  World w;
  Guest &a = w.add_guest(), &b = w.add_guest();
  EXPECT_EQ(a.ip, ip4(10, 0, 2, 15));
  EXPECT_EQ(b.ip, ip4(10, 0, 2, 16));
}

TEST(Nat, GivesTheFirstAddressItWasTold) {
  World w({{"net", "192.168.7.0/24"}, {"dhcpstart", "192.168.7.40"}});
  Guest& g = w.add_silent_guest();
  g.ask_lease();
  ASSERT_TRUE(w.until([&] { return g.ip != 0; }));
  EXPECT_EQ(g.ip, ip4(192, 168, 7, 40));
}

TEST(Nat, AnswersArpForTheGateway) {
  World w;
  Guest& g = w.add_guest();
  bool answered = false;
  g.watch = [&](const Data& f) {
    const auto a = read_at<sw::ArpHeader>(f, 14);
    answered |= get16(f, 12) == sw::kEtherArp && a && a->op.get() == 2 && a->spa.get() == kGateway;
  };
  g.send(arp(g.mac, 1, g.ip, kGateway));
  EXPECT_TRUE(w.until([&] { return answered; }));
}

TEST(Nat, GatewayAnswersPings) {
  World w;
  Guest& g = w.add_guest();
  g.ping(kGateway, 7, 3, text("hello"));
  ASSERT_TRUE(w.until([&] { return !g.messages.empty(); }));
  const auto& m = g.messages[0];
  EXPECT_EQ(m.from, mapped(kGateway));
  EXPECT_EQ(m.bytes[0], 0);
  EXPECT_EQ(Data(m.bytes.begin() + 8, m.bytes.end()), text("hello"));
}

void echo_a_mebibyte(World& w, TcpConn& c, Stream& host) {
  const Data sent = pattern(1 << 20);
  c.write(sent);
  ASSERT_TRUE(w.until([&] {
    host.echo();
    return c.received.size() >= sent.size();
  }));
  EXPECT_TRUE(c.received == sent);
  EXPECT_TRUE(c.drained());
  EXPECT_FALSE(c.reset);
}

/// A guest's connection to a listener on the host.
class NatTcp : public testing::Test {
 protected:
  explicit NatTcp(Options options = {}, std::size_t mss = 1460)
      : w(options), c(connect(mss)), host(accept_in(w, listener)) {}
  void SetUp() override { ASSERT_TRUE(host); }

  World w;
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener();
  TcpConn& c;
  Stream host;

 private:
  TcpConn& connect(std::size_t mss) {
    g.mss = mss;
    return g.connect(kGateway, local_of(listener.get()).port());
  }
};

class NatLongFrames : public NatTcp {
 protected:
  NatLongFrames() : NatTcp({{"mtu", "65521"}}, 40'000) {}
};

TEST_F(NatTcp, EchoesAMebibyteOverTcp) {
  echo_a_mebibyte(w, c, host);
  c.close();
  EXPECT_TRUE(w.until([&] {
    host.step();
    return host.eof;
  }));
  host.close();
  EXPECT_TRUE(w.until([&] { return c.peer_closed; }));
  w.pass(10s);
  EXPECT_EQ(g.broken, 0u);
  EXPECT_EQ(w.counter("nat.queue-overflow"), 0u);
}

TEST(Nat, EchoesAMebibyteOverTcp6) {
  if (!have_ipv6_loopback()) GTEST_SKIP() << "this host has no ::1";
  World w;
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener("::1");
  TcpConn& c = g.connect(ip6("fec0::2"), local_of(listener.get()).port());
  Stream host = accept_in(w, listener);
  ASSERT_TRUE(host);
  echo_a_mebibyte(w, c, host);
  EXPECT_EQ(g.broken, 0u);
}

TEST_F(NatLongFrames, LongFramesComeWithoutACopyInTheirOrder) {
  echo_a_mebibyte(w, c, host);
  EXPECT_EQ(g.broken, 0u);
  EXPECT_GT(w.handed_over, 10u);
}

TEST_F(NatLongFrames, WhatAcknowledgementsReleaseComesWithoutACopy) {
  const Data sent = pattern(1 << 20);
  host.out = sent;
  ASSERT_TRUE(w.until([&] {
    host.step();
    return c.received.size() >= sent.size();
  }));
  EXPECT_TRUE(c.received == sent);
  EXPECT_GE(w.handed_over, sent.size() / 40'000);
  EXPECT_EQ(w.long_lent, 0u);
}

constexpr sw::Offload kLeft{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
                            .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
                            .hdr_len = 54,
                            .gso_size = 1460,
                            .csum_start = 34,
                            .csum_offset = 16};

TEST_F(NatTcp, TakesWhatIsLeftToSegment) {
  const Data sent = pattern(40'000);
  c.segment(sw::kTcpAck | sw::kTcpPsh, sent);
  Data frame = g.outbox.back();
  g.outbox.clear();
  EXPECT_TRUE(sw::Segmenter::passes(kLeft, w.port.offloads()));
  sw::Offload nonsense = kLeft;
  nonsense.csum_start = 20;
  w.inject(g.port, frame, nonsense);
  EXPECT_EQ(w.counter("nat.bad-offload"), 1u);
  frame[50] = frame[51] = 0;
  w.inject(g.port, frame, kLeft);
  ASSERT_TRUE(w.until([&] {
    host.step();
    return host.in.size() >= sent.size();
  }));
  EXPECT_TRUE(host.in == sent);
}

class NatSegment : public NatTcp {
 protected:
  /// Sends a segment that is left to do. What lies in its memory afterwards.
  Data lend(bool own) {
    const Data sent = pattern(40'000);
    c.segment(sw::kTcpAck | sw::kTcpPsh, sent);
    frame = g.outbox.back();
    frame[50] = frame[51] = 0;
    Data lies = frame;
    auto burst = std::make_unique<sw::Burst>();
    EXPECT_TRUE(own ? burst->add_own(lies) : burst->add(lies));
    sw::Frame& f = (*burst)[0];
    f.offload = kLeft;
    f.ingress = g.port;
    const sw::Frame* one = &f;
    const SignalsBlocked no_signals;
    w.port.send({&one, 1}, w.now);
    EXPECT_TRUE(w.until([&] {
      host.step();
      return host.in.size() >= sent.size();
    }));
    EXPECT_TRUE(host.in == sent);
    return lies;
  }
  Data frame;
};

TEST_F(NatSegment, MemoryOfGuestsIsLeftAlone) {
  EXPECT_TRUE(lend(false) == frame);
}

TEST_F(NatSegment, OfMemoryOfPortsOnlyTheHeadIsWritten) {
  const Data lies = lend(true);
  EXPECT_FALSE(lies == frame) << "it was copied";
  const auto body = static_cast<std::ptrdiff_t>(sw::Frame::kHead);
  EXPECT_TRUE(std::equal(lies.begin() + body, lies.end(), frame.begin() + body, frame.end()));
}

TEST(Nat, AcknowledgementsGetInHoweverManyComeAtOnce) {
  World w;
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener();
  std::vector<TcpConn*> conns;
  std::vector<Stream> hosts;
  for (std::size_t i = 0; i < 3 * sw::Burst::kFrames; ++i) {
    conns.push_back(&g.connect(kGateway, local_of(listener.get()).port()));
    hosts.push_back(accept_in(w, listener));
    ASSERT_TRUE(hosts.back());
  }
  const Data sent = pattern(1000);
  for (Stream& h : hosts) {
    h.out = sent;
    h.step();
  }
  ASSERT_TRUE(w.until([&] {
    return std::all_of(conns.begin(), conns.end(),
                       [&](const TcpConn* c) { return c->received == sent; });
  }));
  w.settle();
  const std::size_t before = g.frames;
  w.pass(3s);
  EXPECT_EQ(g.frames, before) << "something was sent again";
}

TEST_F(NatTcp, AnAcknowledgementKeepsItsPlaceAndThePortAwake) {
  w.settle();
  EXPECT_TRUE(w.port.arm(w.now));
  c.send_ack();
  w.inject(g.port, g.outbox.front());
  EXPECT_FALSE(w.port.arm(w.now)) << "it waits";
  w.port.forget(sw::PortId{99});
  w.turn();
  w.settle();
  EXPECT_TRUE(w.port.arm(w.now));
  c.send_ack();
  c.write(pattern(10));
  c.close();
  ASSERT_TRUE(w.until([&] {
    host.step();
    return host.eof;
  }));
  EXPECT_TRUE(host.in == pattern(10));
}

TEST(Nat, AGuestThatIsAnsweredWithoutEndLetsOthersBeServed) {
  World w;
  Guest& noisy = w.add_guest();
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener();
  TcpConn& c = g.connect(kGateway, local_of(listener.get()).port());
  Stream host = accept_in(w, listener);
  ASSERT_TRUE(host);
  host.out = pattern(100'000);
  for (int turn = 0; turn < 1000 && c.received.size() < host.out.size(); ++turn) {
    for (std::size_t i = 0; i < sw::Burst::kFrames; ++i) noisy.ping(kGateway, 7, 3, text("hello"));
    noisy.messages.clear();
    host.step();
    w.exchange();
  }
  EXPECT_TRUE(c.received == host.out);
}

TEST(Nat, VouchesForTcpChecksumsAndNoOthers) {
  World w;
  Guest& g = w.add_guest();
  g.ping(kGateway, 7, 3, text("hello"));
  ASSERT_TRUE(w.until([&] { return !g.messages.empty(); }));
  EXPECT_EQ(w.vouched, 0u) << "DHCP, ARP, ND and ICMP";
  const Fd listener = tcp_listener();
  const std::size_t before = g.frames;
  g.connect(kGateway, local_of(listener.get()).port());
  ASSERT_TRUE(accept_in(w, listener));
  EXPECT_EQ(w.vouched, g.frames - before);
  EXPECT_GT(w.vouched, 0u);
}

TEST(Nat, TellsTheGuestThatAConnectionIsRefused) {
  World w;
  Guest& g = w.add_guest();
  TcpConn& c = g.connect(kGateway, free_port());
  EXPECT_TRUE(w.until([&] { return c.reset; }));
  EXPECT_FALSE(c.established);
}

TEST_F(NatTcp, PassesOnTheHostsClose) {
  host.out = text("last words");
  host.step();
  host.close();
  ASSERT_TRUE(w.until([&] { return c.peer_closed; }));
  EXPECT_EQ(c.received, text("last words"));
}

TEST_F(NatTcp, PassesOnTheHostsReset) {
  w.settle();
  host.reset();
  EXPECT_TRUE(w.until([&] { return c.reset || c.peer_closed; }));
}

TEST_F(NatTcp, PassesOnTheGuestsReset) {
  w.settle();
  c.abort();
  EXPECT_TRUE(w.until([&] {
    host.step();
    return host.eof || host.error != 0;
  }));
  w.settle();
  EXPECT_EQ(w.counter("flows.open"), 0u);
}

// libslirp's clock stands still while nothing moves; a socket must not be born expired.
TEST(Nat, AnswersTheFirstDatagramAfterALongSleep) {
  World w;
  Guest& g = w.add_guest();
  w.settle();
  const Fd host = udp_socket();
  w.advance(1h);
  g.send_udp(kGateway, 5000, local_of(host.get()).port(), pattern(100));
  Data got(2000);
  Address from;
  ASSERT_TRUE(w.until(
      [&] { return recvfrom(host.get(), got.data(), got.size(), 0, from.raw(), &from.len) >= 0; }));
  w.settle();
  sendto(host.get(), got.data(), 100, 0, from.raw(), from.len);
  EXPECT_TRUE(w.until([&] { return !g.datagrams.empty(); }));
}

TEST(Nat, EchoesUdp) {
  World w;
  Guest& g = w.add_guest();
  const Fd host = udp_socket();
  for (const std::size_t size : {0u, 1u, 1000u, 1472u}) {
    const Data sent = pattern(size);
    g.send_udp(kGateway, 5000, local_of(host.get()).port(), sent);
    Data got(2000);
    Address from;
    ssize_t n = -1;
    ASSERT_TRUE(w.until([&] {
      n = recvfrom(host.get(), got.data(), got.size(), 0, from.raw(), &from.len);
      return n >= 0;
    }));
    got.resize(static_cast<std::size_t>(n));
    EXPECT_EQ(got, sent);
    if (size == 0) continue;
    g.datagrams.clear();
    sendto(host.get(), got.data(), got.size(), 0, from.raw(), from.len);
    ASSERT_TRUE(w.until([&] { return !g.datagrams.empty(); }));
    EXPECT_EQ(g.datagrams[0].payload, sent);
    EXPECT_EQ(g.datagrams[0].from, mapped(kGateway));
    EXPECT_EQ(g.datagrams[0].to_port, 5000);
  }
  EXPECT_EQ(w.counter("flows.open"), 1u);
}

TEST(Nat, LeavesFromTheOutboundAddress) {
  World w({{"outbound-addr", "127.0.0.5"}});
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener(), host = udp_socket();
  g.connect(kGateway, local_of(listener.get()).port());
  Address peer;
  ASSERT_TRUE(accept_in(w, listener, &peer));
  EXPECT_EQ(peer.text(), "127.0.0.5");
  g.send_udp(kGateway, 5000, local_of(host.get()).port(), text("x"));
  Address from;
  char byte;
  ASSERT_TRUE(
      w.until([&] { return recvfrom(host.get(), &byte, 1, 0, from.raw(), &from.len) == 1; }));
  EXPECT_EQ(from.text(), "127.0.0.5");
}

TEST(Nat, LoopbackCanBeClosedToGuests) {
  World w({{"disable-host-loopback", "on"}});
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener(), host = udp_socket();
  TcpConn& c = g.connect(kGateway, local_of(listener.get()).port());
  g.send_udp(kGateway, 5000, local_of(host.get()).port(), text("x"));
  w.settle();
  char byte;
  EXPECT_FALSE(accept_on(listener));
  EXPECT_LT(recv(host.get(), &byte, 1, 0), 0);
  EXPECT_FALSE(c.established);
}

TEST(Nat, RestrictRefusesAllButForwards) {
  const auto outside = free_port();
  World w({{"restrict", "on"}, {"hostfwd", "tcp::" + std::to_string(outside) + "-:22"}});
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener(), host = udp_socket();
  TcpConn& c = g.connect(kGateway, local_of(listener.get()).port());
  g.send_udp(kGateway, 5000, local_of(host.get()).port(), text("x"));
  w.settle();
  char byte;
  EXPECT_FALSE(accept_on(listener));
  EXPECT_LT(recv(host.get(), &byte, 1, 0), 0);
  EXPECT_FALSE(c.established);
  g.listening = {22};
  Stream s = stream_to(address("127.0.0.1", outside));
  ASSERT_TRUE(w.until([&] { return !g.accepted.empty() && g.accepted[0]->established; }));
  g.accepted[0]->write(text("still served"));
  EXPECT_TRUE(w.until([&] {
    s.step();
    return s.in == text("still served");
  }));
}

/// A clock that lags a minute behind the real one: a timer due within it makes the descriptor
/// readable at once.
bool wakes_within_a_minute(World& w) {
  w.settle();
  if (!w.port.arm(w.now)) return true;
  pollfd p{w.port.poll_fd(), POLLIN, 0};
  return poll(&p, 1, 0) != 0;
}

TEST(NatIdle, NoTimerAfterDhcp) {
  World w({}, real_now() - 60s);
  w.add_guest();
  EXPECT_FALSE(wakes_within_a_minute(w));
}

TEST(NatIdle, ListenersDoNotTick) {
  World w({{"hostfwd", "tcp::0-:22"}, {"hostfwd", "udp::0-:53"}}, real_now() - 60s);
  EXPECT_FALSE(wakes_within_a_minute(w));
  w.add_guest();
  EXPECT_FALSE(wakes_within_a_minute(w));
}

TEST(NatIdle, OpenConnectionsDoTick) {
  World w({}, real_now() - 60s);
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener();
  g.connect(kGateway, local_of(listener.get()).port());
  ASSERT_TRUE(accept_in(w, listener));
  EXPECT_TRUE(wakes_within_a_minute(w));
}

// A regression: every frame that woke the port used to put off what was due.
TEST(NatIdle, RefusedFramesPutOffNoTimer) {
  World w;
  Guest& g = w.add_guest();
  const Fd host = udp_socket();
  g.send_udp(kGateway, 5000, local_of(host.get()).port(), text("x"));
  w.settle();
  ASSERT_EQ(w.counter("flows.open"), 1u);
  for (int i = 0; i < 300; ++i) {
    w.advance(1s);
    w.inject(g.port, ether(g.mac, 0x88b5, pattern(46)));
    w.turn();
  }
  EXPECT_EQ(w.counter("flows.open"), 0u);
}

TEST(NatIdle, UdpFlowsExpire) {
  World w;
  Guest& g = w.add_guest();
  const Fd host = udp_socket();
  g.send_udp(kGateway, 5000, local_of(host.get()).port(), text("x"));
  w.settle();
  EXPECT_EQ(w.counter("flows.open"), 1u);
  w.pass(300s, 10s);
  EXPECT_EQ(w.counter("flows.open"), 0u);
}

}  // namespace
}  // namespace rp::test
