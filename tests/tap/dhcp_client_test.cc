// SPDX-License-Identifier: BSD-3-Clause
// dhcp_client_test.cc - getting, keeping and losing an address; answers that are none.
#include "tap/dhcp_client.h"

#include <random>

#include "switch/checksum.h"
#include "tests/tap/dhcp_server.h"

namespace rp::test {
namespace {

const sw::Mac kMac{{0x02, 0, 0, 0, 0, 0x11}};

struct Exchange {
  tap::DhcpClient client{kMac, 0x12345678};
  DhcpServer server;
  Instant now{1h};

  bool give(const Bytes& bytes) {
    sw::Frame f;
    sw::Part part;
    sw::make_frame(f, part, bytes);
    return client.input(f, now);
  }
  /// What the client says next, at the time it wants to.
  Bytes next() {
    now = std::max(now, client.next());
    const auto f = client.due(now);
    return Bytes(f.begin(), f.end());
  }
  bool turn() { return give(server.answer(next())); }
  bool bind() {
    turn();
    return turn();
  }
};

TEST(DhcpClient, GetsALease) {
  Exchange e;
  EXPECT_FALSE(e.client.lease());
  EXPECT_FALSE(e.turn());
  EXPECT_TRUE(e.turn());
  EXPECT_EQ(e.server.asked, (std::vector<std::uint8_t>{1, 3}));
  const tap::Lease* l = e.client.lease();
  ASSERT_TRUE(l);
  EXPECT_EQ(tap::text_of(l->address), "10.0.5.77/24");
  EXPECT_EQ(tap::text_of(*l->gateway), "10.0.5.1");
  ASSERT_EQ(l->dns.size(), 2u);
  EXPECT_EQ(tap::text_of(l->dns[1]), "10.0.5.4");
  EXPECT_EQ(l->domain, "example.org");
  EXPECT_EQ(l->time, 600s);
}

TEST(DhcpClient, ItsFramesAreWhole) {
  Exchange e;
  for (int i = 0; i < 2; ++i) {
    const Bytes f = e.next();
    ASSERT_EQ(f.size(), 14u + 20 + 8 + 300);
    EXPECT_EQ(sw::checksum_finish(sw::checksum_add(0, std::span(f).subspan(14, 20))), 0);
    sw::Ipv4Header ip;
    std::memcpy(&ip, f.data() + 14, sizeof ip);
    EXPECT_EQ(ip.total_len.get(), f.size() - 14);
    EXPECT_EQ(sw::checksum_finish(
                  sw::checksum_add(sw::pseudo_sum(ip, 17, 308), std::span(f).subspan(34))),
              0);
    e.give(e.server.answer(f));
  }
}

TEST(DhcpClient, AsksAgainWithAGrowingPause) {
  Exchange e;
  Instant last = 0s;
  for (int i = 0; i < 20; ++i) {
    ASSERT_FALSE(e.next().empty());
    const Instant pause = e.client.next() - e.now;
    EXPECT_GE(pause, last);
    EXPECT_LE(pause, 16s);
    EXPECT_TRUE(e.client.due(e.now).empty());
    last = pause;
  }
  EXPECT_EQ(last, 16s);
  EXPECT_TRUE(e.bind());
}

TEST(DhcpClient, StartsOverWhenAnOfferComesToNothing) {
  Exchange e;
  e.turn();
  for (int i = 0; i < 5; ++i) e.server.answer(e.next());
  EXPECT_EQ(e.server.asked.back(), 1);
  e.server.refuse = true;
  Exchange refused;
  refused.server.refuse = true;
  EXPECT_FALSE(refused.bind());
  refused.server.refuse = false;
  EXPECT_TRUE(refused.bind());
}

TEST(DhcpClient, RenewsAtHalfTimeAndKeepsWhatItHas) {
  Exchange e;
  ASSERT_TRUE(e.bind());
  EXPECT_FALSE(e.client.waits());
  const Instant bound = e.now;
  EXPECT_EQ(e.client.next() - bound, 300s);
  EXPECT_FALSE(e.turn());  // the same lease
  EXPECT_EQ(e.server.asked.back(), 3);
  EXPECT_EQ(e.now - bound, 300s);
  EXPECT_EQ(e.client.next() - e.now, 300s);
  e.server.address = {10, 0, 5, 78};
  EXPECT_TRUE(e.turn());
  EXPECT_EQ(tap::text_of(e.client.lease()->address), "10.0.5.78/24");
}

TEST(DhcpClient, StartsOverWhenTheLeaseHasRunOut) {
  Exchange e;
  ASSERT_TRUE(e.bind());
  const Instant bound = e.now;
  while (e.now - bound < 600s) e.server.answer(e.next());
  EXPECT_EQ(e.server.asked.back(), 1);
  EXPECT_FALSE(e.bind());  // the same address again is no other lease
  EXPECT_FALSE(e.client.waits());
}

TEST(DhcpClient, WhatIsNoAnswer) {
  for (const std::size_t at :
       {std::size_t{13}, std::size_t{23}, std::size_t{35}, std::size_t{37}, DhcpServer::kBoot,
        DhcpServer::kBoot + 4, DhcpServer::kBoot + 30, DhcpServer::kBoot + 236}) {
    Exchange e;
    e.turn();
    Bytes ack = e.server.answer(e.next());
    ack[at] = static_cast<std::uint8_t>(ack[at] ^ 1);
    EXPECT_FALSE(e.give(ack)) << at;
    EXPECT_FALSE(e.client.lease()) << at;
  }
}

TEST(DhcpClient, CutAndGarbledAnswersBreakNothing) {
  std::mt19937 rng(1);
  for (int i = 0; i < 20000; ++i) {
    Exchange e;
    if (i % 2) e.turn();
    Bytes b = e.server.answer(e.next());
    if (i % 3 == 0) b.resize(rng() % (b.size() + 1));
    for (unsigned k = 0; k < rng() % 8 && !b.empty(); ++k)
      b[std::max<std::size_t>(DhcpServer::kBoot + 240, rng() % b.size()) % b.size()] =
          static_cast<std::uint8_t>(rng());
    e.give(b);
    if (const auto* l = e.client.lease()) {
      EXPECT_LE(l->address.length, 32u);
      EXPECT_LE(l->dns.size(), 3u);
      EXPECT_GE(l->time, 60s);
      EXPECT_EQ(l->domain.find_first_of(" \n\t"), std::string::npos);
    }
  }
}

TEST(DhcpClient, ADomainThatWouldSpoilAFileIsLeftOut) {
  Exchange e;
  e.server.domain = "x\nnameserver 6.6.6.6";
  ASSERT_TRUE(e.bind());
  EXPECT_EQ(e.client.lease()->domain, "");
}

}  // namespace
}  // namespace rp::test
