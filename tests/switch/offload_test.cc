// SPDX-License-Identifier: BSD-3-Clause
// offload_test.cc - hostile virtio_net_hdr metadata, and segmentation against a naive twin.
#include "switch/offload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/switch/packets.h"

namespace rp::sw {
namespace {

using namespace rp::test;

constexpr Offloads kNothing{};
constexpr Offloads kCsumOnly{.csum = true};
constexpr Offloads kEverything{.csum = true, .tso4 = true, .tso6 = true, .ecn = true, .uso = true};

struct Made {
  Bytes bytes;
  Offload offload;
  PortId ingress;
};

std::vector<Made> finish(Segmenter& s, const Frame& f, const Offloads& can) {
  std::vector<Made> made;
  const std::size_t n = s.finish(f, can, [&](const Frame& o) {
    made.push_back({bytes_of(o), o.offload, o.ingress});
  });
  EXPECT_EQ(n, made.size());
  return made;
}

/// check_offload() on a copy of the frame with this claim; the rebuilt metadata when it is taken.
std::optional<Offload> checked(const Bytes& b, const Offload& claim) {
  Held held(b);
  held.frame.offload = claim;
  if (!check_offload(held.frame)) return std::nullopt;
  return held.frame.offload;
}

std::mt19937& shared_rng() {
  static std::mt19937 rng(7);
  return rng;
}

Bytes simple(const Recipe& r) {
  return build(r, shared_rng());
}

TEST(Offload, CompleteFrameIsTakenAndItsMetadataCleared) {
  Offload o;
  o.flags = 0xfe;  // all but NEEDS_CSUM
  o.hdr_len = o.gso_size = o.csum_start = o.csum_offset = 0xffff;
  const auto got = checked(Bytes(14), o);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->flags, kDataValid);
  EXPECT_EQ(got->hdr_len | got->gso_size | got->csum_start | got->csum_offset, 0);
}

TEST(Offload, ChecksumClaimIsRebuilt) {
  const Recipe r;
  Offload o = csum_claim(r);
  o.flags = 0xff;
  o.hdr_len = o.gso_size = 0xffff;
  const auto got = checked(simple(r), o);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->flags, kNeedsCsum);
  EXPECT_EQ(got->hdr_len | got->gso_size, 0);
  EXPECT_EQ(got->csum_start, 34);
  EXPECT_EQ(got->csum_offset, 16);
}

TEST(Offload, T_HDR_1_CsumOutsideFrame) {
  struct Case {
    std::size_t len;  ///< of a frame with an ethertype that nobody reads
    std::uint16_t start, offset;
    bool taken;
  };
  const Case cases[] = {
      {100, 14, 0, true},        {100, 13, 1, false},       {100, 0, 14, false},
      {100, 50, 47, true},       {100, 50, 48, true},       {100, 50, 49, false},
      {100, 98, 0, true},        {100, 99, 0, false},       {100, 100, 0, false},
      {100, 14, 0xffff, false},  {100, 0xffff, 0, false},   {100, 0xffff, 0xffff, false},
      {100, 0xffff, 15, false},  {100, 0xfffe, 16, false},  {100, 0xfff0, 0x20, false},
      {16, 14, 0, true},         {15, 14, 0, false},        {14, 14, 0, false},
      {65557, 0xffff, 20, true}, {65557, 0xffff, 21, false}};
  for (const Case& c : cases) {
    Bytes b(c.len);
    if (c.len >= 14) put16(b, 12, 0x9999);
    Offload o;
    o.flags = kNeedsCsum;
    o.csum_start = c.start;
    o.csum_offset = c.offset;
    EXPECT_EQ(checked(b, o).has_value(), c.taken) << c.len << " " << c.start << " " << c.offset;
  }
}

TEST(Offload, T_HDR_1_CutFrameCannotHoldItsChecksum) {
  for (bool udp : {false, true}) {
    Recipe r;
    r.udp = udp;
    const Bytes b = simple(r);
    for (std::size_t len = 0; len < r.start(); ++len) {
      const Bytes cut(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(len));
      EXPECT_EQ(checked(cut, csum_claim(r)).has_value(), len >= r.field() + 2) << len;
      EXPECT_FALSE(checked(cut, gso_claim(r, 100))) << len;
    }
  }
}

