// SPDX-License-Identifier: BSD-3-Clause
// coalesce_test.cc - joins are undone without a trace, and each rule that forbids one holds.
#include "switch/coalesce.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "switch/offload.h"
#include "tests/switch/packets.h"

namespace rp::sw {
namespace {

using namespace rp::test;

constexpr Offloads kTso{.csum = true, .tso4 = true, .tso6 = true};
constexpr Offloads kNothing{};
constexpr Offloads kCsumOnly{.csum = true};

/// A port's burst, and what became of it.
class Lot {
 public:
  Frame& add(Bytes b, const Offload& offload = {}, std::size_t piece = 1 << 20) {
    held_.emplace_back(std::move(b), piece);
    held_.back().frame.offload = offload;
    held_.back().frame.own = held_.back().bytes.data();
    in_.push_back(&held_.back().frame);
    return held_.back().frame;
  }
  std::span<const Frame* const> join(const Offloads& can = kTso) {
    const auto out = coalescer_->join(in_, can);
    out_.assign(out.begin(), out.end());
    std::size_t carried = 0;
    for (const Frame* f : out_) {
      carried += 1u + f->absorbed;
      sound(*f);
    }
    EXPECT_EQ(carried, in_.size()) << "nothing is lost or doubled";
    return out_;
  }
  const std::vector<const Frame*>& in() const { return in_; }
  /// The burst came out as it went in.
  bool untouched(const Offloads& can = kTso) {
    join(can);
    return out_ == in_;
  }

 private:
  /// A joined frame is one that check_offload() lets through as it is.
  void sound(const Frame& f) const {
    std::uint64_t total = f.head_len;
    for (const Part& p : f.body) total += p.len;
    EXPECT_EQ(total, f.len);
    EXPECT_EQ(f.head_len, std::min(f.len, Frame::kHead));
    if (f.absorbed == 0) {
      EXPECT_NE(std::find(in_.begin(), in_.end(), &f), in_.end()) << "the sender's own frame";
      return;
    }
    EXPECT_EQ(f.own, nullptr) << "its parts lie in many";
    EXPECT_LE(f.len, Coalescer::kMaxLen);
    EXPECT_LE(f.body.size(), Coalescer::kParts);
    Frame again = f;
    EXPECT_TRUE(check_offload(again));
    EXPECT_EQ(std::memcmp(&again.offload, &f.offload, sizeof f.offload), 0);
  }

  std::deque<Held> held_;
  std::vector<const Frame*> in_, out_;
  std::unique_ptr<Coalescer> coalescer_ = std::make_unique<Coalescer>();
};

std::vector<Bytes> segmented(const Frame& f, const Offloads& can = kNothing) {
  static Segmenter segmenter;
  std::vector<Bytes> out;
  EXPECT_NE(segmenter.finish(f, can, [&](const Frame& s) { out.push_back(bytes_of(s)); }), 0u);
  return out;
}

/// Makes lengths and checksums right again after a change.
void reseal(Bytes& b, const Recipe& r) {
  seal(b, r);
  naive_complete(b, r);
}

Recipe random_tcp(std::mt19937& rng) {
  Recipe r;
  r.v6 = rng() % 2;
  r.df = rng() % 2;
  r.tags = static_cast<unsigned>(rng() % 3);
  r.tcp_options = rng() % 11 * 4;
  r.flags = static_cast<std::uint8_t>(kTcpAck | (rng() % 2 ? kTcpPsh : 0));
  return r;
}

TEST(Coalesce, AJoinIsUndoneWithoutATrace) {
  std::mt19937 rng(1);
  for (int round = 0; round < 1000; ++round) {
    Recipe r = random_tcp(rng);
    const std::size_t mss = 1 + (rng() % 4 ? rng() % 1460 : rng() % 9000);
    r.payload = std::min<std::size_t>(60000, mss * 63);
    r.payload = std::max<std::size_t>(mss + 1, 1 + rng() % r.payload);
    SCOPED_TRACE(r.name() + " mss " + std::to_string(mss));
    const Bytes whole = build(r, rng);
    const auto partial = naive_segments(whole, r, mss);
    const auto complete = completed(partial, r);
    const bool left_to_do = rng() % 3 == 0;
    // Parts enough to be seen, and not too many.
    const std::size_t piece = r.payload / 300 + 1 + rng() % 700;
    Lot lot;
    for (std::size_t i = 0; i < partial.size(); ++i) {
      Offload o = left_to_do ? csum_claim(r) : Offload{};
      if (!left_to_do && rng() % 2) o.flags = kDataValid;
      lot.add(left_to_do ? partial[i] : complete[i], o, piece);
    }
    const auto out = lot.join();
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0]->absorbed, partial.size() - 1);
    EXPECT_TRUE(bytes_of(*out[0]) == whole) << "what one sender's stack would have handed over";
    EXPECT_EQ(out[0]->offload.gso_size, mss);
    EXPECT_EQ(out[0]->offload.hdr_len, r.start());
    EXPECT_TRUE(segmented(*out[0]) == complete);
    EXPECT_TRUE(segmented(*out[0], kCsumOnly) == partial);
  }
}

