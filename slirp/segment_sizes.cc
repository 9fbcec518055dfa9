// SPDX-License-Identifier: BSD-3-Clause
// segment_sizes.cc - the longest TCP segments that guests take, as their SYNs say.
#include "slirp/segment_sizes.h"

namespace rp::slirp {
namespace {

/// Modulo 2^32, RFC 9293 3.4.
bool at_least(std::uint32_t seq, std::uint32_t than) noexcept {
  return static_cast<std::int32_t>(seq - than) >= 0;
}

}  // namespace

SegmentSizes::Slot* SegmentSizes::find(const Connection& connection) noexcept {
  Slot& slot = slots_[connection.hash() % kSlots];
  return slot.of == connection ? &slot : nullptr;
}

void SegmentSizes::stated(const Connection& of, std::uint16_t mss) noexcept {
  Slot& slot = slots_[of.hash() % kSlots];
  slot = {};
  slot.of = of;
  slot.mss = mss;
}

std::uint16_t SegmentSizes::of(const Connection& connection) const noexcept {
  const Slot& slot = slots_[connection.hash() % kSlots];
  return slot.of == connection ? slot.mss : std::uint16_t{0};
}

void SegmentSizes::offered(const Connection& of, const sw::TcpHeader& tcp) noexcept {
  constexpr std::uint8_t kSynAck = sw::kTcpSyn | sw::kTcpAck;
  if ((tcp.flags & kSynAck) != kSynAck) return;
  Slot* slot = find(of);
  if (!slot || slot->handshake == Handshake::over) return;
  slot->handshake = Handshake::offered;
  slot->seq = tcp.ack.get();
  slot->ack = tcp.seq.get() + 1;
}

// libslirp takes any segment in its window for the end, and sends right after it; so the first one
// decides, whatever its numbers.
bool SegmentSizes::ends_handshake(const Connection& of, const sw::TcpHeader& tcp) noexcept {
  if (!(tcp.flags & sw::kTcpAck)) return false;
  Slot* slot = find(of);
  if (!slot || slot->handshake != Handshake::offered) return false;
  slot->handshake = Handshake::over;
  return !(tcp.flags & (sw::kTcpSyn | sw::kTcpRst)) && slot->seq == tcp.seq.get() &&
         slot->ack == tcp.ack.get();
}

bool SegmentSizes::resent(const Connection& of, const sw::TcpHeader& tcp,
                          std::uint32_t data) noexcept {
  Slot* slot = find(of);
  if (!slot) return false;
  const std::uint32_t end = tcp.seq.get() + data;
  if (slot->long_sent && at_least(slot->last_long, end)) return true;
  if (!slot->long_sent) slot->first_long = end;
  slot->last_long = end;
  slot->long_sent = true;
  return false;
}

bool SegmentSizes::took_long(const Connection& of, const sw::TcpHeader& tcp) noexcept {
  const Slot* slot = find(of);
  return slot && slot->long_sent && at_least(tcp.ack.get(), slot->first_long);
}

}  // namespace rp::slirp
