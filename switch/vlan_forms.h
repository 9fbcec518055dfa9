// SPDX-License-Identifier: BSD-3-Clause
// vlan_forms.h - the frames of a burst with a tag added, taken away or rewritten.
//
// A frame goes out as it came where that is right. Where a port wants it otherwise, the other form
// is made once for all ports that want it: a head of its own, the same body.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "switch/frame.h"

namespace rp::sw {

/// What a frame's outer C-tag says (IEEE 802.1Q-2018, 9.6).
struct Tagging {
  enum class Kind : std::uint8_t {
    none,
    priority,  ///< VID 0: a priority, no VLAN
    vlan
  };
  Kind kind = Kind::none;
  std::uint16_t vid = 0;
};

/// Of a frame that has an Ethernet header. One with a C-tag at its very end, cut before the type
/// that follows, has none.
inline Tagging tagging_of(const Frame& f) noexcept {
  EthHeader eth;
  std::memcpy(&eth, f.head.data(), sizeof eth);
  if (eth.type.get() != kEtherVlan) return {};
  const auto tag = read_at<VlanTag>(f.head_bytes(), sizeof(EthHeader));
  if (!tag) return {};
  const std::uint16_t vid = tag->tci.get() & 0x0fff;
  return {vid ? Tagging::Kind::vlan : Tagging::Kind::priority, vid};
}

class VlanForms {
 public:
  VlanForms();

  /// Forgets what was made.
  void clear() noexcept { made_untagged_ = made_tagged_ = {}, parts_used_ = 0; }

  /// `f`, the burst's frame number `i`, without its tag. Valid until clear(), while f is.
  const Frame& untagged(const Frame& f, std::size_t i) noexcept;
  /// `f` with a tag of `vid`; a tag that it has keeps its priority. The same vid each time.
  const Frame& tagged(const Frame& f, std::size_t i, std::uint16_t vid) noexcept;

 private:
  void remake(const Frame& f, Frame& out, std::size_t drop, std::size_t insert) noexcept;

  std::bitset<Burst::kFrames> made_untagged_, made_tagged_;
  std::array<Frame, Burst::kFrames> untagged_, tagged_;
  std::vector<Part> parts_;
  std::size_t parts_used_ = 0;
};

}  // namespace rp::sw
