// SPDX-License-Identifier: BSD-3-Clause
// segment_sizes.cc - the longest TCP segments that guests take, as their SYNs say.
#include "slirp/segment_sizes.h"

#include <algorithm>

namespace rp::slirp {
namespace {

/// Linux's least (net.ipv4.tcp_min_snd_mss): a guest must not have a segment cut into dust.
constexpr std::uint16_t kLeast = 48;

}  // namespace

void SegmentSizes::stated(const Connection& of, std::uint16_t mss) noexcept {
  slots_[of.hash() % kSlots] = {of, mss == 0 ? mss : std::max(mss, kLeast)};
}

std::uint16_t SegmentSizes::of(const Connection& connection) const noexcept {
  const Slot& slot = slots_[connection.hash() % kSlots];
  return slot.of == connection ? slot.mss : std::uint16_t{0};
}

}  // namespace rp::slirp