TEST(Offload, T_HDR_1_ChecksumMayNotRewriteWhatTheSwitchDecidedOn) {
  for (bool v6 : {false, true})
    for (bool udp : {false, true}) {
      Recipe r;
      r.v6 = v6;
      r.udp = udp;
      r.tags = 2;
      const Bytes b = simple(r);
      for (std::size_t start = 14; start < 100; ++start)
        for (std::uint16_t offset = 0; offset < 40; ++offset) {
          Offload o = csum_claim(r);
          o.csum_start = static_cast<std::uint16_t>(start);
          o.csum_offset = offset;
          const bool real = start == r.l4() && offset == r.csum_offset();
          ASSERT_EQ(checked(b, o).has_value(), real) << start << " " << offset;
        }
    }
}

TEST(Offload, T_HDR_1_ArpAndIcmpChecksums) {
  Bytes arp(60);
  put16(arp, 12, kEtherArp);
  Offload o;
  o.flags = kNeedsCsum;
  for (o.csum_start = 14; o.csum_start < 42; ++o.csum_start) EXPECT_FALSE(checked(arp, o));
  EXPECT_TRUE(checked(arp, o));
  Recipe r;
  r.v6 = true;
  Bytes solicit = simple(r);
  solicit[r.l3() + 6] = kProtoIcmp6;
  o.csum_start = static_cast<std::uint16_t>(r.l4());
  o.csum_offset = 2;
  EXPECT_TRUE(checked(solicit, o));
  o.csum_offset = 8;  // RFC 4861, 4.3: the target
  EXPECT_FALSE(checked(solicit, o));
}

TEST(Offload, T_HDR_2_GsoSizeAgainstPayload) {
  struct Case {
    std::size_t payload, size;
    bool taken, gso;
  };
  const Case cases[] = {
      {1000, 0, false, false},   {1000, 1, true, true},     {1000, 999, true, true},
      {1000, 1000, true, false}, {1000, 1001, true, false}, {1000, 65535, true, false},
      {0, 1, true, false},       {1, 1, true, false},       {2, 1, true, true},
      {2048, 1, true, true},     {2049, 1, false, false},   {60000, 1, false, false},
      {60000, 29, false, false}, {60000, 30, true, true},   {65475, 36, true, true}};
  for (bool v6 : {false, true})
    for (const Case& c : cases) {
      Recipe r;
      r.v6 = v6;
      r.payload = c.payload;
      const auto got = checked(simple(r), gso_claim(r, c.size));
      ASSERT_EQ(got.has_value(), c.taken) << c.payload << " " << c.size;
      if (!got) continue;
      EXPECT_EQ(got->is_gso(), c.gso) << c.payload << " " << c.size;
      EXPECT_TRUE(got->needs_csum());
      EXPECT_EQ(got->gso_size, c.gso ? c.size : 0);
      EXPECT_EQ(got->hdr_len, c.gso ? r.start() : 0);
    }
}

TEST(Offload, T_HDR_2_HdrLenIsRebuilt) {
  const Recipe r;
  for (unsigned hdr_len : {0u, 1u, 53u, 54u, 55u, 1054u, 65535u}) {
    Offload o = gso_claim(r, 100);
    o.hdr_len = static_cast<std::uint16_t>(hdr_len);
    const auto got = checked(simple(r), o);
    ASSERT_TRUE(got);
    EXPECT_EQ(got->hdr_len, 54);
  }
}

TEST(Offload, T_HDR_2_EveryGsoTypeAgainstEveryFrame) {
  for (bool v6 : {false, true})
    for (bool udp : {false, true})
      for (unsigned type = 0; type < 256; ++type) {
        Recipe r;
        r.v6 = v6;
        r.udp = udp;
        Offload o = gso_claim(r, 100);
        o.gso_type = static_cast<std::uint8_t>(type);
        const bool fits = type == r.gso_type() || (!udp && type == (r.gso_type() | kEcn));
        EXPECT_EQ(checked(simple(r), o).has_value(), fits || type == 0) << type << r.name();
      }
}

