// SPDX-License-Identifier: BSD-3-Clause
// settings.cc - one row a setting: how it is read, and how it is told.
#include "backend/settings.h"

#include <algorithm>

#include "backend/vlan_list.h"
#include "base/account.h"
#include "switch/mac_text.h"

namespace rp::backend {
namespace {

using sw::PortPolicy;

std::string on_off(bool on) {
  return on ? "on" : "off";
}

void set_vlan(PortPolicy& p, const std::string& v) {
  if (v == "all") {
    p.vlan_aware = false;
    p.untagged = 0;
    p.tagged.reset();
    return;
  }
  const auto vlan =
      v == "none" ? sw::kNoVlan : static_cast<std::uint16_t>(parse_number(v, 0, sw::kMaxVlan));
  p.vlan_aware = true;
  p.untagged = vlan;
}

std::string tell_vlan(const PortPolicy& p) {
  if (!p.vlan_aware) return "all";
  return p.untagged == sw::kNoVlan ? "none" : std::to_string(p.untagged);
}

void set_trunk(PortPolicy& p, const std::string& v) {
  if (v.starts_with('+'))
    p.tagged |= parse_vlans(v.substr(1));
  else if (v.starts_with('-'))
    p.tagged &= ~parse_vlans(v.substr(1));
  else
    p.tagged = parse_vlans(v);
  p.vlan_aware = true;
}

void add_static(PortPolicy& p, const std::string& v) {
  constexpr std::size_t kMost = 1024;
  const bool less = v.starts_with('-');
  const std::string text = v.substr(less || v.starts_with('+') ? 1 : 0);
  const auto at = text.find('@');
  const sw::StaticAddress a{
      sw::parse_mac(text.substr(0, at)),
      static_cast<std::uint16_t>(
          at == std::string::npos ? 0 : parse_number(text.substr(at + 1), 0, sw::kMaxVlan))};
  std::erase(p.addresses, a);
  if (less) return;
  if (p.addresses.size() >= kMost)
    throw Error(Errc::resources, "a port has at most " + std::to_string(kMost) + " of them");
  p.addresses.push_back(a);
}

/// Takes what tell_static() says, too: several, with a blank between them.
void set_static(PortPolicy& p, const std::string& v) {
  if (v == "none") {
    p.addresses.clear();
    return;
  }
  std::size_t from = 0;
  for (auto to = v.find(' '); to != v.npos; to = v.find(' ', from)) {
    add_static(p, v.substr(from, to - from));
    from = to + 1;
  }
  add_static(p, v.substr(from));
}

std::string tell_static(const PortPolicy& p) {
  std::string text;
  for (const auto& a : p.addresses) {
    text += (text.empty() ? "" : " ") + sw::text_of(a.mac);
    if (a.vlan) text += '@' + std::to_string(a.vlan);
  }
  return text.empty() ? "none" : text;
}

/// Those of a locator.
constexpr Option<PortPolicy> kPortOptions[] = {
    {{"vlan", "all|none|0..4094", "all",
      "the VLAN of frames without a tag; all: every VLAN, frames pass as they come"},
     set_vlan},
    {{"trunk", "[+|-]LIST|all|none", "", "the VLANs whose frames have a tag, as in 10,20-30"},
     set_trunk},
    {{"isolated", "on|off", "off", "no frames to or from other isolated ports"},
     [](PortPolicy& p, const std::string& v) { p.isolated = parse_on_off(v); }},
    {{"static", "[-]MAC[@VLAN]|none", "",
      "an address that lives here whatever others send; may be given again"},
     set_static},
    {{"locked", "on|off", "off", "only frames from its static addresses come in"},
     [](PortPolicy& p, const std::string& v) { p.locked = parse_on_off(v); }},
};

std::uint32_t parse_queue(const std::string& v) {
  return v == "default" ? 0 : parse_number(v, 1, 65536);
}

std::string tell_queue(std::uint32_t frames) {
  return frames ? std::to_string(frames) : "default";
}

/// Those that only a number has.
constexpr Option<PortPolicy> kNumberOptions[] = {
    {{"user", "NAME|any", "any", "whose processes may take the number"},
     [](PortPolicy& p, const std::string& v) {
       p.user = v == "any" ? PortPolicy::kAnyUser : user_id(v);
     }},
    {{"group", "NAME|any", "any", "of which group the processes must be"},
     [](PortPolicy& p, const std::string& v) {
       p.group = v == "any" ? PortPolicy::kAnyGroup : group_id(v);
     }},
    {{"allocatable", "on|off", "on", "taken by who asks for no number"},
     [](PortPolicy& p, const std::string& v) { p.allocatable = parse_on_off(v); }},
    {{"queue", "default|1..65536", "default", "frames that wait for a slow reader"},
     [](PortPolicy& p, const std::string& v) { p.queue = parse_queue(v); }},
};

/// Longer than a 32-bit second clock is told apart from.
constexpr unsigned kMostSeconds = 1u << 30;

constexpr Option<sw::Switch> kSwitchOptions[] = {
    {{"hub", "on|off", "off", "every frame goes to all ports, nothing is learned"},
     [](sw::Switch& s, const std::string& v) { s.set_hub(parse_on_off(v)); }},
    {{"mac-ageing", "SECONDS", "300", "forget an address unused for so long"},
     [](sw::Switch& s, const std::string& v) {
       s.addresses().set_ageing(std::chrono::seconds(parse_number(v, 1, kMostSeconds)));
     }},
    {{"mac-hold", "SECONDS", "0", "an address moves only when its owner was silent for so long"},
     [](sw::Switch& s, const std::string& v) {
       s.addresses().set_hold(std::chrono::seconds(parse_number(v, 0, kMostSeconds)));
     }},
    {{"loop-guard", "on|off", "on", "hold a port back that leads to an older one by another way"},
     [](sw::Switch& s, const std::string& v) { s.set_loop_guard(parse_on_off(v)); }},
    {{"queue", "default|1..65536", "default", "the same of ports to come, whose number has none"},
     [](sw::Switch& s, const std::string& v) { s.set_default_queue(parse_queue(v)); }},
    {{"ports", "1..65535", "65535", "the highest port number"},
     [](sw::Switch& s, const std::string& v) { s.set_port_limit(parse_number(v, 1, 65535)); }},
};

std::span<const Option<PortPolicy>> number_options() {
  return kNumberOptions;
}

template <typename Row>
bool has(std::span<const Row> rows, const std::string& key) {
  return std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return r.name == key; });
}

