// SPDX-License-Identifier: BSD-3-Clause
// nat_namespace_test.cc - rows T-NAT that need privileged ports or pings: in a network of their
// own.
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/syscall.h>

#include "tests/slirp/child.h"
#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

/// Takes CAP_NET_RAW from this process.
void drop_raw_sockets() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  syscall(SYS_capget, &header, data);
  data[0].effective &= ~(1u << CAP_NET_RAW);
  data[0].permitted &= ~(1u << CAP_NET_RAW);
  syscall(SYS_capset, &header, data);
}

bool contains(const Data& frame, std::uint32_t ip) {
  Data bytes;
  append(bytes, Be32(ip));
  return std::search(frame.begin(), frame.end(), bytes.begin(), bytes.end()) != frame.end();
}

/// An ICMP message that the guest did not ask for, with its identifier.
void send_stray(std::uint8_t type, std::uint16_t id) {
  const Fd fd(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP));
  Data rest;
  append(rest, Be16(id));
  append(rest, Be16(1));
  append(rest, text("stray"));
  Data message = icmp(type, rest);
  seal(message, sw::kProtoIcmp, {});
  Address to = address("192.0.2.1", 0);
  EXPECT_EQ(sendto(fd.get(), message.data(), message.size(), 0, to.raw(), to.len),
            static_cast<ssize_t>(message.size()));
}

void ping_and_stray(bool strays) {
  World w;
  Guest& g = w.add_guest();
  bool leaked = false;
  g.watch = [&](const Data& f) { leaked |= contains(f, ip4(127, 0, 0, 1)); };
  g.ping(kFar, 4711, 1, text("echo me"));
  w.turn();
  if (strays) {
    for (const int type : {3, 5, 8, 11, 13}) send_stray(static_cast<std::uint8_t>(type), 4711);
    send_stray(0, 4712);
  }
  ASSERT_TRUE(w.until([&] { return !g.messages.empty(); }));
  w.settle();
  ASSERT_EQ(g.messages.size(), 1u);
  const auto& m = g.messages[0];
  EXPECT_EQ(m.from, mapped(kFar));
  EXPECT_EQ(m.bytes[0], 0);
  EXPECT_EQ(get16(m.bytes, 4), 4711);
  EXPECT_EQ(Data(m.bytes.begin() + 8, m.bytes.end()), text("echo me"));
  EXPECT_FALSE(leaked);
  EXPECT_EQ(g.broken, 0u);
}

// A new network allows nobody ping sockets.
TEST(NatNamespace, T_NAT_3_PingThroughARawSocket) {
  in_own_network([] { ping_and_stray(true); });
}

TEST(NatNamespace, T_NAT_3_PingThroughAPingSocket) {
  in_own_network([] {
    ASSERT_TRUE(write_text("/proc/sys/net/ipv4/ping_group_range", "0 0"));
    ping_and_stray(true);
  });
}

// Without either kind libslirp knocks at the UDP echo port, where nobody listens.
TEST(NatNamespace, T_NAT_3_NoSocketMeansUnreachable) {
  in_own_network([] {
    drop_raw_sockets();
    World w;
    Guest& g = w.add_guest();
    bool leaked = false;
    g.watch = [&](const Data& f) { leaked |= contains(f, ip4(127, 0, 0, 1)); };
    g.ping(kFar, 4711, 1, text("echo me"));
    w.settle();
    for (const auto& m : g.messages) EXPECT_EQ(m.bytes[0], 3);
    EXPECT_FALSE(leaked);
    EXPECT_EQ(w.counter("nat.inconsistent"), 0u);
  });
}

/// Many sizes both ways over one connection to `port` on the host.
void expect_transparent(std::uint16_t port) {
  World w;
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener("127.0.0.1", port);
  TcpConn& c = g.connect(kGateway, port);
  Stream host = accept_in(w, listener);
  ASSERT_TRUE(host) << port;
  Data sent;
  for (const char* line : {"PORT 10,0,2,15,156,64\r\n", "227 Entering (10,0,2,15,156,64)\r\n",
                           "40000 , 23\r\n", "40001\0", "DCC SEND f 167772687 5000\r\n"})
    append(sent, text(line));
  for (const std::size_t size : {1u, 2u, 511u, 1460u, 1461u, 9000u}) append(sent, pattern(size));
  for (std::size_t at = 0, n = 1; at < sent.size(); at += n, n = n * 2 + 1) {
    n = std::min(n, sent.size() - at);
    c.write(Data(sent.begin() + static_cast<long>(at), sent.begin() + static_cast<long>(at + n)));
    w.turn();
  }
  append(host.out, sent);
  EXPECT_TRUE(w.until([&] {
    host.step();
    return host.in.size() >= sent.size() && c.received.size() >= sent.size();
  })) << port;
  EXPECT_TRUE(host.in == sent) << port;
  EXPECT_TRUE(c.received == sent) << port;
}

