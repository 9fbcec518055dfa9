// SPDX-License-Identifier: BSD-3-Clause
// vde_request_test.cc - requests as clients send them, cut short, and made up.
#include "sockets/vde_request.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/backend/scale.h"
#include "tests/sockets/vde_client.h"

namespace rp::sockets {
namespace {

using test::abstract_address;
using test::Bytes;
using test::request_v1;
using test::request_v3;

VdeParsed parse(const Bytes& b) {
  return parse_vde_request(b);
}

sockaddr_un path_address() {
  return unix_address("/tmp/vde.1-0", "test");
}

TEST(VdeRequest, AsLibvdeplugSendsIt) {
  const auto p = parse(request_v3(path_address(), "vdeplug: user=me pid=1", 7u << 8));
  ASSERT_EQ(p.state, VdeParsed::complete);
  EXPECT_EQ(p.request.version, 3u);
  EXPECT_FALSE(p.request.management);
  EXPECT_EQ(p.request.number, 7u);
  EXPECT_EQ(p.request.description, "vdeplug: user=me pid=1");
  EXPECT_STREQ(p.request.client.sun_path, "/tmp/vde.1-0");
}

TEST(VdeRequest, Version1) {
  const auto p = parse(request_v1(path_address()));
  ASSERT_EQ(p.state, VdeParsed::complete);
  EXPECT_EQ(p.request.version, 1u);
  EXPECT_EQ(p.request.number, 0u);
  EXPECT_STREQ(p.request.client.sun_path, "/tmp/vde.1-0");
}

TEST(VdeRequest, Port0IsForManagement) {
  for (const auto& b : {request_v3(path_address(), "", 1), request_v1(path_address(), 1)}) {
    const auto p = parse(b);
    ASSERT_EQ(p.state, VdeParsed::complete);
    EXPECT_TRUE(p.request.management);
    EXPECT_EQ(p.request.number, 0u);
  }
}

/// What `linux.uml eth0=daemon,,unix,PATH` of Debian 12 sent: no description, two bytes of padding
/// at the end, and an abstract name whose rest was never written.
TEST(VdeRequest, AsUserModeLinuxSendsIt) {
  Bytes b = {0xce, 0xfa, 0xed, 0xfe, 3, 0,    0,    0, 0, 0,    0,    0, 1,
             0,    0,    0,    0,    0, 0x85, 0x3f, 0, 0, 0x88, 0x5c, 7};
  b.resize(124);
  b[79] = 0xcc, b[80] = 0x48, b[81] = 0x9c;
  const auto p = parse(b);
  ASSERT_EQ(p.state, VdeParsed::complete);
  EXPECT_EQ(p.request.number, 0u);
  EXPECT_EQ(p.request.description, "");
  EXPECT_EQ(std::memcmp(&p.request.client, &b[12], 110), 0);
}

/// What Bochs 2.7's ethmod=vde sent: its pid as an abstract name.
TEST(VdeRequest, AsBochsSendsIt) {
  Bytes b = {0xce, 0xfa, 0xed, 0xfe, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, '1', '7', '7', '4', '2'};
  b.resize(124);
  const auto p = parse(b);
  ASSERT_EQ(p.state, VdeParsed::complete);
  EXPECT_EQ(p.request.description, "");
  EXPECT_EQ(std::memcmp(&p.request.client, &b[12], 110), 0);
}

TEST(VdeRequest, T_VDE_1_EachLengthIsIncompleteUntilItIsWhole) {
  for (const auto& whole : {request_v3(path_address(), ""), request_v1(path_address())}) {
    for (std::size_t n = 0; n < whole.size(); ++n)
      ASSERT_EQ(parse(Bytes(whole.begin(), whole.begin() + static_cast<long>(n))).state,
                VdeParsed::incomplete)
          << n;
    EXPECT_EQ(parse(whole).state, VdeParsed::complete);
  }
  Bytes longest = request_v3(path_address(), std::string(kVdeRequestMax - 122, 'x'));
  ASSERT_EQ(longest.size(), kVdeRequestMax);
  EXPECT_EQ(parse(longest).request.description.size(), kVdeRequestMax - 122);
}

TEST(VdeRequest, T_VDE_1_WrongMagicAndVersionAreRefusedAtOnce) {
  EXPECT_EQ(parse({0}).state, VdeParsed::refused);
  EXPECT_EQ(parse({0xce, 0xfa, 0xed, 0xff}).state, VdeParsed::refused);
  EXPECT_EQ(parse({0xfe, 0xed, 0xfa, 0xce}).state, VdeParsed::refused);  // the other byte order
  for (const std::uint32_t version : {2u, 4u, 256u, 0x300u, ~0u}) {
    Bytes b;
    test::append(b, kVdeMagic);
    test::append(b, version);
    const auto p = parse(b);
    EXPECT_EQ(p.state, VdeParsed::refused) << version;
    EXPECT_NE(std::string(p.why).find("version"), std::string::npos);
  }
}

TEST(VdeRequest, T_VDE_2_NumbersThatNoPortHas) {
  for (const std::uint32_t type : {0x01000000u, 0xffffff00u, 0xffffffffu, 0x80000000u, 2u, 0xffu})
    EXPECT_EQ(parse(request_v3(path_address(), "", type)).state, VdeParsed::refused) << type;
  EXPECT_EQ(parse(request_v3(path_address(), "", 0xffff00)).request.number, 65535u);
}

TEST(VdeRequest, T_VDE_2_TheAddressIsTakenAsItCame) {
  sockaddr_un a = path_address();
  std::memset(a.sun_path, 'x', sizeof a.sun_path);  // no NUL
  const auto kept = [&] {
    const auto p = parse(request_v3(a));
    return std::memcmp(&p.request.client, &a, sizeof a) == 0;
  };
  EXPECT_TRUE(kept());
  a = abstract_address("x");
  EXPECT_TRUE(kept());
  a.sun_family = AF_INET;
  EXPECT_EQ(parse(request_v3(a)).state, VdeParsed::refused);
}

TEST(VdeRequest, DescriptionsAreMadePrintable) {
  const std::string said = std::string("a\x1b[2J\n\xc3\xa4\x7f") + '\0' + "more";
  EXPECT_EQ(parse(request_v3(path_address(), said)).request.description, "a?[2J????");
}

TEST(VdeRequest, T_VDE_1_RandomBytesNeverBecomeMoreThanTheyAre) {
  std::mt19937 random(1);
  for (std::size_t i = 0; i < backend::rounds(200'000); ++i) {
    Bytes b = i % 2 ? request_v3(path_address()) : request_v1(path_address());
    b.resize(random() % (kVdeRequestMax + 1));
    for (auto n = random() % 4; n-- > 0 && !b.empty();)
      b[random() % b.size()] = static_cast<std::uint8_t>(random());
    const auto p = parse(b);
    if (p.state != VdeParsed::complete) continue;
    ASSERT_GE(b.size(), 122u);
    ASSERT_TRUE(p.request.number <= 65535);
    for (const char c : p.request.description) ASSERT_TRUE(c >= ' ' && c <= '~');
  }
}

}  // namespace
}  // namespace rp::sockets
