// SPDX-License-Identifier: BSD-3-Clause
// nat_flood_test.cc - quotas of flows and descriptors, end to end: row T-NAT-16.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "tests/slirp/child.h"
#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

/// A port on loopback that answers no SYN: its backlog is full.
class Blackhole {
 public:
  Blackhole() : listener_(tcp_listener("127.0.0.1", 0, 0)) {
    for (int i = 0; i < 4; ++i) fill_.push_back(stream_to(local_of(listener_.get())));
  }
  std::uint16_t port() const { return local_of(listener_.get()).port(); }

 private:
  Fd listener_;
  std::vector<Stream> fill_;
};

std::size_t free_descriptors(std::size_t most) {
  std::vector<Fd> taken;
  while (taken.size() < most) {
    Fd fd(dup(0));
    if (!fd) break;
    taken.push_back(std::move(fd));
  }
  return taken.size();
}

void flood(World& w, Guest& g, std::uint16_t to, std::size_t syns, std::size_t a_turn) {
  for (std::size_t i = 0; i < syns; ++i) {
    const auto from = static_cast<std::uint16_t>(1024 + i % 60000);
    const Tcp syn{
        .from = from, .to = to, .seq = static_cast<std::uint32_t>(i * 7919), .flags = sw::kTcpSyn};
    w.inject(g.port, ipv4(g.mac, {g.ip, kGateway}, sw::kProtoTcp, tcp(syn)));
    if (i % a_turn == a_turn - 1) w.turn();
  }
}

TEST(NatQuota, OneGuestsQuotaIsNotAnothers) {
  World w({{"max-flows", "4"}});
  Guest &a = w.add_guest(), &b = w.add_guest();
  const Fd listener = tcp_listener();
  const std::uint16_t port = local_of(listener.get()).port();
  std::vector<Stream> open;
  for (int i = 0; i < 4; ++i) {
    a.connect(kGateway, port);
    open.push_back(accept_in(w, listener));
    ASSERT_TRUE(open.back());
  }
  EXPECT_EQ(w.counter("flows.open"), 4u);
  TcpConn& one_too_many = a.connect(kGateway, port);
  w.settle();
  EXPECT_FALSE(one_too_many.established);
  EXPECT_EQ(w.counter("flows.open"), 4u);
  EXPECT_EQ(w.counter("flows.refused.max-flows"), 1u);
  EXPECT_EQ(w.counter("flows.half-open-evicted"), 0u);
  b.connect(kGateway, port);
  EXPECT_TRUE(accept_in(w, listener));
}

TEST(NatQuota, ClosedFlowsGiveTheirPlaceBack) {
  World w({{"max-flows", "1"}});
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener();
  for (int i = 0; i < 5; ++i) {
    TcpConn& c = g.connect(kGateway, local_of(listener.get()).port());
    ASSERT_TRUE(accept_in(w, listener)) << i;
    w.settle();
    c.abort();
    w.settle();
    ASSERT_EQ(w.counter("flows.open"), 0u);
  }
}

TEST(NatQuota, UdpCountsToo) {
  World w({{"max-flows", "3"}});
  Guest& g = w.add_guest();
  const Fd host = udp_socket();
  const std::uint16_t port = local_of(host.get()).port();
  for (std::uint16_t from = 5000; from < 5010; ++from) g.send_udp(kGateway, from, port, text("x"));
  w.settle();
  EXPECT_EQ(w.counter("flows.open"), 3u);
  EXPECT_EQ(w.counter("flows.refused.max-flows"), 7u);
  // A flow that has its socket goes on.
  char byte;
  while (recv(host.get(), &byte, 1, 0) > 0) {
  }
  g.send_udp(kGateway, 5001, port, text("y"));
  EXPECT_TRUE(w.until([&] { return recv(host.get(), &byte, 1, 0) == 1; }));
  EXPECT_EQ(byte, 'y');
}

TEST(NatQuota, HalfOpenConnectionsMakeRoomOldestFirst) {
  const Blackhole nowhere;
  World w({{"max-flows", "4"}});
  Guest& g = w.add_guest();
  std::vector<TcpConn*> waiting;
  for (int i = 0; i < 4; ++i) waiting.push_back(&g.connect(kGateway, nowhere.port()));
  w.settle();
  ASSERT_EQ(w.counter("flows.open"), 4u);
  const Fd listener = tcp_listener();
  g.connect(kGateway, local_of(listener.get()).port());
  EXPECT_TRUE(accept_in(w, listener));
  w.settle();
  EXPECT_EQ(w.counter("flows.half-open-evicted"), 1u);
  EXPECT_EQ(w.counter("flows.open"), 4u);
  EXPECT_TRUE(waiting[0]->reset);
  for (int i = 1; i < 4; ++i) EXPECT_FALSE(waiting[static_cast<std::size_t>(i)]->reset) << i;
}

// Regressions: at the quota a SYN sent again used to cost a connection, neighbour discovery and
// DHCP were refused, and a fragment could open a socket in another flow's name.
TEST(NatQuota, ASynSentAgainEvictsNobody) {
  const Blackhole nowhere;
  World w({{"max-flows", "3"}});
  Guest& g = w.add_guest();
  std::vector<TcpConn*> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(&g.connect(kGateway, nowhere.port()));
  w.settle();
  for (TcpConn* c : waiting) c->connect();
  w.settle();
  EXPECT_EQ(w.counter("flows.half-open-evicted"), 0u);
  for (TcpConn* c : waiting) EXPECT_FALSE(c->reset);
}

