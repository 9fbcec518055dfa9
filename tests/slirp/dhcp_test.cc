// SPDX-License-Identifier: BSD-3-Clause
// dhcp_test.cc - an MTU is told to who asks, and to nobody else.
#include "slirp/dhcp.h"

#include <gtest/gtest.h>

#include <array>
#include <random>

#include "tests/slirp/packets.h"

namespace rp::test {
namespace {

constexpr std::uint16_t kMtu = 0x2345;

Data message(std::uint16_t from, std::uint16_t to, const Data& options) {
  Dhcp d;
  d.client = guest_mac(1);
  d.options = options;
  return ipv4(guest_mac(1), {1, 2}, sw::kProtoUdp, udp(from, to, dhcp(d)));
}
Data request(const Data& options = {53, 1, 1, 55, 3, 1, 26, 3, 255}) {
  return message(68, 67, options);
}
Data answer(const Data& options = {53, 1, 2, 255, 0, 0, 0, 0}) {
  return message(67, 68, options);
}
Data told(const Data& answer, const Data& request, std::size_t room = 1514) {
  Data place(room);
  const auto out = slirp::with_mtu(answer, request, kMtu, place);
  return {out.begin(), out.end()};
}

TEST(Dhcp, TheMtuTakesThePlaceOfTheEndAndPadding) {
  EXPECT_EQ(told(answer(), request()), answer({53, 1, 2, 26, 2, 0x23, 0x45, 255}));
  const Data ack{53, 1, 5, 0, 1, 1, 9, 255, 0, 0, 0, 0, 7};
  EXPECT_EQ(told(answer(ack), request()),
            answer({53, 1, 5, 0, 1, 1, 9, 26, 2, 0x23, 0x45, 255, 7}));
}

TEST(Dhcp, WhoDoesNotAskIsNotTold) {
  EXPECT_EQ(told(answer(), request({53, 1, 1, 55, 2, 1, 3, 255})), answer());
  EXPECT_EQ(told(answer(), request({53, 1, 1, 26, 1, 26, 255})), answer());
  EXPECT_EQ(told(answer(), request({53, 1, 1, 255, 55, 1, 26})), answer());
  EXPECT_EQ(told(answer(), {}), answer());
  EXPECT_EQ(told(answer(), answer()), answer());
  Data other = request();
  other[14 + 20 + 8 + 4] ^= 1;  // xid
  EXPECT_EQ(told(answer(), other), answer());
}

TEST(Dhcp, ARefusalStaysAsItIs) {
  const Data nak = answer({53, 1, 6, 255, 0, 0, 0, 0});
  EXPECT_EQ(told(nak, request()), nak);
}

TEST(Dhcp, NothingIsToldWithoutRoom) {
  EXPECT_EQ(told(answer({53, 1, 2, 255, 0, 0, 0}), request()), answer({53, 1, 2, 255, 0, 0, 0}));
  EXPECT_EQ(told(answer({53, 1, 2}), request()), answer({53, 1, 2}));
  EXPECT_EQ(told(answer(), request(), answer().size() - 1), answer());
}

/// In how many places two frames of one size differ.
std::size_t differences(const Data& a, const Data& b) {
  std::size_t n = 0;
  for (std::size_t i = 0; i < a.size(); ++i) n += a[i] != b[i];
  return n;
}

// Bounds are ASan's to see.
TEST(Dhcp, OfAnyBytesOnlyTheOptionAndTheChecksumChange) {
  std::mt19937 random(1);
  std::size_t changed = 0;
  for (int round = 0; round < 20000; ++round) {
    Data frame = answer(), asked = request();
    for (auto i = random() % 3; i > 0; --i)
      frame[12 + random() % (frame.size() - 12)] = static_cast<std::uint8_t>(random());
    for (auto i = random() % 3; i > 0; --i)
      asked[12 + random() % (asked.size() - 12)] = static_cast<std::uint8_t>(random());
    if (random() % 4 == 0) frame.resize(frame.size() - random() % 16);
    if (random() % 4 == 0) asked.resize(asked.size() - random() % 16);
    const Data out = told(frame, asked);
    ASSERT_EQ(out.size(), frame.size());
    ASSERT_LE(differences(out, frame), 5u + 2u);
    changed += out != frame;
  }
  EXPECT_GT(changed, 5000u);
}

}  // namespace
}  // namespace rp::test