TEST(Coalesce, TheSendersFramesAreLeftAsTheyAre) {
  Lot lot;
  const auto segments = train({}, 3, 1000);
  for (const Bytes& s : segments) lot.add(s);
  EXPECT_EQ(lot.join().size(), 1u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(bytes_of(*lot.in()[i]) == segments[i]);
}

TEST(Coalesce, NoPayloadIsCopiedButIntoTheHead) {
  Lot lot;
  for (const Bytes& s : train({}, 3, 1000)) lot.add(s);
  const auto out = lot.join();
  ASSERT_EQ(out.size(), 1u);
  ASSERT_EQ(out[0]->body.size(), 5u);
  EXPECT_EQ(out[0]->body[0].data, lot.in()[0]->body[0].data);
  EXPECT_EQ(out[0]->body[1].data, lot.in()[1]->head.data() + 54);
  EXPECT_EQ(out[0]->body[2].data, lot.in()[1]->body[0].data);
}

TEST(Coalesce, SequenceNumbersAndIdsWrap) {
  Recipe r;
  r.df = false;
  auto segments = train(r, 4, 1000);
  for (std::size_t i = 0; i < 4; ++i) {
    put16(segments[i], r.l3() + 4, 0xfffe + i);
    put32(segments[i], r.l4() + 4, static_cast<std::uint32_t>(0xfffffa00 + i * 1000));
    reseal(segments[i], r);
  }
  Lot lot;
  for (const Bytes& s : segments) lot.add(s);
  const auto out = lot.join();
  ASSERT_EQ(out.size(), 1u);
  EXPECT_TRUE(segmented(*out[0]) == segments);
}

// RFC 6864, 4.1: the id of what may not be fragmented means nothing.
TEST(Coalesce, WithDontFragmentAnyIdWillDo) {
  const Recipe r;
  auto segments = train(r, 3, 1000);
  for (std::size_t i = 0; i < 3; ++i) {
    put16(segments[i], r.l3() + 4, 77 * i * i);
    reseal(segments[i], r);
  }
  Lot lot;
  for (const Bytes& s : segments) lot.add(s);
  EXPECT_EQ(lot.join().size(), 1u);
}

TEST(Coalesce, FramesWithAnOddNumberOfBytesInEachPartAreSummedRight) {
  for (std::size_t piece : {1u, 3u, 7u, 255u}) {
    Lot lot;
    for (const Bytes& s : train({}, 2, 200 + piece)) lot.add(s, {}, piece);
    EXPECT_EQ(lot.join().size(), 1u) << piece;
  }
}

/// One way in which a second frame differs from one that could be joined.
struct Rule {
  std::string name;
  Recipe recipe;
  std::function<void(Bytes&, const Recipe&)> change;
  bool seal = true;  ///< put lengths and checksums right afterwards
};

std::ostream& operator<<(std::ostream& out, const Rule& r) {
  return out << r.name;
}

Recipe v4() {
  return {};
}

Recipe v4_fragile() {
  Recipe r;
  r.df = false;
  return r;
}

Recipe v6() {
  Recipe r;
  r.v6 = true;
  return r;
}

Recipe tagged() {
  Recipe r;
  r.tags = 2;
  return r;
}

Recipe stamped() {
  Recipe r;
  r.tcp_options = 12;
  return r;
}

/// Changes the low bit of the byte `at` bytes behind a header.
auto in_l2(std::size_t at) {
  return [=](Bytes& b, const Recipe&) { b[at] ^= 1; };
}
auto in_l3(std::size_t at, unsigned bit = 1) {
  return [=](Bytes& b, const Recipe& r) { b[r.l3() + at] ^= static_cast<std::uint8_t>(bit); };
}
auto in_l4(std::size_t at, unsigned bit = 1) {
  return [=](Bytes& b, const Recipe& r) { b[r.l4() + at] ^= static_cast<std::uint8_t>(bit); };
}
auto seq(int by) {
  return [=](Bytes& b, const Recipe& r) {
    put32(b, r.l4() + 4, get32(b, r.l4() + 4) + static_cast<std::uint32_t>(by));
  };
}
auto size(int by) {
  return [=](Bytes& b, const Recipe&) {
    b.resize(static_cast<std::size_t>(static_cast<std::ptrdiff_t>(b.size()) + by));
  };
}

const Rule kRules[] = {
    {"destination", v4(), in_l2(5)},
    {"source", v4(), in_l2(6)},
    {"outer_tag", tagged(), in_l2(15)},
    {"outer_tag_priority", tagged(), in_l2(14)},
    {"inner_tag", tagged(), in_l2(19)},
    {"tag_type", tagged(), [](Bytes& b, const Recipe&) { put16(b, 12, 0x8100); }},
    {"tag_missing", tagged(),
     [](Bytes& b, const Recipe& r) {
       b.erase(b.begin() + 12, b.begin() + 16);
       Recipe other = r;
       other.tags = 1;
       reseal(b, other);
     },
     false},
    {"v6_l2_destination", v6(), in_l2(0)},
    {"v6_l2_source", v6(), in_l2(11)},
    {"v4_tos", v4(), in_l3(1)},
    {"v4_id", v4_fragile(), in_l3(5)},
    {"v4_id_the_same", v4_fragile(),
     [](Bytes& b, const Recipe& r) { put16(b, r.l3() + 4, get16(b, r.l3() + 4) - 1); }},
    {"v4_df_taken", v4(), in_l3(6, 0x40)},
    {"v4_df_added", v4_fragile(), in_l3(6, 0x40)},
    {"v4_reserved_bit", v4(), in_l3(6, 0x80)},
    {"v4_more_fragments", v4_fragile(), in_l3(6, 0x20)},
    {"v4_fragment_offset", v4_fragile(), in_l3(7)},
    {"v4_ttl", v4(), in_l3(8)},
    {"v4_protocol", v4(), in_l3(9)},
    {"v4_source", v4(), in_l3(12)},
    {"v4_destination", v4(), in_l3(19)},
    {"v4_checksum", v4(), in_l3(10), false},
    {"v4_length_too_small", v4(),
     [](Bytes& b, const Recipe& r) {
       reseal(b, r);
       b.push_back(0);  // as the padding of a short frame
     },
     false},
    {"v4_length_too_large", v4(),
     [](Bytes& b, const Recipe& r) {
       reseal(b, r);
       b.pop_back();
     },
     false},
    {"v6_class", v6(), in_l3(0)},
    {"v6_flow_label", v6(), in_l3(3)},
    {"v6_next_header", v6(), in_l3(6)},
    {"v6_hop_limit", v6(), in_l3(7)},
    {"v6_source", v6(), in_l3(8)},
    {"v6_destination", v6(), in_l3(39)},
    {"v6_length_too_small", v6(),
     [](Bytes& b, const Recipe& r) {
       reseal(b, r);
       b.push_back(0);
     },
     false},
    {"source_port", v4(), in_l4(1)},
    {"destination_port", v4(), in_l4(3)},
    {"v6_source_port", v6(), in_l4(0)},
    {"v6_destination_port", v6(), in_l4(3)},
    {"sequence_gap", v4(), seq(1)},
    {"sequence_overlap", v4(), seq(-1)},
    {"sequence_repeated", v4(), seq(-1000)},
    {"acknowledgement", v4(), in_l4(11)},
    {"acknowledgement_first_byte", v4(), in_l4(8)},
    {"reserved_bits", v4(), in_l4(12)},
    {"header_length", stamped(), in_l4(12, 0x10)},
    {"header_too_short", v4(), in_l4(12, 0x10)},
    {"flag_fin", v4(), in_l4(13, kTcpFin)},
    {"flag_syn", v4(), in_l4(13, kTcpSyn)},
    {"flag_rst", v4(), in_l4(13, kTcpRst)},
    {"flag_urg", v4(), in_l4(13, kTcpUrg)},
    {"flag_ece", v4(), in_l4(13, kTcpEce)},
    {"flag_cwr", v4(), in_l4(13, kTcpCwr)},
    {"flag_ack_missing", v4(), in_l4(13, kTcpAck)},
    {"window", v4(), in_l4(14)},
    {"window_low_byte", v4(), in_l4(15)},
    {"urgent_pointer", v4(), in_l4(18)},
    {"urgent_pointer_low_byte", v4(), in_l4(19)},
    {"options_first_byte", stamped(), in_l4(20)},
    {"options_last_byte", stamped(), in_l4(31)},
    {"larger", v4(), size(1)},
    {"empty", v4(), size(-1000)},
    {"tcp_checksum", v4(), in_l4(16), false},
    {"v6_tcp_checksum", v6(), in_l4(17), false},
    {"payload_damaged", v4(), [](Bytes& b, const Recipe&) { b.back() ^= 1; }, false},
    {"payload_damaged_in_head", v6(), [](Bytes& b, const Recipe& r) { b[r.start()] ^= 1; }, false},
};

class CoalesceRule : public ::testing::TestWithParam<Rule> {};

TEST_P(CoalesceRule, ForbidsAJoin) {
  const Rule& rule = GetParam();
  auto segments = train(rule.recipe, 2, 1000);
  {
    Lot same;
    for (const Bytes& s : segments) same.add(s);
    ASSERT_EQ(same.join().size(), 1u) << "but for the rule they could be joined";
  }
  Lot lot;
  rule.change(segments[1], rule.recipe);
  if (rule.seal) reseal(segments[1], rule.recipe);
  for (const Bytes& s : segments) lot.add(s);
  EXPECT_TRUE(lot.untouched());
}

INSTANTIATE_TEST_SUITE_P(Each, CoalesceRule, ::testing::ValuesIn(kRules),
                         [](const auto& i) { return i.param.name; });

TEST(Coalesce, IpOptionsForbidAJoin) {
  Recipe r;
  r.ip_options = 4;
  Lot lot;
  for (const Bytes& s : train(r, 2, 1000)) lot.add(s);
  EXPECT_TRUE(lot.untouched());
}

/// What is no plain TCP segment is not joined to its like either, whatever its sender vouches for.
TEST(Coalesce, WhatIsNoPlainSegmentIsNotJoinedToItsLike) {
  const auto length = [](int by) {
    return [=](Bytes& b, const Recipe& r) {
      const std::size_t at = r.l3() + (r.v6 ? 4 : 2);
      put16(b, at, get16(b, at) + static_cast<std::size_t>(by));
      if (r.v6) return;
      put16(b, r.l3() + 10, 0);
      put16(b, r.l3() + 10, ~naive_sum(b, r.l3(), r.l4()) & 0xffff);
    };
  };
  struct Case {
    std::string name;
    Recipe recipe;
    std::function<void(Bytes&, const Recipe&)> change;
    bool seal = true;
  };
  std::vector<Case> cases = {
      {"more fragments", v4_fragile(), in_l3(6, 0x20)},
      {"fragment offset", v4_fragile(), in_l3(7)},
      {"reserved bit", v4(), in_l3(6, 0x80)},
      {"header too short", v4(),
       [](Bytes& b, const Recipe& r) { in_l4(12, 0x10)(b, r), b.resize(b.size() - 4); }},
      {"header longer than the frame", v4(),
       [](Bytes& b, const Recipe& r) { b.resize(r.start() + 4), b[r.l4() + 12] = 0xf0; }},
      {"no flags", v4(), in_l4(13, kTcpAck)},
      {"v4 too short", v4(), length(-1), false},
      {"v4 too long", v4(), length(1), false},
      {"v6 too short", v6(), length(-1), false},
      {"v6 too long", v6(), length(1), false},
  };
  for (const std::uint8_t next : std::initializer_list<std::uint8_t>{0, 43, 44, 51, 60})
    cases.push_back({"next header " + std::to_string(next), v6(),
                     [=](Bytes& b, const Recipe& r) { b[r.l3() + 6] = next; }});
  for (const std::uint8_t flag : {kTcpFin, kTcpSyn, kTcpRst, kTcpUrg, kTcpEce, kTcpCwr})
    cases.push_back({"flag " + std::to_string(flag), v4(), in_l4(13, flag)});
  Offload vouched;
  vouched.flags = kDataValid;
  for (const Case& c : cases) {
    auto segments = train(c.recipe, 2, 1000);
    Lot lot, good;
    for (const Bytes& s : segments) good.add(s, vouched);
    EXPECT_EQ(good.join().size(), 1u);
    for (Bytes& s : segments) {
      c.change(s, c.recipe);
      if (c.seal) seal(s, c.recipe);
      lot.add(s, vouched);
    }
    EXPECT_TRUE(lot.untouched()) << c.name;
  }
}

TEST(Coalesce, AFrameWhosePartsAreNotItsLengthIsLeftAlone) {
  Lot lot;
  Offload vouched;
  vouched.flags = kDataValid;
  for (const Bytes& s : train({}, 2, 1000)) lot.add(s, vouched).body = {};
  const Frame* const* in = lot.in().data();
  Coalescer coalescer;
  const auto out = coalescer.join({in, 2}, kTso);
  ASSERT_EQ(out.size(), 2u);
  EXPECT_EQ(out[1], in[1]);
}

TEST(Coalesce, UdpIsNotJoined) {
  Recipe r;
  r.udp = true;
  Lot lot;
  for (const Bytes& s : train(r, 2, 1000)) lot.add(s);
  EXPECT_TRUE(lot.untouched());
}

TEST(Coalesce, OnlyTheLastMayBeShort) {
  const Recipe r;
  auto segments = train(r, 4, 1000);
  segments[1].resize(segments[1].size() - 10);
  reseal(segments[1], r);
  for (std::size_t i : {2u, 3u}) {
    seq(-10)(segments[i], r);
    reseal(segments[i], r);
  }
  Lot lot;
  for (const Bytes& s : segments) lot.add(s);
  const auto out = lot.join();
  ASSERT_EQ(out.size(), 2u);
  EXPECT_TRUE(segmented(*out[0]) == (std::vector<Bytes>{segments[0], segments[1]}));
  EXPECT_TRUE(segmented(*out[1]) == (std::vector<Bytes>{segments[2], segments[3]}));
}

TEST(Coalesce, PushEndsAJoin) {
  const Recipe r;
  for (std::size_t pushed : {0u, 1u}) {
    auto segments = train(r, 4, 1000);
    segments[pushed][r.l4() + 13] |= kTcpPsh;
    reseal(segments[pushed], r);
    Lot lot;
    for (const Bytes& s : segments) lot.add(s);
    const auto out = lot.join();
    ASSERT_EQ(out.size(), 2u) << pushed;
    EXPECT_EQ(out[0]->absorbed, pushed);
    std::vector<Bytes> got = segmented(*out[0]);
    for (Bytes& s : segmented(*out[1])) got.push_back(std::move(s));
    EXPECT_TRUE(got == segments) << pushed;
  }
}

TEST(Coalesce, AFirstFrameWithABadChecksumIsNotJoinedTo) {
  for (std::size_t at : {24u, 50u, 54u, 900u}) {  // IP's, TCP's, payload in the head, behind it
    auto segments = train({}, 3, 1000);
    segments[0][at] ^= 1;
    Lot lot;
    for (const Bytes& s : segments) lot.add(s);
    const auto out = lot.join();
    ASSERT_EQ(out.size(), 2u) << at;
    EXPECT_EQ(out[0], lot.in()[0]) << "it passes as it came";
    EXPECT_EQ(out[1]->absorbed, 1u) << "and the others go their way";
  }
}

TEST(Coalesce, ABadChecksumInTheMiddlePartsWhatIsAroundIt) {
  auto segments = train({}, 5, 1000);
  segments[2][600] ^= 1;
  Lot lot;
  for (const Bytes& s : segments) lot.add(s);
  const auto out = lot.join();
  ASSERT_EQ(out.size(), 3u);
  EXPECT_EQ(out[1], lot.in()[2]);
  EXPECT_EQ(out[0]->absorbed, 1u);
  EXPECT_EQ(out[2]->absorbed, 1u);
}

TEST(Coalesce, AChecksumLeftToDoMustHoldThePseudoHeadersSum) {
  for (const Recipe& recipe : {v4(), v6()}) {
    Recipe r = recipe;
    r.payload = 2000;
    std::mt19937 rng(3);
    auto segments = naive_segments(build(r, rng), r, 1000);
    Lot good, bad;
    for (const Bytes& s : segments) good.add(s, csum_claim(r));
    EXPECT_EQ(good.join().size(), 1u);
    segments[1][r.field()] ^= 1;
    for (const Bytes& s : segments) bad.add(s, csum_claim(r));
    EXPECT_TRUE(bad.untouched());
  }
}

TEST(Coalesce, SegmentationMustBeCompleteAndSaid) {
  Recipe r;
  r.payload = 4000;
  std::mt19937 rng(3);
  const auto halves = naive_segments(build(r, rng), r, 2000);
  const auto untouched = [&](auto change) {
    Lot lot;
    for (Bytes b : halves) {
      Offload o = gso_claim(r, 1000);
      change(b, o);
      lot.add(b, o);
    }
    return lot.untouched();
  };
  EXPECT_FALSE(untouched([](Bytes&, Offload&) {}));
  EXPECT_FALSE(untouched([&](Bytes& b, Offload&) { b[r.field()] ^= 1; }))
      << "each segment's checksum is computed anew";
  EXPECT_TRUE(untouched([](Bytes&, Offload& o) { o.flags = 0; }));
  EXPECT_TRUE(untouched([](Bytes&, Offload& o) { o.gso_size = 0; }));
  EXPECT_TRUE(untouched([](Bytes&, Offload& o) { o.gso_type = kTcp6; }));
  EXPECT_TRUE(untouched([](Bytes&, Offload& o) { o.gso_type = kGsoUdpL4; }));
}

TEST(Coalesce, MetadataThatPointsElsewhereForbidsAJoin) {
  Recipe r;
  r.payload = 2000;
  std::mt19937 rng(3);
  const auto segments = naive_segments(build(r, rng), r, 1000);
  for (bool start : {true, false}) {
    Lot lot;
    for (const Bytes& s : segments) {
      Offload o = csum_claim(r);
      ++(start ? o.csum_start : o.csum_offset);
      lot.add(s, o);
    }
    EXPECT_TRUE(lot.untouched()) << start;
  }
}

TEST(Coalesce, AVouchedForTcpChecksumIsBelievedButNotIps) {
  auto segments = train({}, 2, 1000);
  Offload o;
  o.flags = kDataValid;
  segments[1][800] ^= 1;
  Lot tcp, ip;
  for (const Bytes& s : segments) tcp.add(s, o);
  EXPECT_EQ(tcp.join().size(), 1u);
  segments[1][24] ^= 1;
  for (const Bytes& s : segments) ip.add(s, o);
  EXPECT_TRUE(ip.untouched());
}

/// A flow cut into GSO frames of `unit` times `mss` bytes.
void add_gso(Lot& lot, const Bytes& whole, const Recipe& r, std::size_t mss, std::size_t unit) {
  for (const Bytes& s : naive_segments(whole, r, mss * unit)) {
    Bytes b = s;
    // Each GSO frame takes as many ids as it will have segments.
    const std::size_t i = (get32(b, r.l4() + 4) - get32(whole, r.l4() + 4)) / mss;
    if (!r.v6) put16(b, r.l3() + 4, get16(whole, r.l3() + 4) + i);
    seal(b, r);
    const bool gso = b.size() - r.start() > mss;
    lot.add(b, gso ? gso_claim(r, mss) : csum_claim(r), 999);
  }
}

TEST(Coalesce, SegmentedFramesAreJoinedToo) {
  std::mt19937 rng(5);
  for (int round = 0; round < 500; ++round) {
    Recipe r = random_tcp(rng);
    const std::size_t mss = 1 + rng() % 1460, unit = 1 + rng() % 8;
    r.payload = mss * unit + 1 + rng() % (mss * unit * 4);
    SCOPED_TRACE(r.name() + " mss " + std::to_string(mss) + " x " + std::to_string(unit));
    const Bytes whole = build(r, rng);
    Lot lot;
    add_gso(lot, whole, r, mss, unit);
    const auto out = lot.join();
    ASSERT_EQ(out.size(), 1u);
    EXPECT_TRUE(bytes_of(*out[0]) == whole);
    EXPECT_TRUE(segmented(*out[0]) == completed(naive_segments(whole, r, mss), r));
  }
}

TEST(Coalesce, SingleSegmentsAreJoinedToSegmentedFramesAndTheReverse) {
  const Recipe r;
  const auto segments = train(r, 6, 50);
  for (bool short_first : {true, false}) {
    Lot lot;
    const auto gso = [&](std::size_t from) {
      Bytes b = segments[from];
      for (std::size_t i = from + 1; i < from + 3; ++i)
        b.insert(b.end(), segments[i].begin() + 54, segments[i].end());
      seal(b, r);
      lot.add(b, gso_claim(r, 50));
    };
    if (short_first) lot.add(segments[0]), gso(1), lot.add(segments[4]), lot.add(segments[5]);
    if (!short_first) gso(0), lot.add(segments[3]), lot.add(segments[4]), lot.add(segments[5]);
    const auto out = lot.join();
    ASSERT_EQ(out.size(), 1u) << short_first;
    EXPECT_TRUE(segmented(*out[0]) == segments);
  }
}

TEST(Coalesce, AnotherSegmentSizeForbidsAJoin) {
  Recipe r;
  r.payload = 4000;
  std::mt19937 rng(6);
  const auto halves = naive_segments(build(r, rng), r, 2000);
  Lot lot, longer;
  lot.add(halves[0], gso_claim(r, 1000));
  lot.add(halves[1], gso_claim(r, 500));
  EXPECT_TRUE(lot.untouched());
  longer.add(halves[0], gso_claim(r, 1000));
  longer.add(halves[1], csum_claim(r));
  EXPECT_TRUE(longer.untouched()) << "one of 2000 bytes is no segment of 1000";
}

TEST(Coalesce, ASegmentedFrameWithAShortTailEndsAJoin) {
  Recipe r;
  r.payload = 3500;
  std::mt19937 rng(6);
  const auto frames = naive_segments(build(r, rng), r, 1750);
  Lot lot;
  for (const Bytes& f : frames) lot.add(f, gso_claim(r, 1000));
  EXPECT_TRUE(lot.untouched());
}

TEST(Coalesce, EcnMarkedSegmentationForbidsAJoin) {
  Recipe r;
  r.payload = 4000;
  std::mt19937 rng(6);
  const auto halves = naive_segments(build(r, rng), r, 2000);
  Lot lot;
  Offload o = gso_claim(r, 1000);
  lot.add(halves[0], o);
  o.gso_type |= kEcn;
  lot.add(halves[1], o);
  EXPECT_TRUE(lot.untouched());
}

// virtio 1.2, 5.1.6.3.1 has drivers make room for 65,550 bytes and a header, tags or no tags.
TEST(Coalesce, TheResultIsAtMost64KiB) {
  for (unsigned tags : {0u, 1u, 2u})
    for (int above : {0, 1}) {
      Recipe r;
      r.tags = tags;
      const std::size_t room = 65549 - r.start();
      const std::size_t mss = 2000, full = room / mss;
      auto segments = train(r, full + 1, mss);
      segments[full].resize(r.start() + room % mss + static_cast<std::size_t>(above));
      reseal(segments[full], r);
      Lot lot;
      for (const Bytes& s : segments) lot.add(s);
      const auto out = lot.join();
      ASSERT_EQ(out.size(), 1u + static_cast<unsigned>(above)) << tags;
      EXPECT_EQ(out[0]->len, above ? r.start() + full * mss : Coalescer::kMaxLen);
    }
}

TEST(Coalesce, TheResultHasNoMoreSegmentsThanASegmenterMakes) {
  for (std::size_t mss : {20u, 21u}) {
    Recipe r;
    r.payload = mss * kMaxSegments + mss;
    std::mt19937 rng(9);
    const Bytes whole = build(r, rng);
    Lot lot;
    add_gso(lot, whole, r, mss, kMaxSegments / 4);
    const auto out = lot.join();
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ(segmented(*out[0]).size(), kMaxSegments);
  }
}

TEST(Coalesce, PartsAreBounded) {
  Lot lot;
  const auto segments = train({}, 8, 1128);  // 1054 bytes behind the head
  for (const Bytes& s : segments) lot.add(s, {}, 8);
  const auto out = lot.join();
  EXPECT_EQ(out.size(), 6u) << "132 parts each: three fit, the others have none left";
  EXPECT_EQ(out[0]->absorbed, 2u);
  std::vector<Bytes> got;
  for (const Frame* f : out)
    for (Bytes& s : segmented(*f)) got.push_back(std::move(s));
  EXPECT_TRUE(got == segments);
}

TEST(Coalesce, MoreFramesThanABurstHoldsPass) {
  Lot lot;
  for (const Bytes& s : train({}, Burst::kFrames + 1, 100)) lot.add(s);
  EXPECT_TRUE(lot.untouched());
}

TEST(Coalesce, AWholeBurstIsOneFrame) {
  Lot lot;
  for (const Bytes& s : train({}, Burst::kFrames, 1000)) lot.add(s);
  const auto out = lot.join();
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0]->absorbed, Burst::kFrames - 1);
}