TEST(NatQuota, ServicesAnswerAtTheQuota) {
  World w({{"max-flows", "1"}});
  Guest& g = w.add_guest();
  const Fd host = udp_socket();
  g.send_udp(kGateway, 5000, local_of(host.get()).port(), text("x"));
  w.settle();
  ASSERT_EQ(w.counter("flows.open"), 1u);
  g.ip = 0;
  g.ask_lease();
  EXPECT_TRUE(w.until([&] { return g.ip != 0; }));
  bool neighbour = false;
  g.watch = [&](const Data& f) {
    neighbour |= f.size() > 54 && get16(f, 12) == sw::kEtherIpv6 && f[54] == 136;
  };
  g.announce();
  EXPECT_TRUE(w.until([&] { return neighbour; }));
  EXPECT_EQ(w.counter("flows.refused.max-flows"), 0u);
}

TEST(NatQuota, FragmentsOpenNothingAtTheQuota) {
  World w({{"max-flows", "1"}});
  Guest& g = w.add_guest();
  const Fd host = udp_socket();
  const std::uint16_t port = local_of(host.get()).port();
  g.send_udp(kGateway, 5000, port, text("x"));
  for (std::uint16_t n = 1; n <= 5; ++n) {
    Data whole = udp(static_cast<std::uint16_t>(6000 + n), port, udp(5000, port, pattern(100)));
    seal(whole, sw::kProtoUdp, pseudo4(g.ip, kGateway, sw::kProtoUdp, whole.size()));
    const Data first(whole.begin(), whole.begin() + 8), last(whole.begin() + 8, whole.end());
    g.send(ipv4(g.mac, {g.ip, kGateway, 64, n, kMore}, sw::kProtoUdp, first));
    g.send(ipv4(g.mac, {g.ip, kGateway, 64, n, 1}, sw::kProtoUdp, last));
  }
  w.settle();
  EXPECT_EQ(w.counter("flows.open"), 1u);
}

TEST(NatQuota, AGuestThatIsForgottenLeavesNoQuotaBehind) {
  World w({{"max-flows", "1"}});
  Guest& g = w.add_guest();
  const Fd listener = tcp_listener();
  g.connect(kGateway, local_of(listener.get()).port());
  ASSERT_TRUE(accept_in(w, listener));
  w.port.forget(g.port);
  w.pass(30s);
  g.connect(kGateway, local_of(listener.get()).port());
  EXPECT_TRUE(accept_in(w, listener));
}

void flood_with_few_descriptors() {
  constexpr rlim_t kLimit = 256;
  const rlimit limit{kLimit, kLimit};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
  const Blackhole nowhere;
  const Fd listener = tcp_listener();
  const std::uint16_t port = local_of(listener.get()).port();
  World w;
  Guest &hostile = w.add_guest(), &other = w.add_guest();
  flood(w, hostile, nowhere.port(), 100'000, 1000);
  EXPECT_GE(free_descriptors(kLimit), 64u);
  EXPECT_LE(w.counter("flows.open"), kLimit - 64);
  EXPECT_GT(w.counter("flows.half-open-evicted"), 0u);
  w.settle();
  TcpConn& c = other.connect(kGateway, port);
  Stream host = accept_in(w, listener);
  ASSERT_TRUE(host);
  c.write(text("served"));
  EXPECT_TRUE(w.until([&] {
    host.step();
    return host.in == text("served");
  }));
  EXPECT_GE(free_descriptors(kLimit), 60u);  // the test's own socket counts too
}

TEST(NatFlood, T_NAT_16_SynsLeaveDescriptorsForOthers) {
  const int status = in_child(flood_with_few_descriptors);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

void flood_with_many_descriptors() {
  const Blackhole nowhere;
  const Fd listener = tcp_listener();
  World w({{"max-flows", "32"}});
  Guest &hostile = w.add_guest(), &other = w.add_guest();
  flood(w, hostile, nowhere.port(), 100'000, 500);
  w.settle();
  EXPECT_LE(w.counter("flows.open"), 32u);
  other.connect(kGateway, local_of(listener.get()).port());
  EXPECT_TRUE(accept_in(w, listener));
}

TEST(NatFlood, T_NAT_16_TheQuotaHolds) {
  const int status = in_child(flood_with_many_descriptors);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST(NatFlood, T_NAT_16_UdpSweepsLeaveDescriptorsForOthers) {
  const int status = in_child([] {
    constexpr rlim_t kLimit = 256;
    const rlimit limit{kLimit, kLimit};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    const Fd listener = tcp_listener(), sink = udp_socket();
    World w;
    Guest &hostile = w.add_guest(), &other = w.add_guest();
    for (std::uint16_t from = 1024; from < 21024; ++from) {
      hostile.send_udp(kGateway, from, local_of(sink.get()).port(), text("x"));
      w.turn();
    }
    EXPECT_GE(free_descriptors(kLimit), 64u);
    other.connect(kGateway, local_of(listener.get()).port());
    EXPECT_TRUE(accept_in(w, listener));
  });
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

}  // namespace
}  // namespace rp::test
