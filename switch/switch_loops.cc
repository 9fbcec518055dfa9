// SPDX-License-Identifier: BSD-3-Clause
// switch_loops.cc - the part of the switch that holds ports back which form a loop (loop_guard.h).
#include "switch/switch.h"

namespace rp::sw {

void Switch::give_way(PortId id) noexcept {
  constexpr std::uint64_t kYoungerThanAllOthers = std::uint64_t{1} << 63;
  slots_[port_slot(id)].age |= kYoungerThanAllOthers;
}

/// One round: each port with a link sends its own.
void Switch::send_probes(Instant now) noexcept {
  for (PortId id : live_) {
    Slot& slot = slots_[port_slot(id)];
    if (!passes(slot)) continue;
    touch(slot);
    const Frame* const probe = &guard_.write(id, slot.secret);
    // One that finds no room comes to nothing; the next round has another.
    slot.port->send({&probe, 1}, now);
  }
}

/// A frame that may be a probe. True: it was one of ours, or is no longer anybody's.
bool Switch::take_probe(const Frame& f, Slot& from, Instant now) noexcept {
  const auto probe = guarding_ ? LoopGuard::read(f) : std::nullopt;
  if (!probe) return false;
  if (probe->sender != guard_.id()) {
    guard_.heard_of(probe->sender, now);
    return false;
  }
  const Slot* const left_by = find(probe->port);
  if (!left_by || left_by->secret != probe->secret || left_by->age >= from.age || left_by->held)
    return true;
  if (from.held) {
    from.held_until = now + LoopGuard::kHold;
    from.asked = false;
  } else if (guard_.proves(now)) {
    hold_back(from, *left_by, now);
  }
  return true;
}

void Switch::hold_back(Slot& slot, const Slot& older, Instant now) noexcept {
  slot.held = true;
  slot.asked = false;
  slot.held_for = older.id;
  slot.held_until = now + LoopGuard::kHold;
  ++slot.counters.holds;
  ++held_n_;
  // What was learned there is reached by the other way.
  macs_.forget_learned(slot.id);
  add_addresses(slot);
  if (on_hold_) on_hold_(slot.id, older.id);
}

void Switch::review_held(Instant now) noexcept {
  bool ask = false;
  for (PortId id : live_) {
    Slot& slot = slots_[port_slot(id)];
    if (!slot.held) continue;
    const Slot* const older = find(slot.held_for);
    const bool lasts = guarding_ && older && passes(*older);
    if (lasts && now < slot.held_until) continue;
    if (lasts && !slot.asked) {
      ask = slot.asked = true;
      slot.held_until = now + LoopGuard::kReply;
      continue;
    }
    slot.held = false;
    --held_n_;
  }
  if (ask) send_probes(now);
}

}  // namespace rp::sw