TEST(Coalesce, ServesPortsThatTakeChecksumsAndSegmentation) {
  EXPECT_TRUE(Coalescer::serves(kTso));
  EXPECT_TRUE(Coalescer::serves({.csum = true, .tso4 = true}));
  EXPECT_TRUE(Coalescer::serves({.csum = true, .tso6 = true}));
  EXPECT_FALSE(Coalescer::serves({.csum = true, .ecn = true, .uso = true}));
  EXPECT_FALSE(Coalescer::serves({.tso4 = true, .tso6 = true}));
}

TEST(Coalesce, AnAddressFamilyThatThePortDoesNotTakePasses) {
  for (const Recipe& r : {v4(), v6()}) {
    Lot lot;
    for (const Bytes& s : train(r, 2, 1000)) lot.add(s);
    EXPECT_TRUE(lot.untouched({.csum = true, .tso4 = r.v6, .tso6 = !r.v6}));
    EXPECT_EQ(lot.join({.csum = true, .tso4 = !r.v6, .tso6 = r.v6}).size(), 1u);
  }
}

/// What lies between two segments of a flow, and whether it keeps them apart.
struct Between {
  std::string name;
  Recipe recipe;
  bool parts;
  std::function<Bytes(Bytes, const Recipe&)> make;  ///< out of the flow's third segment
};

