// SPDX-License-Identifier: BSD-3-Clause
// mac_table.h - learns which port owns a MAC on a VLAN; bounded, aged, no clock of its own.
//
// Open addressing with linear probing at half load, so a lookup ends after a few slots. The hash is
// keyed per table: a guest can't choose addresses that collide. Ageing is lazy: a stale entry is
// treated as absent and its slot is taken back by whoever learns next. All memory is allocated at
// construction. A port holds at most `per_port` entries; at its cap it learns nothing new until its
// own entries age, so a flood of addresses costs other ports nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "base/time.h"
#include "switch/frame.h"

namespace rp::sw {

struct MacTableOptions {
  std::uint32_t entries = 4096;                ///< most addresses in all, 1 to 1,048,576
  std::uint32_t per_port = 0;                  ///< most per port; 0: three quarters of `entries`
  Instant ageing = std::chrono::seconds(300);  ///< IEEE 802.1Q-2018, table 8-6: default 300 s
  /// An address moves only when its owner was silent for so long; 0: at once. Whole seconds.
  Instant hold = {};
};

class MacTable {
 public:
  explicit MacTable(const MacTableOptions& options);

  enum class Learned : std::uint8_t { known, added, moved, refused };

  /// Notes that `mac` on `vlan` was seen as a source at `port`. Refused: group addresses and zero,
  /// static addresses of another port, an owner that was heard too recently (hold).
  Learned learn(const Mac& mac, std::uint16_t vlan, PortId port, Instant now) noexcept;

  /// The port that owns the address, or kNoPort.
  PortId find(const Mac& mac, std::uint16_t vlan, Instant now) const noexcept;

  /// Makes `port` the owner for good: not aged, not moved, not counted in the port's share. False:
  /// the table is full of others like it.
  bool add_static(const Mac& mac, std::uint16_t vlan, PortId port) noexcept;
  /// The address is static, and this port's.
  bool is_static(const Mac& mac, std::uint16_t vlan, PortId port) const noexcept;

  /// Forgets an address, static or not.
  void forget(const Mac& mac, std::uint16_t vlan) noexcept;
  /// Forgets all addresses of a port.
  void forget(PortId port) noexcept;
  /// Forgets all of them but the static ones.
  void forget_learned(PortId port) noexcept;

  void set_ageing(Instant t) noexcept { ageing_ = seconds(t); }
  void set_hold(Instant t) noexcept { hold_ = seconds(t); }
  Instant ageing() const noexcept { return std::chrono::seconds(ageing_); }
  Instant hold() const noexcept { return std::chrono::seconds(hold_); }
  /// How many slots the slowest lookup of an address that is there looks at.
  std::size_t longest_lookup() const noexcept;
  /// Most entries.
  std::size_t capacity() const noexcept { return max_; }

  /// Entries held, stale ones that nobody has reclaimed yet included.
  std::size_t size() const noexcept { return used_; }

  struct Entry {
    Mac mac;
    std::uint16_t vlan;
    PortId port;
    std::uint32_t age_s;  ///< 0 for static ones
    bool is_static;
  };
  /// Every entry that is not stale, in no order.
  void each(Instant now, const std::function<void(const Entry&)>& fn) const;

 private:
  struct Slot {
    std::uint64_t key = 0;  ///< VLAN in the high 16 bits, MAC below; 0 is free
    PortId port = 0;
    std::uint32_t seen_s = 0;  ///< kStatic: the entry stays
  };
  static constexpr std::uint32_t kStatic = ~std::uint32_t{0};
  static std::uint32_t seconds(Instant t) noexcept {
    return static_cast<std::uint32_t>(t / std::chrono::seconds(1));
  }
  static std::uint64_t key_of(const Mac& mac, std::uint16_t vlan) noexcept {
    return (std::uint64_t{vlan} << 48) | mac.value();
  }
  bool stale(const Slot& s, std::uint32_t now_s) const noexcept {
    return now_s - s.seen_s > ageing_ && s.seen_s != kStatic;
  }
  std::size_t home(std::uint64_t key) const noexcept;
  Slot* lookup(std::uint64_t key) noexcept {
    return const_cast<Slot*>(std::as_const(*this).lookup(key));
  }
  const Slot* lookup(std::uint64_t key) const noexcept;
  std::size_t vacancy(std::uint64_t key) const noexcept;
  void erase(std::size_t hole) noexcept;
  void reclaim(std::uint32_t now_s) noexcept;
  std::uint32_t& held_by(PortId port) noexcept;

  std::vector<Slot> slots_;  ///< a power of two, at least twice max_
  std::vector<std::uint32_t> held_;
  std::size_t mask_, max_, used_ = 0, hand_ = 0;
  std::uint32_t per_port_, ageing_, hold_;
  std::uint64_t secret_[2];
};

}  // namespace rp::sw
