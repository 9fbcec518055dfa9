// SPDX-License-Identifier: BSD-3-Clause
// report.cc - collects over the C ABI and writes JSON.
#include "tools/report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "tools/command.h"
#include "tools/json.h"
#include "tools/service.h"

namespace rp::tools {
namespace {

/// A line of the answer stays a few MiB long.
constexpr std::size_t kMostAddresses = 16384;

struct Port {
  std::string name, detail;
  bool link = false;
  std::vector<std::pair<std::string, std::uint64_t>> counters;
};

struct State {
  std::map<rp_port, Port> ports;
  std::vector<rp_address_info> addresses;
};

void keep_port(void* opaque, const rp_port_info* i) {
  auto& port = static_cast<State*>(opaque)->ports[i->port];
  port.name = i->name;
  port.detail = i->detail;
  port.link = i->link != 0;
}

/// A port that came after the ports were told is told next time.
void keep_counter(void* opaque, rp_port port, const char*, const char* counter,
                  std::uint64_t value) {
  auto& ports = static_cast<State*>(opaque)->ports;
  if (const auto found = ports.find(port); found != ports.end())
    found->second.counters.emplace_back(counter, value);
}

void keep_address(void* opaque, const rp_address_info* i) {
  static_cast<State*>(opaque)->addresses.push_back(*i);
}

State state_of(rp_switch* sw) {
  State s;
  rp_error error = RP_ERROR_INIT;
  check(rp_switch_ports(sw, keep_port, &s, &error), error);
  check(rp_switch_counters(sw, keep_counter, &s, &error), error);
  check(rp_switch_addresses(sw, keep_address, &s, &error), error);
  std::sort(s.addresses.begin(), s.addresses.end(),
            [](const rp_address_info& a, const rp_address_info& b) {
              return std::tie(a.port, a.vlan) != std::tie(b.port, b.vlan)
                         ? std::tie(a.port, a.vlan) < std::tie(b.port, b.vlan)
                         : std::memcmp(a.mac, b.mac, sizeof a.mac) < 0;
            });
  return s;
}

void add_port(JsonBuilder* b, rp_port id, const Port& port) {
  json_builder_begin_object(b);
  add_member(b, "port", std::int64_t{id});
  add_member(b, "name", port.name);
  add_member(b, "link", port.link);
  add_member(b, "detail", port.detail);
  begin_object(b, "counters");
  for (const auto& [name, value] : port.counters)
    add_member(b, name.c_str(), static_cast<std::int64_t>(value));
  json_builder_end_object(b);
  json_builder_end_object(b);
}

void add_address(JsonBuilder* b, const rp_address_info& a, const std::map<rp_port, Port>& ports) {
  char mac[18];
  std::snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", a.mac[0], a.mac[1], a.mac[2],
                a.mac[3], a.mac[4], a.mac[5]);
  const auto port = ports.find(a.port);
  json_builder_begin_object(b);
  add_member(b, "mac", std::string(mac));
  add_member(b, "vlan", std::int64_t{a.vlan});
  add_member(b, "port", std::int64_t{a.port});
  add_member(b, "port_name", port == ports.end() ? std::string() : port->second.name);
  add_member(b, "age", std::int64_t{a.age});
  json_builder_end_object(b);
}

std::string show(rp_switch* sw, const std::string& name, std::int64_t since) {
  const State state = state_of(sw);
  g_autoptr(JsonBuilder) b = json_builder_new();
  json_builder_begin_object(b);
  add_member(b, "name", name);
  add_member(b, "pid", std::int64_t{getpid()});
  add_member(b, "version", std::string(rp_version()));
  add_member(b, "uptime", (g_get_monotonic_time() - since) / G_USEC_PER_SEC);
  begin_array(b, "ports");
  for (const auto& [id, port] : state.ports) add_port(b, id, port);
  json_builder_end_array(b);
  begin_array(b, "addresses");
  const std::size_t told = std::min(state.addresses.size(), kMostAddresses);
  for (std::size_t i = 0; i < told; ++i) add_address(b, state.addresses[i], state.ports);
  json_builder_end_array(b);
  add_member(b, "addresses_omitted", static_cast<std::int64_t>(state.addresses.size() - told));
  json_builder_end_object(b);
  return to_text(b, false);
}

std::string refusal(const std::string& why) {
  g_autoptr(JsonBuilder) b = json_builder_new();
  json_builder_begin_object(b);
  add_member(b, "error", why);
  json_builder_end_object(b);
  return to_text(b, false);
}

}  // namespace

std::string answer(rp_switch* sw, const std::string& name, std::int64_t since,
                   const std::string& request) {
  std::string why;
  const auto asked = parse_object(request, why);
  if (!asked) return refusal("the request: " + why);
  const std::string command = text_of(json_node_get_object(asked.get()), "command");
  if (command != "show") return refusal("unknown command '" + command + "'; accepted: show");
  try {
    return show(sw, name, since);
  } catch (const Complaint& c) {
    return refusal(c.what());
  }
}

}  // namespace rp::tools
