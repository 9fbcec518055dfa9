// SPDX-License-Identifier: BSD-3-Clause
// flows_test.cc - who owns which socket, and what the quota lets in.
#include "slirp/flows.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/slirp/host.h"

namespace rp::slirp {
namespace {

using test::Data;
using test::ip4;

constexpr std::uint32_t kGuest = ip4(10, 0, 2, 15), kFar = ip4(192, 0, 2, 1);

Data syn(std::uint16_t from, std::uint16_t to = 80, std::uint8_t flags = sw::kTcpSyn) {
  return test::ipv4(test::guest_mac(1), {kGuest, kFar}, sw::kProtoTcp,
                    test::tcp({.from = from, .to = to, .flags = flags}));
}
Data datagram(std::uint16_t from, std::uint16_t to = 9) {
  return test::ipv4(test::guest_mac(1), {kGuest, kFar}, sw::kProtoUdp, test::udp(from, to, {}));
}

class FlowsTest : public ::testing::Test {
 protected:
  /// A frame goes in and libslirp opens a socket for it. -1: refused.
  int open(const Data& frame, sw::PortId guest = 1, int type = SOCK_STREAM) {
    int fd = -1;
    if (flows.enter(frame, guest, 1s)) {
      sockets.emplace_back(socket(AF_INET, type | SOCK_CLOEXEC, 0));
      flows.opened(fd = sockets.back().get());
    }
    flows.leave();
    return fd;
  }
  bool enters(const Data& frame, sw::PortId guest = 1) {
    const bool in = flows.enter(frame, guest, 1s);
    flows.leave();
    return in;
  }
  std::uint64_t counter(const std::string& name) {
    std::map<std::string, std::uint64_t> all;
    flows.report([&](std::string_view n, std::uint64_t v) { all[std::string(n)] = v; });
    return all.at(name);
  }

  std::vector<Fd> sockets;
  Flows flows{3};
};

TEST_F(FlowsTest, CountsSocketsAndStreams) {
  const int tcp = open(syn(1000)), udp = open(datagram(1000), 1, SOCK_DGRAM);
  EXPECT_EQ(flows.count(), 2u);
  EXPECT_TRUE(flows.ticking());
  EXPECT_TRUE(flows.known(tcp) && flows.known(udp));
  flows.closed(tcp);
  flows.closed(tcp);
  flows.closed(-1);
  flows.closed(99'999);
  EXPECT_EQ(flows.count(), 1u);
  EXPECT_FALSE(flows.ticking());
  EXPECT_FALSE(flows.known(tcp) || flows.known(-1) || flows.known(99'999));
  EXPECT_EQ(counter("flows.open"), 1u);
}

TEST_F(FlowsTest, QuotaIsPerGuest) {
  for (std::uint16_t p = 1; p <= 3; ++p) ASSERT_GE(open(syn(p)), 0);
  EXPECT_FALSE(enters(syn(4)));
  EXPECT_EQ(counter("flows.refused.max-flows"), 1u);
  EXPECT_TRUE(enters(syn(4), 2));
  flows.closed(sockets[0].get());
  EXPECT_TRUE(enters(syn(4)));
}

TEST_F(FlowsTest, AtTheQuotaWhatOpensNothingGoesIn) {
  for (std::uint16_t p = 1; p <= 2; ++p) open(syn(p));
  open(datagram(7), 1, SOCK_DGRAM);
  EXPECT_TRUE(enters(syn(9, 80, sw::kTcpAck)));
  EXPECT_TRUE(enters(syn(9, 80, sw::kTcpSyn | sw::kTcpAck)));
  EXPECT_TRUE(enters(syn(1)));  // sent again
  EXPECT_TRUE(enters(datagram(7)));
  EXPECT_TRUE(enters(datagram(7, 10)));
  EXPECT_TRUE(enters(datagram(68, 67)));
  EXPECT_TRUE(enters(datagram(9, 69)));
  EXPECT_TRUE(enters(test::arp(test::guest_mac(1), 1, kGuest, kFar)));
  EXPECT_TRUE(enters(test::ipv6(test::guest_mac(1), test::ip6("fec0::15"), test::ip6("fec0::2"),
                                sw::kProtoIcmp6, test::neighbor(135, test::ip6("fec0::2")))));
  EXPECT_EQ(counter("flows.refused.max-flows"), 0u);
  EXPECT_FALSE(enters(syn(1, 81)));
  EXPECT_FALSE(enters(datagram(8)));
  EXPECT_FALSE(enters(datagram(8, 547)));  // DHCPv6's, but this is IPv4
  EXPECT_FALSE(enters(test::ipv4(test::guest_mac(1), {kGuest, kFar, 64, 1, test::kMore},
                                 sw::kProtoUdp, test::udp(7, 9, {}))));
  EXPECT_FALSE(enters(
      test::ipv4(test::guest_mac(1), {kGuest, kFar}, sw::kProtoIcmp, test::icmp(8, Data(4)))));
  EXPECT_EQ(counter("flows.refused.max-flows"), 5u);
}

TEST_F(FlowsTest, SocketsOfTheHostBelongToNobody) {
  flows.leave();
  for (int i = 0; i < 5; ++i) {
    sockets.emplace_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    flows.opened(sockets.back().get());
  }
  EXPECT_EQ(flows.count(), 5u);
  EXPECT_TRUE(enters(syn(1)));
}

TEST_F(FlowsTest, ANumberOpenedAgainIsANewFlow) {
  const int fd = open(syn(1));
  flows.opened(fd);  // libslirp closed it without a word
  EXPECT_EQ(flows.count(), 1u);
}

TEST_F(FlowsTest, ForgottenGuestsStartAnew) {
  for (std::uint16_t p = 1; p <= 3; ++p) open(syn(p));
  flows.forget(1);
  EXPECT_TRUE(enters(syn(4)));
  for (const Fd& s : sockets) flows.closed(s.get());
  EXPECT_EQ(flows.count(), 0u);
  EXPECT_EQ(counter("flows.open"), 0u);
}

TEST_F(FlowsTest, OneGuestsDatagramIsNotAnothersFlow) {
  open(datagram(7), 1, SOCK_DGRAM);
  for (std::uint16_t p = 1; p <= 3; ++p) open(syn(p), 2);
  EXPECT_FALSE(enters(datagram(7), 2));
}

TEST_F(FlowsTest, ShortFramesOpenNothing) {
  const Data whole = syn(1);
  for (std::size_t n = 0; n < whole.size(); ++n)
    EXPECT_TRUE(enters(Data(whole.begin(), whole.begin() + static_cast<long>(n))));
}

}  // namespace
}  // namespace rp::slirp
