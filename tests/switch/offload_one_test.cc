// SPDX-License-Identifier: BSD-3-Clause
// offload_one_test.cc - whole frames: checksums left to do again, segmentation asked for by the
// host, and long segments finished as they are.
#include <gtest/gtest.h>

#include <random>

#include "switch/offload.h"
#include "tests/switch/packets.h"

namespace rp::sw {
namespace {

using namespace rp::test;

std::mt19937& random() {
  static std::mt19937 rng(7);
  return rng;
}

TEST(Reopen, ChecksumLeftToDoComesOutTheSame) {
  Segmenter segmenter;
  for (int round = 0; round < 500; ++round) {
    Recipe r = random_recipe(random());
    r.udp = false;
    if (round % 10 == 0) r.ip_options = r.v6 ? 0 : 40, r.tcp_options = 40;
    Bytes whole = build(r, random());
    naive_complete(whole, r);
    Held held(whole);
    held.frame.offload.flags = kDataValid;
    ASSERT_TRUE(reopen_checksum(held.frame)) << r.name();
    EXPECT_EQ(held.frame.offload.hdr_len, r.start());
    EXPECT_TRUE(Segmenter::passes(held.frame.offload, {.csum = true}));
    const Offload claim = held.frame.offload;
    ASSERT_TRUE(check_offload(held.frame)) << r.name();
    EXPECT_EQ(held.frame.offload.csum_start, claim.csum_start);
    Bytes made;
    EXPECT_EQ(segmenter.finish(held.frame, {}, [&](const Frame& f) { made = bytes_of(f); }), 1u);
    EXPECT_EQ(made, whole) << r.name();
  }
}

TEST(AskSegmentation, SegmentsComeOutAsThoseOfAGuestsOwnClaim) {
  Segmenter segmenter;
  for (int round = 0; round < 500; ++round) {
    Recipe r = random_recipe(random());
    r.udp = false;
    r.payload += 1;
    const auto size = static_cast<std::uint16_t>(1 + random()() % 3000);
    const Bytes open = build(r, random());
    Bytes whole = open;
    naive_complete(whole, r);
    Held claimed(open), asked(whole);
    claimed.frame.offload = gso_claim(r, size);
    const bool sound = check_offload(claimed.frame);
    ASSERT_EQ(ask_segmentation(asked.frame, size), sound) << r.name();
    if (!sound) continue;  // too many segments
    std::vector<Bytes> expected, made;
    segmenter.finish(claimed.frame, {}, [&](const Frame& f) { expected.push_back(bytes_of(f)); });
    segmenter.finish(asked.frame, {}, [&](const Frame& f) { made.push_back(bytes_of(f)); });
    EXPECT_EQ(made, expected) << r.name() << " by " << size;
  }
}

TEST(AskSegmentation, LeavesAloneWhatItCannotCut) {
  const Recipe r{.payload = 3000};
  const auto left_alone = [](const Bytes& b, std::uint16_t size) {
    Held held(b);
    return !ask_segmentation(held.frame, size) && bytes_of(held.frame) == b &&
           held.frame.offload.none();
  };
  const Bytes whole = build(r, random());
  EXPECT_FALSE(left_alone(whole, 1448));
  EXPECT_TRUE(left_alone(whole, 0));
  EXPECT_TRUE(left_alone(whole, 1)) << "too many segments";
  EXPECT_FALSE(left_alone(whole, 2));
  EXPECT_TRUE(left_alone(build(Recipe{.udp = true, .payload = 3000}, random()), 1448));
  const Recipe long_headers{.ip_options = 40, .tcp_options = 40, .payload = 3000};
  EXPECT_TRUE(left_alone(build(long_headers, random()), 1448)) << "longer than a head";
}

TEST(Reopen, LeavesAloneWhatIsNoWholeSegment) {
  const auto left_alone = [](const Bytes& b, const Offload& claim = {.flags = kDataValid}) {
    Held held(b);
    held.frame.offload = claim;
    const bool reopened = reopen_checksum(held.frame);
    return !reopened && bytes_of(held.frame) == b && held.frame.offload.flags == claim.flags;
  };
  for (const bool v6 : {false, true}) {
    Recipe r{.v6 = v6};
    const Bytes whole = build(r, random());
    EXPECT_FALSE(left_alone(whole)) << "the frame that the others are made of";
    Bytes padded = whole;
    padded.push_back(0);
    EXPECT_TRUE(left_alone(padded)) << "the padding would be summed, too";
    EXPECT_TRUE(left_alone(Bytes(whole.begin(), whole.end() - 1)));
    for (const std::size_t size : {r.l3() + 5, r.l4() + 5, r.l4() + 19})
      EXPECT_TRUE(left_alone(Bytes(whole.begin(), whole.begin() + static_cast<long>(size))));
    Bytes short_header = whole;
    short_header[r.l4() + 12] = 0x40;
    EXPECT_TRUE(left_alone(short_header));
    const Recipe bare{.v6 = v6, .payload = 0};
    Bytes long_header = build(bare, random());
    long_header[bare.l4() + 12] = 0xf0;
    EXPECT_TRUE(left_alone(long_header));
    EXPECT_TRUE(left_alone(whole, csum_claim(r))) << "it is open already";
    EXPECT_TRUE(left_alone(whole, gso_claim(r, 100)));
    const Recipe datagram{.v6 = v6, .udp = true};
    EXPECT_TRUE(left_alone(build(datagram, random())));
  }
  const Recipe r;
  Bytes fragment = build(r, random());
  put16(fragment, r.l3() + 6, 0x2000);
  EXPECT_TRUE(left_alone(fragment));
}

/// As a receiver would: its copy, finished. Empty: refused.
Bytes as_one(const Bytes& whole, const Offload& claim, std::size_t piece = 1 << 20) {
  Held held(whole, piece);
  held.frame.offload = claim;
  if (!check_offload(held.frame)) return {};
  Bytes copy = bytes_of(held.frame);
  return finish_as_one(held.frame, copy) ? copy : Bytes{};
}

TEST(FinishAsOne, AgreesWithTheTwin) {
  for (int round = 0; round < 500; ++round) {
    Recipe r = random_recipe(random());
    r.udp = false;
    const Bytes whole = build(r, random());
    const auto want = completed(naive_segments(whole, r, r.payload), r);
    ASSERT_EQ(want.size(), 1u);
    ASSERT_EQ(as_one(whole, gso_claim(r, r.payload / 3 + 1), 1 + random()() % 5000), want[0])
        << r.name();
  }
}

TEST(FinishAsOne, CompletesAChecksumAndNothingElse) {
  for (int round = 0; round < 500; ++round) {
    const Recipe r = random_recipe(random());
    const Bytes whole = build(r, random());
    Bytes want = whole;
    naive_complete(want, r);
    ASSERT_EQ(as_one(whole, csum_claim(r)), want) << r.name();
  }
}

TEST(FinishAsOne, DatagramsStayApart) {
  const Recipe r{.udp = true, .payload = 3000};
  EXPECT_TRUE(as_one(build(r, random()), gso_claim(r, 1000)).empty());
}

TEST(FinishAsOne, RefusesWhatNobodyChecked) {
  const Recipe r{.payload = 3000};
  const Bytes whole = build(r, random());
  const auto refused = [&](const Offload& o) {
    Held held(whole);
    held.frame.offload = o;
    Bytes copy = whole;
    const bool taken = finish_as_one(held.frame, copy);
    return !taken && copy == whole;
  };
  Offload o = gso_claim(r, 1000);
  EXPECT_FALSE(refused(o)) << "the claim that the others are made of";
  o.csum_start = 0xffff;
  EXPECT_TRUE(refused(o));
  o = gso_claim(r, 0);
  EXPECT_TRUE(refused(o));
  o = gso_claim(r, 1000);
  o.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
  EXPECT_TRUE(refused(o));
  Held held(whole);
  held.frame.offload = gso_claim(r, 1000);
  Bytes other_length(whole.size() - 1);
  EXPECT_FALSE(finish_as_one(held.frame, other_length));
}

}  // namespace
}  // namespace rp::sw