std::ostream& operator<<(std::ostream& out, const Between& b) {
  return out << b.name;
}

auto changed(std::function<void(Bytes&, const Recipe&)> change) {
  return [=](Bytes b, const Recipe& r) {
    change(b, r);
    reseal(b, r);
    return b;
  };
}

const Between kBetween[] = {
    {"fin", v4(), true, changed(in_l4(13, kTcpFin))},
    {"pure_acknowledgement", v4(), true, changed(size(-1000))},
    {"other_tag", tagged(), true, changed(in_l2(15))},
    {"padded", v4(), true, [](Bytes b, const Recipe&) { return b.push_back(0), b; }},
    {"header_too_short", v4(), true, changed(in_l4(12, 0x10))},
    {"fragment", v4(), true, changed(in_l3(6, 0x20))},
    {"later_fragment", v4(), true, changed([](Bytes& b, const Recipe& r) {
       in_l3(7, 0x80)(b, r);
       in_l4(0)(b, r);  // payload where the ports would be
     })},
    {"ip_options", v4(), true, changed(in_l3(0, 2))},
    {"extension_header", v6(), true, changed([](Bytes& b, const Recipe& r) {
       in_l3(6, kProtoTcp)(b, r);
       in_l4(0)(b, r);
     })},
    {"one_tag_less", tagged(), true,
     [](Bytes b, const Recipe&) { return b.erase(b.begin() + 12, b.begin() + 16), b; }},
    {"other_v4_address", v4(), false, changed(in_l3(13))},
    {"other_port", v4(), false, changed(in_l4(0))},
    {"other_address", v6(), false, changed(in_l3(20))},
    {"udp", v4(), false, changed(in_l3(9, kProtoTcp ^ kProtoUdp))},
    {"udp6", v6(), false, changed(in_l3(6, kProtoTcp ^ kProtoUdp))},
    {"icmp6", v6(), false, changed(in_l3(6, kProtoTcp ^ kProtoIcmp6))},
    {"not_ip", v4(), false, changed([](Bytes& b, const Recipe&) { put16(b, 12, kEtherArp); })},
    {"runt", v4(), false, [](Bytes, const Recipe&) { return Bytes(14); }},
};

