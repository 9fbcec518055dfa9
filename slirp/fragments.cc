// SPDX-License-Identifier: BSD-3-Clause
// fragments.cc - follows IPv4 datagrams that come in fragments.
#include "slirp/fragments.h"

#include <algorithm>

namespace rp::slirp {

Fragments::Slot* Fragments::slot_for(sw::PortId port, const Key& key, Instant now) noexcept {
  Slot* free = nullptr;
  std::size_t of_port = 0;
  for (Slot& s : *slots_) {
    if (s.used && now - s.born >= kForgets) s.used = false;
    if (!s.used) {
      free = &s;
    } else if (s.key == key) {
      return s.port == port ? &s : nullptr;
    } else {
      of_port += s.port == port;
    }
  }
  if (!free || of_port >= kPerPort) return nullptr;
  free->used = true;
  free->dead = false;
  free->port = port;
  free->key = key;
  free->born = now;
  free->pieces = 0;
  free->total = free->claimed = free->end = free->bytes = 0;
  free->have.reset();
  return free;
}

bool Fragments::add(Slot& s, const Piece& p) noexcept {
  const std::uint32_t end = p.offset + p.len;
  if (++s.pieces > kMaxPieces) return false;
  if (p.offset == 0) s.claimed = p.claimed;
  if (!p.more) {
    if (s.total != 0 || end < s.end) return false;
    s.total = end;
  }
  s.end = std::max(s.end, end);
  if (s.total != 0 && s.end > s.total) return false;
  if (s.claimed != 0 && s.end > s.claimed) return false;
  // Also true of duplicates: RFC 5722 section 4 drops the whole datagram, and so does this.
  for (std::uint32_t unit = p.offset / 8; unit < (end + 7) / 8; ++unit) {
    if (s.have.test(unit)) return false;
    s.have.set(unit);
  }
  s.bytes += p.len;
  return true;
}

bool Fragments::admit(sw::PortId port, const Key& key, const Piece& piece, Instant now) noexcept {
  const bool sound = piece.len != 0 && piece.offset <= kMaxPayload && piece.offset % 8 == 0 &&
                     piece.len <= kMaxPayload - piece.offset && (!piece.more || piece.len % 8 == 0);
  Slot* slot = nullptr;
  if (sound) {
    slot = slot_for(port, key, now);
  } else {  // takes no slot, but spoils the datagram when it is known
    for (Slot& s : *slots_)
      if (s.used && s.port == port && s.key == key) s.dead = true;
  }
  if (!slot || slot->dead) return false;
  const bool first = slot->pieces == 0;
  const bool in_turn = !first || piece.offset == 0;
  bool ok = in_turn && now - slot->born < kAccepts && add(*slot, piece);
  const bool complete = slot->total != 0 && slot->bytes == slot->total;
  if (complete && slot->claimed != 0 && slot->claimed != slot->total) ok = false;
  slot->dead = !ok;
  if (ok ? complete : first) slot->used = false;  // libslirp holds nothing of it
  return ok;
}

bool Fragments::pending(Instant now) const noexcept {
  return std::any_of(slots_->begin(), slots_->end(),
                     [now](const Slot& s) { return s.used && now - s.born < kForgets; });
}

}  // namespace rp::slirp
