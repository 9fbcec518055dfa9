// SPDX-License-Identifier: BSD-3-Clause
// macvtap_options.cc - the tables of options of macvtap and ipvtap, under the names of iproute2.
#include <linux/if_link.h>

#include "switch/mac_text.h"
#include "tap/config.h"
#include "tap/name.h"

namespace rp::tap {
namespace {

struct Word {
  const char* text;
  unsigned value;
};

constexpr Word kMacvtapModes[] = {{"bridge", MACVLAN_MODE_BRIDGE},
                                  {"vepa", MACVLAN_MODE_VEPA},
                                  {"private", MACVLAN_MODE_PRIVATE},
                                  {"passthru", MACVLAN_MODE_PASSTHRU},
                                  {"source", MACVLAN_MODE_SOURCE}};
constexpr Word kIpvtapModes[] = {
    {"l2", IPVLAN_MODE_L2}, {"l3", IPVLAN_MODE_L3}, {"l3s", IPVLAN_MODE_L3S}};
constexpr Word kIpvtapFlags[] = {
    {"bridge", 0}, {"private", IPVLAN_F_PRIVATE}, {"vepa", IPVLAN_F_VEPA}};

unsigned parse_word(std::span<const Word> words, const std::string& v) {
  std::string known;
  for (const Word& w : words) {
    if (v == w.text) return w.value;
    known += (known.empty() ? "" : ", ") + std::string(w.text);
  }
  throw Error(Errc::invalid, "expected one of " + known);
}

void set_name(MacvtapConfig& c, const std::string& v) {
  check_name(v, "a device");
  c.name = v;
}

void set_mtu(MacvtapConfig& c, const std::string& v) {
  c.settings.mtu = parse_number(v, kMinMtu, kMaxMtu);
}

void set_queues(MacvtapConfig& c, const std::string& v) {
  c.queues = parse_number(v, 1, kMaxQueues);
}

void set_offload(MacvtapConfig& c, const std::string& v) {
  c.offload = parse_on_off(v);
}

constexpr OptionDoc kName{"name", "NAME", "",
                          "what the device is called; not given: the first free"};
constexpr OptionDoc kMtu{"mtu", "68..65535", "",
                         "the device's MTU, bytes; not given: its parent's"};
constexpr OptionDoc kQueues{"queues", "1..256", "1", "queues of the device"};
constexpr OptionDoc kOffload{"offload", "on|off", "on",
                             "let checksums and segmentation of 64 KiB frames pass through"};

constexpr Option<MacvtapConfig> kMacvtapOptions[] = {
    {{"mode", "bridge|vepa|private|passthru|source", "bridge",
      "whom it reaches beside the outside: siblings; what a switch outside reflects; nobody; it "
      "has "
      "the parent for itself; senders in allow="},
     [](MacvtapConfig& c, const std::string& v) { c.mode = parse_word(kMacvtapModes, v); }},
    {{"mac", "MAC", "", "the device's address, which is the one that the guest must have"},
     [](MacvtapConfig& c, const std::string& v) { c.settings.mac = sw::parse_mac(v); }},
    {{"allow", "MAC", "", "a sender that mode=source lets in; may be given again"},
     [](MacvtapConfig& c, const std::string& v) { c.allowed.push_back(sw::parse_mac(v)); }},
    {{"host-path", "on|off", "off",
      "give the host a macvlan device, by which it reaches the guest"},
     [](MacvtapConfig& c, const std::string& v) { c.host_path = parse_on_off(v); }},
    {{"host-address", "IP/LENGTH", "", "an address of that device; may be given again"},
     [](MacvtapConfig& c, const std::string& v) { c.host_addresses.push_back(parse_prefix(v)); }},
    {kName, set_name},
    {kMtu, set_mtu},
    {kQueues, set_queues},
    {kOffload, set_offload},
};

constexpr Option<MacvtapConfig> kIpvtapOptions[] = {
    {{"mode", "l2|l3|l3s", "l3", "what is looked at to find the device"},
     [](MacvtapConfig& c, const std::string& v) { c.mode = parse_word(kIpvtapModes, v); }},
    {{"flags", "bridge|private|vepa", "bridge", "whom it reaches beside the outside"},
     [](MacvtapConfig& c, const std::string& v) { c.flags = parse_word(kIpvtapFlags, v); }},
    {kName, set_name},
    {kMtu, set_mtu},
    {kQueues, set_queues},
    {kOffload, set_offload},
};

MacvtapConfig make(const char* kind, std::span<const Option<MacvtapConfig>> options,
                   const std::string& target, const Params& params) {
  MacvtapConfig c;
  c.kind = kind;
  c.parent = target;
  c.mode = c.is_ipvtap() ? unsigned{IPVLAN_MODE_L3} : unsigned{MACVLAN_MODE_BRIDGE};
  if (target.empty())
    throw Error(Errc::invalid,
                std::string(kind) + ": on top of which device? As in " + kind + ":eth0");
  check_name(target, kind);
  for (const auto& [key, value] : params) set_option(options, c, kind, key, value);
  return c;
}

}  // namespace

std::span<const Option<MacvtapConfig>> macvtap_options() {
  return kMacvtapOptions;
}

std::span<const Option<MacvtapConfig>> ipvtap_options() {
  return kIpvtapOptions;
}

MacvtapConfig make_macvtap_config(const std::string& target, const Params& params) {
  MacvtapConfig c = make("macvtap", kMacvtapOptions, target, params);
  if (!c.allowed.empty() && c.mode != MACVLAN_MODE_SOURCE)
    throw Error(Errc::invalid, "macvtap: allow= is for mode=source alone");
  if (!c.host_addresses.empty() && !c.host_path)
    throw Error(Errc::invalid, "macvtap: host-address= is of the device that host-path=on makes");
  if (c.host_path && c.mode != MACVLAN_MODE_BRIDGE)
    throw Error(Errc::invalid, "macvtap: host-path=on wants mode=bridge: the host is a sibling");
  return c;
}

MacvtapConfig make_ipvtap_config(const std::string& target, const Params& params) {
  return make("ipvtap", kIpvtapOptions, target, params);
}

}  // namespace rp::tap