class CoalesceOrder : public ::testing::TestWithParam<Between> {};

TEST_P(CoalesceOrder, IsKeptWithinAFlow) {
  const Between& between = GetParam();
  const auto segments = train(between.recipe, 3, 1000);
  Lot lot;
  lot.add(segments[0]);
  const Frame& other = lot.add(between.make(segments[2], between.recipe));
  lot.add(segments[1]);
  if (between.parts) {
    EXPECT_TRUE(lot.untouched());
  } else {
    const auto out = lot.join();
    ASSERT_EQ(out.size(), 2u);
    EXPECT_EQ(out[0]->absorbed, 1u);
    EXPECT_EQ(out[1], &other);
  }
}

INSTANTIATE_TEST_SUITE_P(Each, CoalesceOrder, ::testing::ValuesIn(kBetween),
                         [](const auto& i) { return i.param.name; });

TEST(Coalesce, SeveralFlowsAreJoinedSideBySide) {
  for (std::size_t flows : {Coalescer::kOpen, Coalescer::kOpen + 1}) {
    Lot lot;
    std::vector<std::vector<Bytes>> trains;
    for (std::size_t f = 0; f < flows; ++f)
      trains.push_back(train({}, 3, 500, static_cast<unsigned>(f)));
    for (std::size_t i = 0; i < 3; ++i)
      for (const auto& t : trains) lot.add(t[i]);
    if (flows > Coalescer::kOpen) {
      EXPECT_TRUE(lot.untouched()) << "each flow's turn closes the flow whose turn is next";
      continue;
    }
    const auto out = lot.join();
    ASSERT_EQ(out.size(), flows);
    for (std::size_t f = 0; f < flows; ++f) EXPECT_TRUE(segmented(*out[f]) == trains[f]);
  }
}