TEST(Offload, T_HDR_2_GsoNeedsTheRealChecksumField) {
  for (bool udp : {false, true}) {
    Recipe r;
    r.udp = udp;
    const Bytes b = simple(r);
    const Offload good = gso_claim(r, 100);
    EXPECT_TRUE(checked(b, good));
    Offload o = good;
    o.flags = 0;
    EXPECT_FALSE(checked(b, o));
    o.flags = kDataValid;
    EXPECT_FALSE(checked(b, o));
    for (int by : {-20, -1, 1, 20}) {
      o = good;
      o.csum_start = static_cast<std::uint16_t>(o.csum_start + by);
      EXPECT_FALSE(checked(b, o)) << by;
      o = good;
      o.csum_offset = static_cast<std::uint16_t>(o.csum_offset + by);
      EXPECT_FALSE(checked(b, o)) << by;
    }
  }
}

TEST(Offload, T_HDR_2_EcnFollowsTheCwrBit) {
  for (bool cwr : {false, true})
    for (bool claimed : {false, true}) {
      Recipe r;
      r.flags = static_cast<std::uint8_t>(kTcpAck | (cwr ? kTcpCwr : 0));
      Offload o = gso_claim(r, 100);
      o.gso_type = static_cast<std::uint8_t>(kTcp4 | (claimed ? kEcn : 0));
      const auto got = checked(simple(r), o);
      ASSERT_TRUE(got);
      EXPECT_EQ(got->gso_type, cwr ? kTcp4 | kEcn : kTcp4);
    }
}

TEST(Offload, T_HDR_2_HeadersThatContradictTheFrame) {
  struct Case {
    const char* what;
    bool v6;
    std::size_t at;
    std::uint8_t value;
  };
  const Case cases[] = {{"IPv4 version", false, 14, 0x55},
                        {"IHL below 5", false, 14, 0x44},
                        {"IHL past the head", false, 14, 0x4f},
                        {"total length high", false, 16, 0xff},
                        {"total length low", false, 17, 0},
                        {"more fragments", false, 20, 0x20},
                        {"fragment offset", false, 21, 1},
                        {"not TCP", false, 23, kProtoUdp},
                        {"data offset below 5", false, 46, 0x40},
                        {"IPv6 version", true, 14, 0x40},
                        {"payload length", true, 18, 0xff},
                        {"no payload length", true, 19, 0},
                        {"extension header", true, 20, 0},
                        {"ethertype", false, 12, 0x09},
                        {"a tag", false, 12, 0x81}};
  for (const Case& c : cases) {
    Recipe r;
    r.v6 = c.v6;
    Bytes b = simple(r);
    b[c.at] = c.value;
    EXPECT_FALSE(checked(b, gso_claim(r, 100))) << c.what;
  }
}

TEST(Offload, T_HDR_2_HeadersMustLieInThePrivateHead) {
  for (std::size_t options : {32u, 36u, 40u}) {
    Recipe r;
    r.tags = 2;
    r.ip_options = options;
    r.tcp_options = 32;
    EXPECT_EQ(checked(simple(r), gso_claim(r, 100)).has_value(), r.start() <= Frame::kHead);
  }
}

TEST(Offload, T_HDR_2_UdpLengthIsRebuilt) {
  Recipe r;
  r.udp = true;
  for (unsigned len : {0u, 7u, 108u, 65535u}) {
    Bytes b = simple(r);
    put16(b, r.l4() + 4, len);
    Held held(b);
    held.frame.offload = gso_claim(r, 100);
    ASSERT_TRUE(check_offload(held.frame));
    EXPECT_EQ(get16(bytes_of(held.frame), r.l4() + 4), r.size() - r.l4());
  }
}

TEST(Offload, T_HDR_6_OversizeFrames) {
  struct Case {
    std::size_t len;
    unsigned tags;
    bool csum, gso;
  };
  const Case cases[] = {{65549, 0, true, true},   {65550, 0, true, false}, {65550, 1, true, true},
                        {65553, 1, true, true},   {65557, 2, true, true},  {65557, 0, true, false},
                        {65558, 2, false, false}, {70000, 0, false, false}};
  for (const Case& c : cases) {
    Recipe r;
    r.tags = c.tags;
    r.payload = c.len - r.start();
    const Bytes b = simple(r);
    EXPECT_EQ(checked(b, csum_claim(r)).has_value(), c.csum) << c.len;
    EXPECT_EQ(checked(b, gso_claim(r, 1400)).has_value(), c.gso) << c.len;
    Held held(b);
    held.frame.offload = gso_claim(r, 1400);
    Segmenter s;
    EXPECT_EQ(finish(s, held.frame, kNothing).empty(), !c.gso) << c.len;
  }
}

