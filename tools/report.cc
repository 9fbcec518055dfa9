// SPDX-License-Identifier: BSD-3-Clause
// report.cc - collects over the C ABI and writes JSON.
#include "tools/report.h"

#include <unistd.h>

#include <algorithm>
#include <map>

#include "tools/command.h"
#include "tools/json.h"
#include "tools/service.h"
#include "tools/switch_state.h"

namespace rp::tools {
namespace {

/// A line of the answer stays a few MiB long.
constexpr std::size_t kMostAddresses = 16384;

void add_port(JsonBuilder* b, rp_port id, const PortState& port) {
  json_builder_begin_object(b);
  add_member(b, "port", std::int64_t{id});
  add_member(b, "number", std::int64_t{port.number});
  add_member(b, "name", port.name);
  add_member(b, "link", port.link);
  add_member(b, "detail", port.detail);
  begin_object(b, "counters");
  for (const auto& [name, value] : port.counters)
    add_member(b, name.c_str(), static_cast<std::int64_t>(value));
  json_builder_end_object(b);
  json_builder_end_object(b);
}

void add_address(JsonBuilder* b, const rp_address_info& a,
                 const std::map<rp_port, PortState>& ports) {
  const auto port = ports.find(a.port);
  json_builder_begin_object(b);
  add_member(b, "mac", text_of(a.mac));
  add_member(b, "vlan", std::int64_t{a.vlan});
  add_member(b, "port", std::int64_t{a.port});
  add_member(b, "port_name", port == ports.end() ? std::string() : port->second.name);
  add_member(b, "age", std::int64_t{a.age});
  add_member(b, "static", a.is_static != 0);
  json_builder_end_object(b);
}

void add_settings(JsonBuilder* b, unsigned number, const SwitchState::Settings& settings) {
  json_builder_begin_object(b);
  add_member(b, "number", std::int64_t{number});
  for (const auto& [key, value] : settings) add_member(b, key.c_str(), value);
  json_builder_end_object(b);
}

std::string show(rp_switch* sw, const std::string& name, std::int64_t since,
                 const std::string& sandbox) {
  const SwitchState state = state_of(sw);
  g_autoptr(JsonBuilder) b = json_builder_new();
  json_builder_begin_object(b);
  add_member(b, "name", name);
  add_member(b, "pid", std::int64_t{getpid()});
  add_member(b, "version", std::string(rp_version()));
  add_member(b, "uptime", (g_get_monotonic_time() - since) / G_USEC_PER_SEC);
  add_member(b, "sandbox", sandbox);
  begin_array(b, "ports");
  for (const auto& [id, port] : state.ports) add_port(b, id, port);
  json_builder_end_array(b);
  begin_array(b, "settings");
  for (const auto& [number, settings] : state.settings) add_settings(b, number, settings);
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

std::string set(rp_switch* sw, JsonObject* what) {
  rp_error error = RP_ERROR_INIT;
  const std::int64_t number = number_of(what, "number");
  if (number < 0 || number > 65535) return refusal("port numbers go from 1 to 65535");
  check(rp_switch_set(sw, static_cast<unsigned>(number), text_of(what, "key").c_str(),
                      text_of(what, "value").c_str(), &error),
        error);
  return "{}";
}

}  // namespace

std::string answer(rp_switch* sw, const std::string& name, std::int64_t since,
                   const std::string& sandbox, const std::string& request) {
  std::string why;
  const auto asked = parse_object(request, why);
  if (!asked) return refusal("the request: " + why);
  JsonObject* const what = json_node_get_object(asked.get());
  const std::string command = text_of(what, "command");
  try {
    if (command == "show") return show(sw, name, since, sandbox);
    if (command == "set") return set(sw, what);
    return refusal("unknown command '" + command + "'; accepted: set, show");
  } catch (const Complaint& c) {
    return refusal(c.what());
  }
}

}  // namespace rp::tools
