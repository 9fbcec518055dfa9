// SPDX-License-Identifier: BSD-3-Clause
// switch_state.cc - callbacks that keep what they are told.
#include "tools/switch_state.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <tuple>

#include "tools/service.h"

namespace rp::tools {
namespace {

void keep_port(void* opaque, const rp_port_info* i) {
  auto& port = static_cast<SwitchState*>(opaque)->ports[i->port];
  port.name = i->name;
  port.detail = i->detail;
  port.link = i->link != 0;
  port.number = i->number;
}

/// A port that came after the ports were told is told next time.
void keep_counter(void* opaque, rp_port port, const char*, const char* counter,
                  std::uint64_t value) {
  auto& ports = static_cast<SwitchState*>(opaque)->ports;
  if (const auto found = ports.find(port); found != ports.end())
    found->second.counters.emplace_back(counter, value);
}

void keep_address(void* opaque, const rp_address_info* i) {
  static_cast<SwitchState*>(opaque)->addresses.push_back(*i);
}

void keep_setting(void* opaque, unsigned number, const char* key, const char* value) {
  static_cast<SwitchState*>(opaque)->settings[number].emplace_back(key, value);
}

}  // namespace

std::uint64_t PortState::counter(std::string_view called) const {
  for (const auto& [key, value] : counters)
    if (key == called) return value;
  return 0;
}

SwitchState state_of(rp_switch* sw) {
  SwitchState s;
  rp_error error = RP_ERROR_INIT;
  check(rp_switch_ports(sw, keep_port, &s, &error), error);
  check(rp_switch_counters(sw, keep_counter, &s, &error), error);
  check(rp_switch_addresses(sw, keep_address, &s, &error), error);
  check(rp_switch_settings(sw, keep_setting, &s, &error), error);
  std::sort(s.addresses.begin(), s.addresses.end(),
            [](const rp_address_info& a, const rp_address_info& b) {
              return std::tie(a.port, a.vlan) != std::tie(b.port, b.vlan)
                         ? std::tie(a.port, a.vlan) < std::tie(b.port, b.vlan)
                         : std::memcmp(a.mac, b.mac, sizeof a.mac) < 0;
            });
  return s;
}

std::string setting(const SwitchState& s, unsigned number, std::string_view key) {
  if (const auto found = s.settings.find(number); found != s.settings.end())
    for (const auto& [k, value] : found->second)
      if (k == key) return value;
  return {};
}

std::string text_of(const uint8_t (&mac)[6]) {
  char text[18];
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
                mac[4], mac[5]);
  return text;
}

}  // namespace rp::tools