TEST(Offload, T_HDR_6_LargestFramesSegmentWhole) {
  std::mt19937 rng(11);
  Segmenter s;
  for (bool v6 : {false, true})
    for (bool udp : {false, true}) {
      Recipe r;
      r.v6 = v6;
      r.udp = udp;
      r.tags = 2;
      r.payload = std::min(std::size_t{65535} + r.l3(), std::size_t{kMaxFrame}) - r.start();
      Held held(build(r, rng), 4096);
      held.frame.offload = gso_claim(r, 1448);
      ASSERT_TRUE(check_offload(held.frame)) << r.name();
      EXPECT_EQ(finish(s, held.frame, kNothing).size(), (r.payload + 1447) / 1448);
    }
}

TEST(Segmenter, PassesWhatThePortTakes) {
  Offload gso = gso_claim({}, 100), ecn = gso, csum = csum_claim({}), uso = gso, tso6 = gso,
          odd = gso;
  ecn.gso_type |= kEcn;
  uso.gso_type = kGsoUdpL4;
  tso6.gso_type = kTcp6;
  odd.gso_type = 77;
  const Offloads tso4{.csum = true, .tso4 = true}, no_csum{.tso4 = true};
  EXPECT_TRUE(Segmenter::passes({}, kNothing));
  EXPECT_FALSE(Segmenter::passes(csum, kNothing));
  EXPECT_TRUE(Segmenter::passes(csum, kCsumOnly));
  EXPECT_FALSE(Segmenter::passes(gso, kCsumOnly));
  EXPECT_FALSE(Segmenter::passes(gso, no_csum));
  EXPECT_TRUE(Segmenter::passes(gso, tso4));
  EXPECT_FALSE(Segmenter::passes(ecn, tso4));
  EXPECT_FALSE(Segmenter::passes(tso6, tso4));
  EXPECT_FALSE(Segmenter::passes(uso, tso4));
  for (const Offload& o : {gso, ecn, csum, uso, tso6})
    EXPECT_TRUE(Segmenter::passes(o, kEverything));
  EXPECT_FALSE(Segmenter::passes(odd, kEverything));
}

TEST(Segmenter, PassingFrameComesOutAsItIs) {
  const Recipe r;
  Held held(simple(r));
  held.frame.offload = gso_claim(r, 100);
  Segmenter s;
  const Frame* seen = nullptr;
  EXPECT_EQ(s.finish(held.frame, kEverything, [&](const Frame& f) { seen = &f; }), 1u);
  EXPECT_EQ(seen, &held.frame);
}

TEST(Segmenter, ChecksumCompletionAgreesWithTheTwin) {
  std::mt19937 rng(12);
  Segmenter s;
  for (int round = 0; round < 400; ++round) {
    Recipe r = random_recipe(rng);
    if (round % 4 == 0) r.payload = rng() % 100;
    Bytes want = build(r, rng);
    Held held(want, 1 + rng() % 3000);
    held.frame.offload = csum_claim(r);
    held.frame.ingress = 5;
    ASSERT_TRUE(check_offload(held.frame)) << r.name();
    naive_complete(want, r);
    const auto made = finish(s, held.frame, kNothing);
    ASSERT_EQ(made.size(), 1u);
    ASSERT_EQ(made[0].bytes, want) << r.name();
    ASSERT_TRUE(made[0].offload.none());
    ASSERT_EQ(made[0].ingress, 5u);
  }
}