std::string seconds(Instant t) {
  return std::to_string(t / std::chrono::seconds(1));
}

}  // namespace

std::span<const Option<PortPolicy>> port_options() {
  return kPortOptions;
}

sw::PortPolicy take_policy(Locator& l) {
  PortPolicy policy;
  std::erase_if(l.params, [&](const auto& param) {
    if (!has(port_options(), param.first)) return false;
    set_option(port_options(), policy, l.scheme, param.first, param.second);
    return true;
  });
  return policy;
}

void set(sw::Switch& s, unsigned number, const std::string& key, const std::string& value) {
  if (number == 0) {
    set_option<sw::Switch>(kSwitchOptions, s, "the switch", key, value);
    return;
  }
  const PortPolicy* old = s.numbers().policy(number);
  PortPolicy policy = old ? *old : PortPolicy{};
  const std::string what = "port " + std::to_string(number);
  if (has(number_options(), key)) {
    set_option(number_options(), policy, what, key, value);
  } else {
    std::vector<Option<PortPolicy>> all(port_options().begin(), port_options().end());
    all.insert(all.end(), number_options().begin(), number_options().end());
    set_option<PortPolicy>(all, policy, what, key, value);
  }
  s.set_policy(number, policy);
}

std::string with_ids(const std::string& key, const std::string& value) {
  if (value == "any") return value;
  if (key == "user") return std::to_string(user_id(value));
  return key == "group" ? std::to_string(group_id(value)) : value;
}

std::string with_names(const std::string& key, const std::string& value) {
  if (value == "any") return value;
  if (key == "user") return user_name(user_id(value));
  return key == "group" ? group_name(group_id(value)) : value;
}

void each_setting(const sw::Switch& s,
                  const std::function<void(unsigned, std::string_view, const std::string&)>& fn) {
  fn(0, "hub", on_off(s.hub()));
  fn(0, "mac-ageing", seconds(s.addresses().ageing()));
  fn(0, "mac-hold", seconds(s.addresses().hold()));
  fn(0, "loop-guard", on_off(s.loop_guard()));
  fn(0, "queue", tell_queue(s.default_queue()));
  fn(0, "ports", std::to_string(s.numbers().limit()));
  s.numbers().each([&](unsigned number, const PortPolicy& p, unsigned) {
    fn(number, "vlan", tell_vlan(p));
    if (p.vlan_aware) fn(number, "trunk", tell_vlans(p.tagged));
    fn(number, "isolated", on_off(p.isolated));
    fn(number, "static", tell_static(p));
    fn(number, "locked", on_off(p.locked));
    fn(number, "user", p.user == PortPolicy::kAnyUser ? "any" : std::to_string(p.user));
    fn(number, "group", p.group == PortPolicy::kAnyGroup ? "any" : std::to_string(p.group));
    fn(number, "allocatable", on_off(p.allocatable));
    fn(number, "queue", tell_queue(p.queue));
  });
}

}  // namespace rp::backend
