// SPDX-License-Identifier: BSD-3-Clause
// vde_console_ports.cc - the commands about ports and VLANs.
#include <algorithm>

#include "tools/vde_console.h"
#include "tools/vde_failure.h"

namespace rp::tools {
namespace {

constexpr unsigned kMostPorts = 65535, kMostVlan = 4094, kLongestQueue = 65536;
/// As vde_switch prints a port that has none.
constexpr unsigned kNoVlan = 4095;

/// What the switch calls "any", VDE calls NONE.
std::string account(const std::string& name) {
  return name == "any" ? "NONE" : name;
}

std::bitset<4096> listed(const std::string& list) {
  std::bitset<4096> vlans;
  for (std::size_t at = 0; at < list.size();) {
    const auto comma = std::min(list.find(',', at), list.size());
    unsigned first = 0;
    const char* const end = list.data() + comma;
    const char* const rest = std::from_chars(list.data() + at, end, first).ptr;
    unsigned last = first;
    if (rest != end) std::from_chars(rest + 1, end, last);
    for (unsigned v = std::max(first, 1u); v <= std::min(last, kMostVlan); ++v) vlans.set(v);
    at = comma + 1;
  }
  return vlans;
}

}  // namespace

/// The number of a port that there is: one in use, or one that was reserved.
unsigned VdeConsole::existing_port(const Args& args, std::size_t i) {
  const std::string most = setting(state_, 0, "ports");
  const unsigned number = number_in(args, i, 1, static_cast<unsigned>(std::stoul(most)));
  if (!state_.settings.contains(number)) throw VdeFailure::of_errno(ENXIO);
  return number;
}

/// The id of a VLAN that was created, or that some port is in.
unsigned VdeConsole::existing_vlan(const Args& args, std::size_t i) {
  const unsigned vlan = number_in(args, i, 0, kMostVlan);
  if (!vlans_[vlan] && !has_ports(vlan)) throw VdeFailure::of_errno(ENXIO);
  return vlan;
}

void VdeConsole::learn_memberships() {
  memberships_.clear();
  for (const auto& [number, unused] : state_.settings) {
    if (number == 0) continue;
    const std::string vlan = setting(state_, number, "vlan");
    Membership& m = memberships_[number];
    // A port of all VLANs takes frames without a tag in VLAN 0.
    m.untagged = kNoVlan;
    if (vlan == "all") m.untagged = 0;
    std::from_chars(vlan.data(), vlan.data() + vlan.size(), m.untagged);
    m.tagged = listed(setting(state_, number, "trunk"));
  }
}

bool VdeConsole::has_ports(unsigned vlan) const {
  return std::any_of(memberships_.begin(), memberships_.end(),
                     [&](const auto& m) { return m.second.has(vlan); });
}

bool VdeConsole::active(unsigned number) const {
  return std::any_of(state_.ports.begin(), state_.ports.end(),
                     [&](const auto& p) { return p.second.number == number; });
}

void VdeConsole::port_info(const Args&) {
  say("Numports=%s", setting(state_, 0, "ports").c_str());
  say("HUB=%s", setting(state_, 0, "hub") == "on" ? "true" : "false");
  say("counters=true");
}

void VdeConsole::port_limit(const Args& args) {
  set(0, "ports", std::to_string(number_in(args, 0, 1, kMostPorts)));
}

void VdeConsole::port_hub(const Args& args) {
  set(0, "hub", number_in(args, 0, 0, 1) ? "on" : "off");
}

void VdeConsole::port_vlan(const Args& args) {
  const unsigned port = existing_port(args);
  set(port, "vlan", std::to_string(existing_vlan(args, 1)));
}

void VdeConsole::port_create(const Args& args) {
  const unsigned number = number_in(args, 0, 1, kMostPorts);
  if (state_.settings.contains(number)) throw VdeFailure::of_errno(EEXIST);
  set(number, "allocatable", "off");
}

void VdeConsole::port_create_auto(const Args&) {
  unsigned number = 1;
  while (state_.settings.contains(number)) ++number;
  set(number, "allocatable", "off");
  say("Port %04u", number);
}

void VdeConsole::port_remove(const Args& args) {
  rp_error error = RP_ERROR_INIT;
  if (const int code = rp_switch_forget(switch_, existing_port(args), &error); code != 0)
    throw VdeFailure(code);
}

void VdeConsole::port_allocatable(const Args& args) {
  set(existing_port(args), "allocatable", number_in(args, 1, 0, 1) ? "on" : "off");
}

void VdeConsole::port_user(const Args& args) {
  const std::string& name = argument(args, 1);
  set(existing_port(args), "user", name == "NONE" ? "any" : name);
}

void VdeConsole::port_group(const Args& args) {
  const std::string& name = argument(args, 1);
  set(existing_port(args), "group", name == "NONE" ? "any" : name);
}

rp_port VdeConsole::existing_endpoint(const Args& args) {
  const unsigned number = existing_port(args);
  const auto found = state_.ports.find(number_in(args, 1, 0, ~0u));
  if (found == state_.ports.end() || found->second.number != number)
    throw VdeFailure::of_errno(ENXIO);
  return found->first;
}

void VdeConsole::port_close(const Args& args) {
  rp_error error = RP_ERROR_INIT;
  if (const int code = rp_switch_remove(switch_, existing_endpoint(args), &error); code != 0)
    throw VdeFailure(code);
}

void VdeConsole::port_default_queue(const Args& args) {
  set(0, "queue", std::to_string(number_in(args, 0, 1, kLongestQueue)));
}

/// Endpoints of one port have queues of one length.
void VdeConsole::port_queue(const Args& args) {
  existing_endpoint(args);
  set(existing_port(args), "queue", std::to_string(number_in(args, 2, 1, kLongestQueue)));
}

void VdeConsole::port_reset(const Args& args) {
  rp_error error = RP_ERROR_INIT;
  const unsigned number = args.empty() ? 0 : existing_port(args);
  if (const int code = rp_switch_reset_counters(switch_, number, &error); code != 0)
    throw VdeFailure(code);
}

void VdeConsole::print_port(unsigned number, bool idle_too) {
  if (!idle_too && !active(number)) return;
  const auto of = [&](const char* key) { return setting(state_, number, key); };
  say("Port %04u untagged_vlan=%04u %sACTIVE - %sUnnamed Allocatable", number,
      memberships_.at(number).untagged, active(number) ? "" : "IN",
      of("allocatable") == "on" ? "" : "NOT ");
  say(" Current User: NONE Access Control: (User: %s - Group: %s)", account(of("user")).c_str(),
      account(of("group")).c_str());
  unsigned long long in = 0, in_bytes = 0, out = 0, out_bytes = 0;
  for (const auto& [id, p] : state_.ports) {
    if (p.number != number) continue;
    in += p.counter("in.frames"), in_bytes += p.counter("in.bytes");
    out += p.counter("out.frames"), out_bytes += p.counter("out.bytes");
  }
  say(" IN:  pkts %10llu          bytes %20llu", in, in_bytes);
  say(" OUT: pkts %10llu          bytes %20llu", out, out_bytes);
  for (const auto& [id, p] : state_.ports)
    if (p.number == number)
      say("  -- endpoint ID %04u module ringplug     : %s", id, p.name.c_str());
}

void VdeConsole::print_ports(const Args& args, bool idle_too) {
  if (!args.empty()) {
    const unsigned number = existing_port(args);
    if (!idle_too && !active(number)) throw VdeFailure::of_errno(ENXIO);
    print_port(number, idle_too);
    return;
  }
  for (const auto& [number, unused] : state_.settings)
    if (number != 0) print_port(number, idle_too);
}

void VdeConsole::port_print(const Args& args) {
  print_ports(args, false);
}

void VdeConsole::port_print_all(const Args& args) {
  print_ports(args, true);
}

void VdeConsole::vlan_create(const Args& args) {
  const unsigned vlan = number_in(args, 0, 1, kMostVlan);
  if (vlans_[vlan]) throw VdeFailure::of_errno(EEXIST);
  vlans_.set(vlan);
}

void VdeConsole::vlan_remove(const Args& args) {
  const unsigned vlan = existing_vlan(args);
  if (vlan == 0) throw VdeFailure::of_errno(EINVAL);
  if (has_ports(vlan)) throw VdeFailure::of_errno(EADDRINUSE);
  vlans_.reset(vlan);
}

void VdeConsole::vlan_add(const Args& args) {
  const unsigned vlan = existing_vlan(args);
  const unsigned port = existing_port(args, 1);
  if (vlan == 0 || memberships_.at(port).untagged == vlan) throw VdeFailure::of_errno(EINVAL);
  set(port, "trunk", "+" + std::to_string(vlan));
}

void VdeConsole::vlan_del(const Args& args) {
  const unsigned vlan = existing_vlan(args);
  const unsigned port = existing_port(args, 1);
  if (!memberships_.at(port).tagged[vlan]) throw VdeFailure::of_errno(ENXIO);
  set(port, "trunk", "-" + std::to_string(vlan));
}

void VdeConsole::print_vlan(unsigned vlan, bool idle_too) {
  say("VLAN %04u", vlan);
  for (const auto& [number, m] : memberships_) {
    if (m.has(vlan) && (idle_too || active(number)))
      say(" -- Port %04u tagged=%d active=%d status=Forwarding", number, m.untagged != vlan,
          active(number));
  }
}

void VdeConsole::print_vlans(const Args& args, bool idle_too) {
  if (!args.empty()) {
    print_vlan(existing_vlan(args), idle_too);
    return;
  }
  for (unsigned vlan = 0; vlan <= kMostVlan; ++vlan)
    if (vlans_[vlan] || has_ports(vlan)) print_vlan(vlan, idle_too);
}

void VdeConsole::vlan_print(const Args& args) {
  print_vlans(args, false);
}

void VdeConsole::vlan_print_all(const Args& args) {
  print_vlans(args, true);
}

}  // namespace rp::tools