/// For a port that completes checksums: the twin's segments, unfinished, each with its own claim.
void expect_partial(const std::vector<Made>& made, const std::vector<Bytes>& want,
                    const Recipe& r) {
  ASSERT_EQ(made.size(), want.size()) << r.name();
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_EQ(made[i].bytes, want[i]) << r.name() << " segment " << i;
    ASSERT_EQ(made[i].offload.flags, kNeedsCsum);
    ASSERT_EQ(made[i].offload.gso_type, 0);
    ASSERT_EQ(made[i].offload.csum_start, r.l4());
    ASSERT_EQ(made[i].offload.csum_offset, r.csum_offset());
    ASSERT_EQ(made[i].ingress, 9u);
  }
}

/// For a port that takes nothing: the twin's segments, finished; together they hold the payload.
void expect_complete(const std::vector<Made>& made, std::vector<Bytes> want, const Bytes& whole,
                     const Recipe& r) {
  ASSERT_EQ(made.size(), want.size()) << r.name();
  const auto start = static_cast<std::ptrdiff_t>(r.start());
  Bytes joined;
  for (std::size_t i = 0; i < want.size(); ++i) {
    naive_complete(want[i], r);
    ASSERT_EQ(made[i].bytes, want[i]) << r.name() << " segment " << i;
    ASSERT_TRUE(made[i].offload.none());
    joined.insert(joined.end(), made[i].bytes.begin() + start, made[i].bytes.end());
  }
  ASSERT_TRUE(std::equal(joined.begin(), joined.end(), whole.begin() + start, whole.end()));
}

TEST(Segmenter, SegmentsAgreeWithTheTwin) {
  std::mt19937 rng(13);
  Segmenter s;
  for (int round = 0; round < 600 && !HasFatalFailure(); ++round) {
    const Recipe r = random_recipe(rng);
    if (r.start() > Frame::kHead) continue;
    const std::size_t mss = std::max(r.payload / 2000 + 1, std::size_t{1} + rng() % 2000);
    const Bytes whole = build(r, rng);
    Held held(whole, 1 + rng() % 5000);
    held.frame.offload = gso_claim(r, mss);
    held.frame.ingress = 9;
    ASSERT_TRUE(check_offload(held.frame)) << r.name();
    const auto want = naive_segments(whole, r, mss);
    ASSERT_EQ(held.frame.offload.is_gso(), want.size() > 1);
    expect_partial(finish(s, held.frame, kCsumOnly), want, r);
    expect_complete(finish(s, held.frame, kNothing), want, whole, r);
  }
}

TEST(Segmenter, FlagsAreSaidWhereTheyBelong) {
  Segmenter s;
  for (std::size_t payload : {201u, 250u, 300u}) {
    Recipe r;
    r.payload = payload;
    r.flags = kTcpAck | kTcpFin | kTcpPsh | kTcpCwr | kTcpEce;
    Held held(simple(r));
    held.frame.offload = gso_claim(r, 100);
    ASSERT_TRUE(check_offload(held.frame));
    const auto made = finish(s, held.frame, kNothing);
    ASSERT_EQ(made.size(), 3u);
    EXPECT_EQ(made[0].bytes[47], kTcpAck | kTcpCwr | kTcpEce);
    EXPECT_EQ(made[1].bytes[47], kTcpAck | kTcpEce);
    EXPECT_EQ(made[2].bytes[47], kTcpAck | kTcpEce | kTcpFin | kTcpPsh);
    EXPECT_EQ(get32(made[2].bytes, 38), get32(held.bytes, 38) + 200);
    EXPECT_EQ((get16(made[2].bytes, 18) - get16(held.bytes, 18)) & 0xffff, 2u);
  }
}

TEST(Segmenter, UdpChecksumOfZeroIsSentAsAllOnes) {
  for (std::size_t mss : {0u, 100u}) {
    Recipe r;
    r.udp = true;
    r.payload = 200;
    Bytes b = simple(r);
    // Chooses the last word of the first datagram so that its checksum comes to 0.
    Bytes first = mss ? naive_segments(b, r, mss)[0] : b;
    const std::size_t last = first.size() - 2;
    put16(first, last, 0);
    const unsigned word = ~naive_sum(first, r.l4(), first.size()) & 0xffff;
    put16(b, last, word);
    Held held(b);
    held.frame.offload = mss ? gso_claim(r, mss) : csum_claim(r);
    ASSERT_TRUE(check_offload(held.frame));
    Segmenter s;
    const auto made = finish(s, held.frame, kNothing);
    ASSERT_EQ(made.size(), mss ? 2u : 1u);
    EXPECT_EQ(get16(made[0].bytes, r.field()), 0xffffu);
  }
}