TEST(Coalesce, TheFlowOpenedFirstMakesWay) {
  Lot lot;
  const auto a = train({}, 2, 500, 100), b = train({}, 2, 500, 101);
  lot.add(a[0]);
  lot.add(b[0]);
  for (unsigned f = 0; f < Coalescer::kOpen - 1; ++f) lot.add(train({}, 1, 500, f)[0]);
  lot.add(a[1]);
  lot.add(b[1]);
  const auto out = lot.join();
  EXPECT_EQ(out[0]->absorbed, 0u);
}

/// Senders of a burst for the random test: each knows what it sent.
class Sender {
 public:
  Sender(std::mt19937& rng, std::uint16_t port) : rng_(rng), r_(random_tcp(rng)) {
    r_.flags = kTcpAck;
    mss_ = 1 + rng() % (rng() % 2 ? 1460 : 100);
    r_.payload = mss_;
    model_ = build(r_, rng);
    put16(model_, r_.l4(), port);
  }
  /// The next frame, most often one that follows on.
  void send(Lot& lot) {
    Bytes b = model_;
    Offload o;
    const auto kind = rng_() % 16;
    std::size_t n = mss_, segments = 1;
    if (kind == 0) n = 1 + rng_() % mss_;
    if (kind == 1) segments = 2 + rng_() % 5, n = mss_ * segments - rng_() % mss_;
    if (kind == 2) n = 0;
    b.resize(r_.start() + n);
    for (std::size_t i = r_.start(); i < b.size(); ++i) b[i] = static_cast<std::uint8_t>(rng_());
    std::uint8_t& flags = b[r_.l4() + 13];
    if (rng_() % 10 == 0) flags |= kTcpPsh;
    if (kind == 3) flags |= static_cast<std::uint8_t>(1u << rng_() % 8);
    seal(b, r_);
    const bool gso = n > mss_;
    const bool left_to_do = gso || rng_() % 3 == 0;
    if (gso) {
      Recipe r = r_;
      r.flags = flags;
      o = gso_claim(r, mss_);
    } else if (left_to_do) {
      o = csum_claim(r_);
    } else {
      naive_complete(b, r_);
      if (rng_() % 2) o.flags = kDataValid;
    }
    if (kind == 4 && !left_to_do) {
      b[r_.l4() + 16] ^= 0x55;
      o = {};
    }
    if (kind == 5) seq(static_cast<int>(rng_() % 3000) - 1500)(model_, r_);
    if (kind == 6) model_[r_.l4() + 15] ^= 1;
    Frame& f = lot.add(b, o, 1 + rng_() % 900);
    ASSERT_TRUE(check_offload(f));
    if (kind != 7) seq(static_cast<int>(n))(model_, r_);
    if (!r_.v6) put16(model_, r_.l3() + 4, get16(model_, r_.l3() + 4) + segments);
  }

