// SPDX-License-Identifier: BSD-3-Clause
// ipv4_fragments_test.cc - cutting IPv4 packets.
#include "slirp/ipv4_fragments.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/slirp/packets.h"

namespace rp::test {
namespace {

constexpr Ip4 kIp{ip4(10, 0, 2, 2), ip4(10, 0, 2, 15), 64, 77};

std::vector<Data> cut(const Data& frame, std::size_t mtu, std::size_t room = ~std::size_t{0}) {
  std::vector<Data> out;
  const bool all = slirp::fragment_ipv4(frame, mtu, [&](std::size_t len) -> std::uint8_t* {
    if (out.size() == room) return nullptr;
    return out.emplace_back(len).data();
  });
  EXPECT_EQ(all, room == ~std::size_t{0});
  return out;
}

TEST(Ipv4Fragments, MakeTheSamePacketAgain) {
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    Data payload(1 + random() % 20000);
    for (auto& b : payload) b = static_cast<std::uint8_t>(random());
    const std::size_t mtu = 68 + random() % 3000;
    Ip4 ip = kIp;  // a fragment already, so that the builder sums nothing in it
    ip.frag = static_cast<std::uint16_t>(1 + random() % 1000);
    const bool more = random() % 2;
    const auto with_more = [](std::uint16_t at, bool set) {
      return static_cast<std::uint16_t>(at | (set ? kMore : 0));
    };
    const Ip4 whole{ip.src, ip.dst, ip.ttl, ip.id, with_more(ip.frag, more)};
    Data l4;
    for (const Data& f : cut(ipv4(guest_mac(1), whole, sw::kProtoUdp, payload), mtu)) {
      ASSERT_LE(f.size(), 14 + mtu);
      const Data piece(f.begin() + 34, f.end());
      const bool last = l4.size() + piece.size() == payload.size();
      ASSERT_TRUE(last || piece.size() % 8 == 0);
      const auto at = static_cast<std::uint16_t>(ip.frag + l4.size() / 8);
      const Ip4 expected{ip.src, ip.dst, ip.ttl, ip.id, with_more(at, more || !last)};
      ASSERT_EQ(f, ipv4(guest_mac(1), expected, sw::kProtoUdp, piece));
      append(l4, piece);
    }
    EXPECT_EQ(l4, payload);
  }
}

TEST(Ipv4Fragments, StopWhereThereIsNoRoom) {
  const Data frame = ipv4(guest_mac(1), kIp, sw::kProtoUdp, Data(4000));
  EXPECT_EQ(cut(frame, 1500).size(), 3u);
  EXPECT_EQ(cut(frame, 1500, 2).size(), 2u);
  EXPECT_EQ(cut(frame, 1500, 0).size(), 0u);
}

}  // namespace
}  // namespace rp::test