TEST(Segmenter, TagPushedAfterTheCheckIsKept) {
  const Recipe tagged{.tags = 1};
  Held held(simple(tagged));
  held.frame.offload = gso_claim(tagged, 100);
  held.frame.offload.hdr_len = static_cast<std::uint16_t>(tagged.start() - 4);
  Segmenter s;
  const auto made = finish(s, held.frame, kNothing);
  ASSERT_EQ(made.size(), 10u);
  for (const Made& m : made) EXPECT_EQ(get32(m.bytes, 12), get32(held.bytes, 12));
}

TEST(Segmenter, FrameWhosePartsDoNotAddUpIsDropped) {
  const Recipe r;
  Segmenter s;
  for (int by : {-1, 1}) {
    Held held(simple(r));
    held.frame.offload = csum_claim(r);
    held.parts[0].len = static_cast<std::uint32_t>(static_cast<int>(held.parts[0].len) + by);
    EXPECT_TRUE(finish(s, held.frame, kNothing).empty());
  }
}

Offload random_claim(const Recipe& r, std::mt19937& rng) {
  Offload o = gso_claim(r, 1 + rng() % 1500);
  const auto word = [&] { return static_cast<std::uint16_t>(rng() % 3 ? rng() % 200 : rng()); };
  if (rng() % 3 == 0) o.flags = static_cast<std::uint8_t>(rng());
  if (rng() % 3 == 0) o.gso_type = static_cast<std::uint8_t>(rng() % 2 ? rng() % 6 : rng());
  if (rng() % 3 == 0) o.gso_size = word();
  if (rng() % 3 == 0) o.hdr_len = word();
  if (rng() % 4 == 0) o.csum_start = word();
  if (rng() % 4 == 0) o.csum_offset = word();
  return o;
}

/// Whatever comes out is bounded, fits the port, and is addressed as the frame was.
void expect_sane(const std::vector<Made>& made, const Frame& in, const Offloads& can) {
  ASSERT_LE(made.size(), kMaxSegments);
  std::size_t total = 0;
  for (const Made& m : made) {
    ASSERT_LE(m.bytes.size(), in.len);
    ASSERT_TRUE(Segmenter::passes(m.offload, can));
    const std::size_t same = std::min<std::size_t>(14, in.head_len);
    ASSERT_TRUE(std::equal(m.bytes.begin(), m.bytes.begin() + static_cast<std::ptrdiff_t>(same),
                           in.head.begin()));
    total += m.bytes.size();
  }
  ASSERT_LE(total, in.len + made.size() * Frame::kHead);
}

TEST(Segmenter, T_HDR_2_RandomHostileFramesAreBounded) {
  std::mt19937 rng(14);
  Segmenter s;
  int taken = 0, refused = 0;
  for (int round = 0; round < 20000; ++round) {
    Recipe r = random_recipe(rng);
    r.payload %= 3000;
    Bytes b = build(r, rng);
    for (auto flips = rng() % 3; flips > 0; --flips)
      b[rng() % r.start()] = static_cast<std::uint8_t>(rng());
    if (rng() % 8 == 0) b.resize(rng() % b.size());
    Held held(b, 1 + rng() % 2000);
    held.frame.offload = random_claim(r, rng);
    const Offloads can = rng() % 2 ? kNothing : kCsumOnly;
    expect_sane(finish(s, held.frame, can), held.frame, can);  // even unchecked
    if (!check_offload(held.frame)) {
      ++refused;
      continue;
    }
    ++taken;
    const auto made = finish(s, held.frame, can);
    ASSERT_FALSE(made.empty());
    expect_sane(made, held.frame, can);
    Held again(bytes_of(held.frame));
    again.frame.offload = held.frame.offload;
    ASSERT_TRUE(check_offload(again.frame));  // what was rebuilt is rebuilt the same
    ASSERT_EQ(again.frame.offload.gso_size, held.frame.offload.gso_size);
  }
  EXPECT_GT(taken, 1000);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace rp::sw