 private:
  std::mt19937& rng_;
  Recipe r_;
  std::size_t mss_;
  Bytes model_;
};

TEST(Coalesce, RandomBurstsGiveEachFlowItsFramesInOrder) {
  std::mt19937 rng(11);
  std::size_t absorbed = 0;
  for (int round = 0; round < 1000; ++round) {
    SCOPED_TRACE(round);
    std::vector<Sender> senders;
    const std::size_t flows = 1 + rng() % 12;
    for (std::size_t i = 0; i < flows; ++i)
      senders.emplace_back(rng, static_cast<std::uint16_t>(1000 + i));
    Lot lot;
    std::size_t turn = 0;
    while (lot.in().size() < Burst::kFrames) {
      if (rng() % 3 == 0) turn = rng() % flows;
      senders[turn].send(lot);
    }
    const auto out = lot.join();
    // What a receiver without offloads gets of each flow, with and without a join on the way.
    const auto received = [&](std::span<const Frame* const> frames) {
      std::map<Bytes, std::vector<Bytes>> got;
      for (const Frame* f : frames) {
        auto& list = got[Bytes(f->head.begin(), f->head.begin() + 12)];
        for (Bytes& b : segmented(*f)) list.push_back(std::move(b));
      }
      return got;
    };
    ASSERT_TRUE(received(out) == received(lot.in()));
    for (const Frame* f : out) absorbed += f->absorbed;
  }
  EXPECT_GT(absorbed, 1000u * Burst::kFrames / 4) << "it joins what it can";
}

}  // namespace
}  // namespace rp::sw
