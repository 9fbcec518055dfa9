// SPDX-License-Identifier: BSD-3-Clause
// offload.cc - a frame and a virtio_net_hdr that claims something of it, checked and finished.
//
// Invariant: what check_offload() lets through is, once finished, byte by byte what a naive twin
// makes of it, for a port that takes nothing and for one that takes checksums.
#include "switch/offload.h"

#include <cstring>
#include <random>

#include "fuzz/harness.h"
#include "switch/flow.h"
#include "tests/switch/packets.h"

namespace {

using namespace rp;
using fuzz::Input;
using test::Bytes;

test::Recipe recipe_of(Input& in) {
  const unsigned shape = in.byte();
  test::Recipe r;
  r.v6 = shape & 1;
  r.udp = shape & 2;
  r.df = shape & 4;
  r.tags = (shape >> 3) % 3;
  if (!r.v6) r.ip_options = 4 * in.below(11);
  if (!r.udp) r.tcp_options = 4 * in.below(11);
  r.flags = in.byte();
  r.payload = in.u16() % 9000;
  if (shape & 0x80) r.payload = std::min<std::size_t>(65535 - 100, r.payload * 16);
  return r;
}

sw::Offload any_claim(Input& in) {
  sw::Offload o;
  o.flags = in.byte();
  o.gso_type = in.byte();
  o.hdr_len = in.u16();
  o.gso_size = in.u16();
  o.csum_start = in.u16();
  o.csum_offset = in.u16();
  return o;
}

/// The frame's own headers, read afresh: what was checked must be readable as this.
test::Recipe read_back(const Bytes& b, const sw::Offload& o) {
  test::Recipe r;
  while (r.tags < 2 &&
         (test::get16(b, r.l3() - 2) == 0x8100 || test::get16(b, r.l3() - 2) == 0x88a8))
    ++r.tags;
  r.v6 = test::get16(b, r.l3() - 2) == 0x86dd;
  r.udp = o.gso_type == sw::kGsoUdpL4;
  if (!r.v6) r.ip_options = (b[r.l3()] & 15) * 4u - 20;
  r.tcp_options = r.udp ? 0 : (b[r.l4() + 12] >> 4) * 4u - 20;
  r.payload = b.size() - r.start();
  return r;
}

std::vector<Bytes> finished(sw::Segmenter& segmenter, const sw::Frame& f, const sw::Offloads& can) {
  std::vector<Bytes> out;
  const std::size_t made = segmenter.finish(f, can, [&](const sw::Frame& s) {
    RP_CHECK(sw::Segmenter::passes(s.offload, can));
    out.push_back(test::bytes_of(s));
  });
  RP_CHECK(made == out.size() && made >= 1 && made <= sw::kMaxSegments);
  return out;
}

/// Finished in the receiver's own copy, a frame that stays one comes out as this.
void check_as_one(const sw::Frame& f, const Bytes& whole, const Bytes& expected) {
  Bytes copy = whole;
  RP_CHECK(sw::finish_as_one(f, copy) && copy == expected);
}

void check_checksum_only(sw::Segmenter& segmenter, const sw::Frame& f, Bytes whole) {
  const std::size_t start = f.offload.csum_start, field = start + f.offload.csum_offset;
  RP_CHECK(start >= 14 && field + 2 <= whole.size());
  unsigned sum = ~test::naive_sum(whole, start, whole.size()) & 0xffff;
  if (sum == 0 && f.offload.csum_offset == 6) sum = 0xffff;
  test::put16(whole, field, sum);
  const auto out = finished(segmenter, f, {});
  RP_CHECK(out.size() == 1 && out[0] == whole);
  check_as_one(f, test::bytes_of(f), whole);
}

void check_segments(sw::Segmenter& segmenter, const sw::Frame& f, const Bytes& whole) {
  const test::Recipe r = read_back(whole, f.offload);
  RP_CHECK(f.offload.hdr_len == r.start() && f.offload.gso_size != 0);
  RP_CHECK(r.payload > f.offload.gso_size);
  auto expected = test::naive_segments(whole, r, f.offload.gso_size);
  RP_CHECK(finished(segmenter, f, {.csum = true}) == expected);
  RP_CHECK(finished(segmenter, f, {}) == test::completed(std::move(expected), r));
  if (!r.udp)
    check_as_one(f, whole, test::completed(test::naive_segments(whole, r, r.payload), r)[0]);
}

/// Done again, the checksum is all that may have changed.
void check_reopened(sw::Segmenter& segmenter, sw::Frame& f, const Bytes& whole) {
  if (!sw::reopen_checksum(f)) {
    RP_CHECK(test::bytes_of(f) == whole && f.offload.none());
    return;
  }
  RP_CHECK(f.offload.hdr_len <= f.len && sw::check_offload(f));
  const std::size_t field = f.offload.csum_start + f.offload.csum_offset;
  std::vector<Bytes> made = finished(segmenter, f, {});
  RP_CHECK(made.size() == 1 && made[0].size() == whole.size());
  test::put16(made[0], field, test::get16(whole, field));
  RP_CHECK(made[0] == whole);
}

/// The host's own wish comes out as a guest's would.
void check_asked(sw::Segmenter& segmenter, sw::Frame& f, const Bytes& whole, std::uint16_t size) {
  if (!sw::ask_segmentation(f, size)) {
    RP_CHECK(test::bytes_of(f) == whole && f.offload.none());
    return;
  }
  const sw::Offload asked = f.offload;
  RP_CHECK(sw::check_offload(f));
  if (!asked.is_gso()) return;
  RP_CHECK(std::memcmp(&asked, &f.offload, sizeof asked) == 0);
  check_segments(segmenter, f, test::bytes_of(f));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static sw::Segmenter segmenter;
  Input in(data, size);
  Bytes bytes;
  sw::Offload claim;
  const unsigned how = in.byte();
  if (how & 1) {
    const test::Recipe r = recipe_of(in);
    std::mt19937 random(how);
    bytes = test::build(r, random);
    claim = how & 2 ? test::gso_claim(r, in.u16()) : test::csum_claim(r);
    for (unsigned pokes = how >> 4; pokes > 0; --pokes) {
      const std::size_t at = in.byte();
      if (at < bytes.size()) bytes[at] = in.byte();
    }
    if (how & 8) claim = any_claim(in);
  } else {
    claim = any_claim(in);
    bytes = in.bytes(2048);
  }
  test::Held held(std::move(bytes), how & 4 ? 7 : 1 << 20);
  sw::Frame& f = held.frame;
  f.offload = claim;
  if (!sw::check_offload(f) || f.len == 0) return 0;
  const Bytes whole = test::bytes_of(f);
  // Where a flow goes depends on what is in the head alone.
  test::Held again(whole, 1 << 20);
  RP_CHECK(sw::flow_hash(f) == sw::flow_hash(again.frame));
  if (f.offload.none()) {
    RP_CHECK(finished(segmenter, f, {}) == std::vector<Bytes>{whole});
    check_reopened(segmenter, again.frame, whole);
    test::Held uncut(whole, 1 << 20);
    check_asked(segmenter, uncut.frame, whole, in.u16());
  } else if (f.offload.is_gso()) {
    check_segments(segmenter, f, whole);
  } else {
    check_checksum_only(segmenter, f, whole);
  }
  return 0;
}