TEST(NatNamespace, T_NAT_10_NoPortIsTamperedWith) {
  in_own_network([] {
    for (const int port : {21, 113, 513, 514, 544, 6667, 6668, 7070})
      expect_transparent(static_cast<std::uint16_t>(port));
  });
}

TEST(NatNamespace, T_NAT_10_ForwardsToThosePortsNeither) {
  in_own_network([] {
    for (const char* port : {"21", "113", "544", "6667"}) {
      World w({{"hostfwd", std::string("tcp::") + port + "-:" + port}});
      Guest& g = w.add_guest();
      const auto number = static_cast<std::uint16_t>(std::stoul(port));
      g.listening = {number};
      Stream s = stream_to(address("127.0.0.1", number));
      ASSERT_TRUE(w.until([&] { return !g.accepted.empty() && g.accepted[0]->established; }));
      const Data sent = text("PORT 10,0,2,15,156,64\r\n");
      g.accepted[0]->write(sent);
      s.out = sent;
      EXPECT_TRUE(w.until([&] {
        s.step();
        return s.in.size() >= sent.size() && g.accepted[0]->received.size() >= sent.size();
      }));
      EXPECT_EQ(s.in, sent);
      EXPECT_EQ(g.accepted[0]->received, sent);
    }
  });
}

// Port 23 makes libslirp mark the session LOWDELAY, which has a queue of its own there.
TEST(NatNamespace, T_NAT_4_LowDelayBurstsToASlowReader) {
  in_own_network([] {
    World w;
    Guest& g = w.add_guest();
    const Fd fast_listener = tcp_listener("127.0.0.1", 23), bulk_listener = tcp_listener();
    TcpConn& fast = g.connect(kGateway, 23);
    TcpConn& bulk = g.connect(kGateway, local_of(bulk_listener.get()).port());
    Stream fast_host = accept_in(w, fast_listener), bulk_host = accept_in(w, bulk_listener);
    ASSERT_TRUE(fast_host && bulk_host);
    const Data fast_sent = pattern(4 << 20, 1), bulk_sent = pattern(4 << 20, 2);
    fast_host.out = fast_sent;
    bulk_host.out = bulk_sent;
    for (int i = 0; i < 400; ++i) {  // reads only now and then
      fast.hold = bulk.hold = i % 4 != 0;
      for (TcpConn* c : {&fast, &bulk}) {
        if (!c->hold) c->send_ack();
      }
      fast_host.step();
      bulk_host.step();
      w.turn();
    }
    fast.hold = bulk.hold = false;
    EXPECT_TRUE(w.until(
        [&] {
          fast_host.step();
          bulk_host.step();
          // What was not read is sent again by the slow timer.
          w.advance(50ms);
          return fast.received.size() >= fast_sent.size() &&
                 bulk.received.size() >= bulk_sent.size();
        },
        20000));
    EXPECT_TRUE(fast.received == fast_sent);
    EXPECT_TRUE(bulk.received == bulk_sent);
    EXPECT_EQ(w.counter("nat.inconsistent"), 0u);
  });
}

TEST(NatNamespace, T_NAT_4_AHundredThousandPingsAtOnce) {
  in_own_network([] {
    World w;
    Guest& g = w.add_guest();
    Data rest;
    append(rest, Be32(1));
    append(rest, pattern(64));
    const Data echo = ipv4(g.mac, {g.ip, kGateway}, sw::kProtoIcmp, icmp(8, rest));
    for (int i = 0; i < 100'000; ++i) w.inject(g.port, echo);  // and no reader
    w.settle();
    EXPECT_EQ(g.messages.size() + w.counter("nat.queue-overflow"), 100'000u);
    EXPECT_EQ(g.broken, 0u);
    g.messages.clear();
    w.inject(g.port, echo);
    EXPECT_TRUE(w.until([&] { return !g.messages.empty(); }));
  });
}

}  // namespace
}  // namespace rp::test
