// SPDX-License-Identifier: BSD-3-Clause
// mac_table.cc - open addressing with backward-shift deletion and a sweeping hand for stale slots.
#include "switch/mac_table.h"

#include <sys/random.h>

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace rp::sw {
namespace {

constexpr std::uint32_t kMaxEntries = 1u << 20;
/// Slots looked at for stale entries whenever a new address is learned.
constexpr int kSweep = 4;
/// Ports whose share is counted; a port id beyond shares a counter with another, which only makes
/// the cap stricter.
constexpr std::size_t kPortCounters = 4096;

}  // namespace

MacTable::MacTable(const MacTableOptions& o)
    : max_(o.entries), ageing_(seconds(o.ageing)), hold_(seconds(o.hold)) {
  if (o.entries == 0 || o.entries > kMaxEntries)
    throw Error(Errc::invalid, "MAC table size must be 1 to 1048576");
  per_port_ = o.per_port ? o.per_port : std::max(1u, o.entries / 4 * 3);
  slots_.resize(std::bit_ceil(std::size_t{o.entries} * 2));
  mask_ = slots_.size() - 1;
  held_.resize(kPortCounters);
  if (getrandom(secret_, sizeof secret_, 0) != sizeof secret_)
    throw Error(Errc::system, "no random key for the MAC table");
}

std::size_t MacTable::home(std::uint64_t key) const noexcept {
  __extension__ using Wide = unsigned __int128;
  const auto mix = [](std::uint64_t a, std::uint64_t b) {
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product >> 64) ^ static_cast<std::uint64_t>(product);
  };
  // Twice: after once, addresses in a row or apart by a power of two still fall in runs with some
  // secrets.
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  return mix(mix(key ^ secret_[0], secret_[1] | 1), kOdd) & mask_;
}

std::uint32_t& MacTable::held_by(PortId port) noexcept {
  return held_[port_slot(port) % kPortCounters];
}

const MacTable::Slot* MacTable::lookup(std::uint64_t key) const noexcept {
  for (std::size_t i = home(key);; i = (i + 1) & mask_) {
    // In this order: the zero address has the key of a free slot.
    if (slots_[i].key == 0) return nullptr;
    if (slots_[i].key == key) return &slots_[i];
  }
}

std::size_t MacTable::vacancy(std::uint64_t key) const noexcept {
  std::size_t i = home(key);
  while (slots_[i].key != 0) i = (i + 1) & mask_;
  return i;
}

PortId MacTable::find(const Mac& mac, std::uint16_t vlan, Instant now) const noexcept {
  const Slot* s = lookup(key_of(mac, vlan));
  return s && !stale(*s, seconds(now)) ? s->port : kNoPort;
}

MacTable::Learned MacTable::learn(const Mac& mac, std::uint16_t vlan, PortId port,
                                  Instant now) noexcept {
  if (mac.is_group() || mac.is_zero()) return Learned::refused;
  const std::uint64_t key = key_of(mac, vlan);
  const std::uint32_t now_s = seconds(now);
  if (Slot* s = lookup(key)) {
    if (s->port == port) {
      if (s->seen_s != kStatic) s->seen_s = now_s;
      return Learned::known;
    }
    const bool was_stale = stale(*s, now_s);
    const bool held = !was_stale && now_s - s->seen_s < hold_;
    if (s->seen_s == kStatic || held || held_by(port) >= per_port_) return Learned::refused;
    --held_by(s->port);
    ++held_by(port);
    s->port = port;
    s->seen_s = now_s;
    return was_stale ? Learned::added : Learned::moved;
  }
  reclaim(now_s);
  if (used_ >= max_ || held_by(port) >= per_port_) return Learned::refused;
  slots_[vacancy(key)] = {key, port, now_s};
  ++used_;
  ++held_by(port);
  return Learned::added;
}

bool MacTable::add_static(const Mac& mac, std::uint16_t vlan, PortId port) noexcept {
  forget(mac, vlan);
  if (mac.is_group() || mac.is_zero()) return false;
  // Guests may have filled the table: one that was learned makes room.
  for (std::size_t n = 0; used_ >= max_ && n < slots_.size(); ++n) {
    if (slots_[hand_].key != 0 && slots_[hand_].seen_s != kStatic)
      erase(hand_);
    else
      hand_ = (hand_ + 1) & mask_;
  }
  if (used_ >= max_) return false;
  const std::uint64_t key = key_of(mac, vlan);
  slots_[vacancy(key)] = {key, port, kStatic};
  ++used_;
  return true;
}

bool MacTable::is_static(const Mac& mac, std::uint16_t vlan, PortId port) const noexcept {
  const Slot* s = lookup(key_of(mac, vlan));
  return s && s->seen_s == kStatic && s->port == port;
}

void MacTable::erase(std::size_t hole) noexcept {
  if (slots_[hole].seen_s != kStatic) --held_by(slots_[hole].port);
  --used_;
  for (std::size_t i = (hole + 1) & mask_; slots_[i].key != 0; i = (i + 1) & mask_) {
    // An entry may move into the hole when its home is not between the hole and itself.
    if (((i - home(slots_[i].key)) & mask_) >= ((i - hole) & mask_)) {
      slots_[hole] = slots_[i];
      hole = i;
    }
  }
  slots_[hole] = {};
}

void MacTable::reclaim(std::uint32_t now_s) noexcept {
  for (int n = 0; n < kSweep; ++n) {
    if (slots_[hand_].key != 0 && stale(slots_[hand_], now_s))
      erase(hand_);
    else
      hand_ = (hand_ + 1) & mask_;
  }
}

void MacTable::forget(const Mac& mac, std::uint16_t vlan) noexcept {
  if (const Slot* s = lookup(key_of(mac, vlan))) erase(static_cast<std::size_t>(s - slots_.data()));
}

void MacTable::forget(PortId port) noexcept {
  for (std::size_t i = 0; i < slots_.size();) {
    if (slots_[i].key != 0 && slots_[i].port == port)
      erase(i);
    else
      ++i;
  }
}

void MacTable::forget_learned(PortId port) noexcept {
  for (std::size_t i = 0; i < slots_.size();) {
    if (slots_[i].key != 0 && slots_[i].port == port && slots_[i].seen_s != kStatic)
      erase(i);
    else
      ++i;
  }
}

std::size_t MacTable::longest_lookup() const noexcept {
  std::size_t longest = 0;
  for (std::size_t i = 0; i < slots_.size(); ++i)
    if (slots_[i].key != 0) longest = std::max(longest, ((i - home(slots_[i].key)) & mask_) + 1);
  return longest;
}

void MacTable::each(Instant now, const std::function<void(const Entry&)>& fn) const {
  const std::uint32_t now_s = seconds(now);
  for (const Slot& s : slots_) {
    if (s.key == 0 || stale(s, now_s)) continue;
    const bool fixed = s.seen_s == kStatic;
    Entry e{
        {}, static_cast<std::uint16_t>(s.key >> 48), s.port, fixed ? 0 : now_s - s.seen_s, fixed};
    for (std::size_t b = 0; b < 6; ++b)
      e.mac.bytes[b] = static_cast<std::uint8_t>(s.key >> (8 * (5 - b)));
    fn(e);
  }
}

}  // namespace rp::sw
