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
  slots_[of.hash() % kSlots] = {of, mss == 0 ? mss : std::max(mss, kLeast), false, 0, 0};
}

std::uint16_t SegmentSizes::of(const Connection& connection) const noexcept {
  const Slot& slot = slots_[connection.hash() % kSlots];
  return slot.of == connection ? slot.mss : std::uint16_t{0};
}

void SegmentSizes::offered(const Connection& of, const sw::TcpHeader& tcp) noexcept {
  constexpr std::uint8_t kSynAck = sw::kTcpSyn | sw::kTcpAck;
  if ((tcp.flags & kSynAck) != kSynAck) return;
  Slot& slot = slots_[of.hash() % kSlots];
  if (slot.of != of) return;
  slot.offered = true;
  slot.seq = tcp.ack.get();
  slot.ack = tcp.seq.get() + 1;
}

bool SegmentSizes::ends_handshake(const Connection& of, const sw::TcpHeader& tcp) noexcept {
  if ((tcp.flags & (sw::kTcpSyn | sw::kTcpRst | sw::kTcpAck)) != sw::kTcpAck) return false;
  Slot& slot = slots_[of.hash() % kSlots];
  if (!slot.offered || slot.of != of || slot.seq != tcp.seq.get() || slot.ack != tcp.ack.get())
    return false;
  slot.offered = false;
  return true;
}

}  // namespace rp::slirp
