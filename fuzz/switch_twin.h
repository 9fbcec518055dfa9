// SPDX-License-Identifier: BSD-3-Clause
// switch_twin.h - what a switch does, said again with maps and without a thought for speed.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "switch/switch.h"

namespace rp::fuzz {

using Bytes = std::vector<std::uint8_t>;

struct TwinPort {
  sw::PortId id = sw::kNoPort;
  unsigned number = 0;
  sw::PortPolicy policy;
  bool up = true;
  std::size_t room = SIZE_MAX;
  std::vector<Bytes> sent;
  std::map<sw::Drop, std::uint64_t> drops;
  std::uint64_t in = 0, out = 0, flooded = 0, moves = 0, refused = 0;
};

struct SwitchTwin {
  struct Entry {
    sw::PortId port;
    std::optional<std::uint64_t> seen_s;  ///< nothing: static
  };
  using Key = std::pair<sw::Mac, unsigned>;

  std::size_t most = 0, per_port = 0;
  std::uint64_t ageing_s = 0, hold_s = 0, now_s = 0;
  bool hub = false;
  std::vector<TwinPort> ports;
  std::map<Key, Entry> macs;

  TwinPort& port(sw::PortId id) {
    return *std::find_if(ports.begin(), ports.end(), [&](const auto& p) { return p.id == id; });
  }
  void add(sw::PortId id, unsigned number, const sw::PortPolicy& policy) {
    ports.emplace_back();
    ports.back().id = id;
    ports.back().number = number;
    ports.back().policy = policy;
    add_addresses(ports.back());
  }
  void remove(sw::PortId id) {
    leave_addresses(port(id));
    std::erase_if(ports, [&](const TwinPort& p) { return p.id == id; });
  }
  void set_policy(unsigned number, const sw::PortPolicy& policy) {
    for (TwinPort& p : ports) {
      if (p.number != number) continue;
      leave_addresses(p);
      p.policy = policy;
      add_addresses(p);
    }
  }

  /// In a full table a static address takes the place of one that was learned, which one the table
  /// alone knows: `held` are those that it still has. False: it has let go of too many.
  bool crowded_out(const std::set<Key>& held) {
    while (macs.size() > most) {
      const auto gone = std::find_if(macs.begin(), macs.end(), [&](const auto& m) {
        return m.second.seen_s && !held.contains(m.first);
      });
      if (gone == macs.end()) return false;
      macs.erase(gone);
    }
    return true;
  }

  void send(sw::PortId id, const Bytes& b) {
    TwinPort& from = port(id);
    ++from.in;
    if (b.size() < 14) return drop(from, sw::Drop::runt);
    const sw::Mac dst = mac_at(b, 0), src = mac_at(b, 6);
    if (src.is_group() || src.is_zero()) return drop(from, sw::Drop::bad_source);
    const Bytes reserved{0x01, 0x80, 0xc2, 0, 0};
    if (!hub && std::equal(reserved.begin(), reserved.end(), b.begin()) && b[5] < 16)
      return drop(from, sw::Drop::reserved_address);
    unsigned vlan = tag(b).value_or(0);
    if (from.policy.vlan_aware) {
      if (vlan ? !from.policy.tagged[vlan] : from.policy.untagged == sw::kNoVlan)
        return drop(from, sw::Drop::vlan);
      if (!vlan) vlan = from.policy.untagged;
    }
    const auto owner = macs.find({src, vlan});
    if (from.policy.locked &&
        !(owner != macs.end() && owner->second.port == id && !owner->second.seen_s))
      return drop(from, sw::Drop::locked);
    if (!hub) learn(from, {src, vlan});
    const auto to = macs.find({dst, vlan});
    if (hub || dst.is_group() || to == macs.end() || stale(to->second)) return flood(from, b, vlan);
    if (to->second.port == id) return drop(from, sw::Drop::same_port);
    TwinPort& there = port(to->second.port);
    if (!there.up) return drop(from, sw::Drop::nowhere);
    sw::Drop why{};
    if (const auto form = passage(b, vlan, from, there, why))
      hand(there, *form);
    else
      drop(from, why);
  }

