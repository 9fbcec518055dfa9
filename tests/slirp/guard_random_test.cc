// SPDX-License-Identifier: BSD-3-Clause
// guard_random_test.cc - 200,000 spoiled frames: what passes must be sound to a naive second look.
#include <random>

#include "tests/slirp/guard_fixture.h"

namespace rp::test {
namespace {

std::vector<Data> seeds() {
  const sw::Mac me = guest_mac(1);
  const sw::Ip6Addr own = ip6("fec0::15"), gw = ip6("fec0::2");
  const Data l2 = link_layer_option(1, me);
  return {
      arp(me, 1, kGuest, kGateway),
      ipv4(me, {kGuest, kFar}, sw::kProtoTcp,
           tcp({.urgent = 9, .options = {2, 4, 5, 180}}, Data(40))),
      ipv4(me, {kGuest, kFar}, sw::kProtoUdp, udp(1000, 53, Data(30))),
      ipv4(me, {kGuest, kFar}, sw::kProtoIcmp, icmp(8, Data(20))),
      ipv4(me, {kGuest, kFar, 64, 1, kMore}, sw::kProtoUdp, udp(1000, 53, Data(40))),
      ipv4(me, {kGuest, kFar, 64, 1, 6}, sw::kProtoUdp, Data(33)),
      ipv4(me, {0, kAll}, sw::kProtoUdp,
           udp(68, 67, dhcp({.client = me, .options = dhcp_options(1, kGuest)}))),
      ipv4(me, {kGuest, kGateway}, sw::kProtoUdp, udp(2000, 69, text({"\0\1boot\0octet\0", 13}))),
      ipv6(me, own, gw, sw::kProtoTcp, tcp({.flags = sw::kTcpUrg, .urgent = 4}, Data(4))),
      ipv6(me, own, ip6("ff02::1:2"), sw::kProtoUdp,
           udp(546, 547, {11, 1, 2, 3, 0, 1, 0, 2, 5, 5})),
      ipv6(me, own, gw, sw::kProtoIcmp6, icmp(128, Data(12))),
      ipv6(me, own, ip6("ff02::1:ff00:2"), sw::kProtoIcmp6, neighbor(135, gw, l2), 255),
  };
}

// Lengths and nothing else, read from the bytes by hand.
void expect_sound(const Data& f) {
  ASSERT_GE(f.size(), 14u);
  ASSERT_EQ(f[6] & 1, 0);
  const unsigned type = get16(f, 12);
  if (type == 0x0806) {
    ASSERT_GE(f.size(), 42u);
    ASSERT_EQ(f[18], 6);
    ASSERT_EQ(f[19], 4);
    return;
  }
  ASSERT_TRUE(type == 0x0800 || type == 0x86dd);
  const bool v4 = type == 0x0800;
  const std::size_t l4 = v4 ? 34 : 54;
  ASSERT_GE(f.size(), l4);
  if (v4) {
    ASSERT_EQ(f[14], 0x45);
    ASSERT_EQ(get16(f, 16), f.size() - 14);
    ASSERT_EQ(naive_checksum(Data(f.begin() + 14, f.begin() + 34)), 0);
    ASSERT_NE(f[30], 127);
  } else {
    ASSERT_EQ(f[14] >> 4, 6);
    ASSERT_EQ(get16(f, 18), f.size() - 54);
  }
  const unsigned proto = v4 ? f[23] : f[20];
  const std::size_t len = f.size() - l4;
  if (v4 && (get16(f, 20) & 0x3fff)) {
    ASSERT_TRUE(proto == 17 || proto == 1);
    ASSERT_GT(len, 0u);
    ASSERT_LE((get16(f, 20) & 0x1fffu) * 8 + len, 65515u);
  } else if (proto == 6) {
    ASSERT_GE(len, 20u);
    ASSERT_GE(f[l4 + 12] >> 4, 5);
    ASSERT_LE((f[l4 + 12] >> 4) * 4u, len);
    ASSERT_EQ(f[l4 + 13] & 0x20, 0);
    ASSERT_EQ(get16(f, l4 + 18), 0);
  } else if (proto == 17) {
    ASSERT_GE(len, 8u);
    ASSERT_EQ(get16(f, l4 + 4), len);
  } else {
    ASSERT_EQ(proto, v4 ? 1u : 58u);
    ASSERT_GE(len, 8u);
  }
}

class Mutator {
 public:
  std::uint32_t roll(std::size_t n) { return static_cast<std::uint32_t>(random_() % n); }

  Data spoil(Data f) {
    for (std::uint32_t i = roll(4); i > 0; --i) {
      const std::size_t at = roll(std::min<std::size_t>(f.size(), roll(2) ? 60 : 400));
      f[at] = roll(2) ? static_cast<std::uint8_t>(roll(256))
                      : static_cast<std::uint8_t>(f[at] + roll(5) - 2);
    }
    if (roll(8) == 0) f.resize(std::max<std::size_t>(1, roll(f.size() + 1)));
    if (roll(8) == 0) f.resize(f.size() + roll(80), static_cast<std::uint8_t>(roll(256)));
    if (roll(2) && f.size() > 34 && get16(f, 12) == 0x0800) seal_ipv4(f);
    return Data(f);
  }

 private:
  std::mt19937_64 random_{20240817};
};

TEST(GuardRandomTest, TwoHundredThousandSpoiledFrames) {
  const std::vector<Data> good = seeds();
  GuardConfig config = default_config();
  config.tftp_root = 1 << 20;  // no such descriptor: the path is parsed, and then refused
  Mutator m;
  unsigned passed = 0;
  for (unsigned round = 0; round < 200; ++round) {
    Guard guard(config);
    for (unsigned i = 0; i < 1000; ++i) {
      const Data frame = m.spoil(good[m.roll(good.size())]);
      Data copy(frame);
      std::span<std::uint8_t> span(copy);
      const Instant now = std::chrono::milliseconds(i * 20);
      const Refusal r = guard.check(span, m.roll(10) ? 1 : 2, now);
      guard.from_nat(frame, now);
      ASSERT_EQ(span.data(), copy.data());
      ASSERT_LE(span.size(), copy.size());
      if (r != Refusal::none) continue;
      ++passed;
      expect_sound(Data(span.begin(), span.end()));
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(passed, 10000u);   // not all is refused,
  EXPECT_LT(passed, 150000u);  // nor all let through
  RecordProperty("passed", static_cast<int>(passed));
}

}  // namespace
}  // namespace rp::test
