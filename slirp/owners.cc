// SPDX-License-Identifier: BSD-3-Clause
// owners.cc - which port owns which IP and MAC address.
#include "slirp/owners.h"

#include <bit>
#include <random>

namespace rp::slirp {
namespace {

sw::Ip6Addr key_of(const sw::Mac& mac) noexcept {
  sw::Ip6Addr key{};
  std::copy(mac.bytes.begin(), mac.bytes.end(), key.begin() + 10);
  return key;
}

}  // namespace

sw::Ip6Addr mapped(std::uint32_t ipv4) noexcept {
  sw::Ip6Addr key{};
  key[10] = key[11] = 0xff;
  for (unsigned i = 0; i < 4; ++i) key[12 + i] = static_cast<std::uint8_t>(ipv4 >> (24 - 8 * i));
  return key;
}

Claims::Claims(std::size_t all, std::size_t per_port)
    : entries_(all),
      index_(std::bit_ceil(2 * all)),
      per_port_(per_port),
      seed_((std::uint64_t{std::random_device{}()} << 32) | std::random_device{}()) {}

// Keyed, so that guests cannot choose addresses that share a chain.
std::size_t Claims::home(const sw::Ip6Addr& key) const noexcept {
  std::uint64_t words[2];
  std::memcpy(words, key.data(), sizeof words);
  std::uint64_t h = seed_;
  for (std::uint64_t w : words) {
    h = (h ^ w) * 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
  }
  return (h ^ (h >> 17)) & (index_.size() - 1);
}

std::size_t Claims::slot_of(const sw::Ip6Addr& key) const noexcept {
  std::size_t slot = home(key);
  while (index_[slot] != 0 && entries_[index_[slot] - 1u].key != key)
    slot = (slot + 1) & (index_.size() - 1);
  return slot;
}

const Claims::Entry* Claims::find(const sw::Ip6Addr& key) const noexcept {
  const std::uint16_t number = index_[slot_of(key)];
  return number ? &entries_[number - 1u] : nullptr;
}

Claims::Entry* Claims::find(const sw::Ip6Addr& key) noexcept {
  const std::uint16_t number = index_[slot_of(key)];
  return number ? &entries_[number - 1u] : nullptr;
}

// Frees a slot and closes the gap, so that probing needs no tombstones.
void Claims::unlink(std::size_t slot) noexcept {
  const std::size_t mask = index_.size() - 1;
  index_[slot] = 0;
  for (std::size_t next = (slot + 1) & mask; index_[next] != 0; next = (next + 1) & mask) {
    const std::size_t want = home(entries_[index_[next] - 1u].key);
    if (((next - want) & mask) < ((next - slot) & mask)) continue;
    index_[slot] = index_[next];
    index_[next] = 0;
    slot = next;
  }
}

void Claims::remove(const sw::Ip6Addr& key) noexcept {
  const std::size_t slot = slot_of(key);
  if (index_[slot] == 0) return;
  const std::size_t hole = index_[slot] - 1u;
  unlink(slot);
  --size_;
  if (hole == size_) return;
  index_[slot_of(entries_[size_].key)] = static_cast<std::uint16_t>(hole + 1);
  entries_[hole] = entries_[size_];
}

bool Claims::make_room(sw::PortId port, Instant now, Instant evict) noexcept {
  std::size_t own = 0;
  const Entry* own_victim = nullptr;
  const Entry* any_victim = nullptr;
  for (std::size_t i = 0; i < size_; ++i) {
    const Entry& e = entries_[i];
    if (e.port == port) ++own;
    if (e.port == port && e.idle(now, evict) && (!own_victim || e.seen < own_victim->seen))
      own_victim = &e;
    if (e.idle(now) && (!any_victim || e.seen < any_victim->seen)) any_victim = &e;
  }
  if (own < per_port_ && size_ < entries_.size()) return true;
  const Entry* victim = own_victim;
  if (own < per_port_ && any_victim) victim = any_victim;
  if (!victim) return false;
  const sw::Ip6Addr key = victim->key;
  remove(key);
  return true;
}

Claims::Entry* Claims::add(const sw::Ip6Addr& key, sw::PortId port, Instant now,
                           Instant evict) noexcept {
  if (!make_room(port, now, evict)) return nullptr;
  index_[slot_of(key)] = static_cast<std::uint16_t>(size_ + 1);
  Entry& e = entries_[size_++];
  e = Entry{};
  e.key = key;
  e.port = port;
  e.seen = now;
  return &e;
}

void Claims::forget(sw::PortId port) noexcept {
  for (std::size_t i = size_; i-- > 0;) {
    if (entries_[i].port != port) continue;
    const sw::Ip6Addr key = entries_[i].key;
    remove(key);
  }
}

bool Owners::admit_mac(const sw::Mac& mac, sw::PortId port, Instant now) noexcept {
  const sw::Ip6Addr key = key_of(mac);
  Claims::Entry* e = macs_.find(key);
  if (e && e->port != port) {
    if (!e->idle(now)) return false;
    macs_.remove(key);
    e = nullptr;
  }
  if (!e) e = macs_.add(key, port, now);
  if (!e) return false;
  e->seen = now;
  return true;
}

bool Owners::admit(const sw::Ip6Addr& address, const sw::Mac& mac, sw::PortId port,
                   Instant now) noexcept {
  Claims::Entry* e = addresses_.find(address);
  if (e && e->port != port) {
    if (!e->idle(now)) return false;
    addresses_.remove(address);
    e = nullptr;
  }
  if (e && e->leased && e->mac != mac) return false;
  if (!e) e = addresses_.add(address, port, now);
  if (!e) return false;
  e->mac = mac;
  e->seen = now;
  return true;
}

bool Owners::foreign(const sw::Ip6Addr& address, sw::PortId port) const noexcept {
  const Claims::Entry* e = addresses_.find(address);
  return e && e->port != port;
}

void Owners::lease(const sw::Ip6Addr& address, const sw::Mac& mac, Instant now) noexcept {
  Claims::Entry* client = macs_.find(key_of(mac));
  if (!client) return;
  Claims::Entry* e = addresses_.find(address);
  if (e && e->port != client->port) {
    addresses_.remove(address);
    e = nullptr;
  }
  if (!e) e = addresses_.add(address, client->port, now, Instant::zero());
  if (!e) return;
  e->mac = mac;
  e->leased = true;
  e->seen = now;
  // Or a silent guest's MAC, and with it its lease, could be had by waiting.
  client->leased = true;
}

void Owners::set_mtu(const sw::Ip6Addr& address, std::uint16_t mtu) noexcept {
  if (Claims::Entry* e = addresses_.find(address)) e->mtu = mtu;
}

std::uint16_t Owners::mtu_of(const sw::Ip6Addr& address) const noexcept {
  const Claims::Entry* e = addresses_.find(address);
  return e ? e->mtu : std::uint16_t{0};
}

void Owners::set_long_packets(const sw::Ip6Addr& address, LongPackets fate) noexcept {
  Claims::Entry* e = addresses_.find(address);
  if (e && e->long_packets == LongPackets::untried) e->long_packets = fate;
}

LongPackets Owners::long_packets(const sw::Ip6Addr& address) const noexcept {
  const Claims::Entry* e = addresses_.find(address);
  return e ? e->long_packets : LongPackets::untried;
}

sw::PortId Owners::port_of(const sw::Mac& mac) const noexcept {
  const Claims::Entry* e = macs_.find(key_of(mac));
  return e ? e->port : sw::kNoPort;
}

void Owners::forget(sw::PortId port) noexcept {
  addresses_.forget(port);
  macs_.forget(port);
}

}  // namespace rp::slirp