 private:
  static sw::Mac mac_at(const Bytes& b, std::size_t at) {
    sw::Mac m;
    std::copy_n(b.begin() + static_cast<std::ptrdiff_t>(at), 6, m.bytes.begin());
    return m;
  }
  /// The VID of a C-tag; nothing: there is none. 0 is a priority.
  static std::optional<unsigned> tag(const Bytes& b) {
    if (b.size() < 18 || b[12] != 0x81 || b[13] != 0) return {};
    return (b[14] & 15u) << 8 | b[15];
  }
  static void drop(TwinPort& p, sw::Drop why) { ++p.drops[why]; }
  bool stale(const Entry& e) const { return e.seen_s && now_s - *e.seen_s > ageing_s; }

  void learn(TwinPort& from, const Key& key) {
    const auto held = std::count_if(macs.begin(), macs.end(), [&](const auto& m) {
      return m.second.port == from.id && m.second.seen_s;
    });
    const auto known = macs.find(key);
    if (known == macs.end()) {
      if (macs.size() < most && static_cast<std::size_t>(held) < per_port)
        macs[key] = {from.id, now_s};
      else
        ++from.refused;
      return;
    }
    Entry& e = known->second;
    if (e.port == from.id) {
      if (e.seen_s) e.seen_s = now_s;
      return;
    }
    const bool free = e.seen_s && (stale(e) || now_s - *e.seen_s >= hold_s);
    if (!free || static_cast<std::size_t>(held) >= per_port) {
      ++from.refused;
      return;
    }
    if (!stale(e)) ++from.moves;
    e = {from.id, now_s};
  }

  void flood(TwinPort& from, const Bytes& b, unsigned vlan) {
    ++from.flooded;
    bool any = false;
    for (TwinPort& to : ports) {
      sw::Drop why{};
      if (&to == &from || !to.up) continue;
      if (const auto form = passage(b, vlan, from, to, why)) {
        hand(to, *form);
        any = true;
      }
    }
    if (!any) drop(from, sw::Drop::nowhere);
  }

  static std::optional<Bytes> passage(const Bytes& b, unsigned vlan, const TwinPort& from,
                                      const TwinPort& to, sw::Drop& why) {
    why = sw::Drop::isolated;
    if (from.policy.isolated && to.policy.isolated) return {};
    why = sw::Drop::vlan;
    const sw::PortPolicy& p = to.policy;
    const bool untagged = p.vlan_aware && p.untagged == vlan;
    if (!p.vlan_aware && vlan == 0) return b;
    if (p.vlan_aware && !untagged && !p.tagged[vlan]) return {};
    Bytes out = b;
    if (untagged) {
      if (tag(b)) out.erase(out.begin() + 12, out.begin() + 16);
      return out;
    }
    if (!tag(b)) out.insert(out.begin() + 12, {0x81, 0, 0, 0});
    out[14] = static_cast<std::uint8_t>((out[14] & 0xf0) | vlan >> 8);
    out[15] = static_cast<std::uint8_t>(vlan);
    return out;
  }

  static void hand(TwinPort& to, const Bytes& b) {
    if (to.room == 0) return drop(to, sw::Drop::queue_full);
    --to.room;
    ++to.out;
    to.sent.push_back(b);
  }

  /// The oldest other port with the same static address gets it.
  void leave_addresses(const TwinPort& leaving) {
    for (const auto& a : leaving.policy.addresses) {
      const auto at = macs.find({a.mac, a.vlan});
      if (at == macs.end() || at->second.port != leaving.id || at->second.seen_s) continue;
      for (const TwinPort& heir : ports) {
        const auto& theirs = heir.policy.addresses;
        if (&heir == &leaving || std::find(theirs.begin(), theirs.end(), a) == theirs.end())
          continue;
        at->second.port = heir.id;
        break;
      }
    }
    std::erase_if(macs, [&](const auto& m) { return m.second.port == leaving.id; });
  }
  void add_addresses(const TwinPort& p) {
    for (const auto& a : p.policy.addresses) {
      macs.erase({a.mac, a.vlan});
      const auto fixed =
          std::count_if(macs.begin(), macs.end(), [](const auto& m) { return !m.second.seen_s; });
      if (!a.mac.is_group() && !a.mac.is_zero() && static_cast<std::size_t>(fixed) < most)
        macs[{a.mac, a.vlan}] = {p.id, {}};
    }
  }
};

}  // namespace rp::fuzz
