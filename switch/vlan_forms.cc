// SPDX-License-Identifier: BSD-3-Clause
// vlan_forms.cc - moves the 4 bytes of a tag in or out between head and body.
#include "switch/vlan_forms.h"

#include <algorithm>
#include <cstring>

namespace rp::sw {
namespace {

constexpr std::size_t kTagAt = 2 * sizeof(Mac);
/// The ethertype 0x8100 and the TCI; the type that follows takes the old one's place.
constexpr std::size_t kTag = 4;
/// The bits of a TCI that are no VID.
constexpr std::uint16_t kPriority = 0xf000;

}  // namespace

VlanForms::VlanForms() : parts_(2 * (Burst::kParts + Burst::kFrames)) {}

const Frame& VlanForms::untagged(const Frame& f, std::size_t i) noexcept {
  Frame& out = untagged_[i];
  if (made_untagged_[i]) return out;
  made_untagged_.set(i);
  remake(f, out, tagging_of(f).kind == Tagging::Kind::none ? 0 : kTag, 0);
  return out;
}

const Frame& VlanForms::tagged(const Frame& f, std::size_t i, std::uint16_t vid) noexcept {
  Frame& out = tagged_[i];
  if (made_tagged_[i]) return out;
  made_tagged_.set(i);
  const bool has = tagging_of(f).kind != Tagging::Kind::none;
  remake(f, out, 0, has ? 0 : kTag);
  Be16 words[2];
  std::memcpy(words, out.head.data() + kTagAt, sizeof words);
  const std::uint16_t keep = has ? words[1].get() & kPriority : 0;
  words[0] = Be16(kEtherVlan);
  words[1] = Be16(static_cast<std::uint16_t>(keep | vid));
  std::memcpy(out.head.data() + kTagAt, words, sizeof words);
  return out;
}

void VlanForms::remake(const Frame& f, Frame& out, std::size_t drop, std::size_t insert) noexcept {
  out.ingress = f.ingress;
  out.absorbed = f.absorbed;
  out.offload = f.offload;
  const auto shift = [&](std::uint16_t& offset) {
    if (offset != 0) offset = static_cast<std::uint16_t>(offset + insert - drop);
  };
  if (f.offload.needs_csum()) shift(out.offload.csum_start);
  shift(out.offload.hdr_len);
  out.len = static_cast<std::uint32_t>(f.len + insert - drop);
  out.head_len = std::min(out.len, Frame::kHead);

  // The head up to the tag's place, a gap for a new tag, then what followed.
  std::memcpy(out.head.data(), f.head.data(), kTagAt);
  std::size_t from = kTagAt + drop, to = kTagAt + insert;
  const std::size_t n = std::min<std::size_t>(out.head_len - to, f.head_len - from);
  std::memcpy(out.head.data() + to, f.head.data() + from, n);
  from += n, to += n;

  Part* const first = parts_.data() + parts_used_;
  Part* next = first;
  if (from < f.head_len)
    *next++ = {f.head.data() + from, static_cast<std::uint32_t>(f.head_len - from)};
  for (Part p : f.body) {
    const auto fill = std::min<std::uint32_t>(p.len, static_cast<std::uint32_t>(out.head_len - to));
    std::memcpy(out.head.data() + to, p.data, fill);
    to += fill;
    if (p.len > fill) *next++ = {p.data + fill, p.len - fill};
  }
  out.body = {first, next};
  parts_used_ += out.body.size();
}

}  // namespace rp::sw
