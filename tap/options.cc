// SPDX-License-Identifier: BSD-3-Clause
// options.cc - the table of tap's options and the rules that tie them together.

#include <sys/socket.h>

#include <algorithm>
#include <climits>

#include "base/account.h"
#include "switch/mac_text.h"
#include "tap/config.h"
#include "tap/name.h"

namespace rp::tap {
namespace {

constexpr const char* kOnOff = "on|off";

uid_t parse_user(const std::string& v) {
  if (const auto id = find_user(v)) return *id;
  throw Error(Errc::not_found, "there is no such user");
}

gid_t parse_group(const std::string& v) {
  if (const auto id = find_group(v)) return *id;
  throw Error(Errc::not_found, "there is no such group");
}

std::string checked_name(const std::string& v, const char* what) {
  check_name(v, what);
  return v;
}

constexpr Option<TapConfig> kOptions[] = {
    {{"bridge", "NAME", "", "make it a port of this bridge"},
     [](TapConfig& c, const std::string& v) { c.settings.bridge = checked_name(v, "a bridge"); }},
    {{"address", "IP/LENGTH", "", "give the host's end this address; may be given again"},
     [](TapConfig& c, const std::string& v) { c.settings.addresses.push_back(parse_prefix(v)); }},
    {{"up", kOnOff, "", "bring it up or down; not given: up when it is made here"},
     [](TapConfig& c, const std::string& v) { c.settings.up = parse_on_off(v); }},
    {{"mtu", "68..65535", "", "the device's MTU, bytes"},
     [](TapConfig& c, const std::string& v) {
       c.settings.mtu = parse_number(v, kMinMtu, kMaxMtu);
     }},
    {{"mac", "MAC", "", "the address of the host's end"},
     [](TapConfig& c, const std::string& v) { c.settings.mac = sw::parse_mac(v); }},
    {{"persist", kOnOff, "",
      "keep or remove the device at the end; not given: removed when it was made here"},
     [](TapConfig& c, const std::string& v) { c.persist = parse_on_off(v); }},
    {{"owner", "USER", "", "who else may open the device: a name or a number"},
     [](TapConfig& c, const std::string& v) { c.owner = parse_user(v); }},
    {{"group", "GROUP", "", "the same, for a group"},
     [](TapConfig& c, const std::string& v) { c.group = parse_group(v); }},
    {{"queues", "1..256", "1", "queues of the device"},
     [](TapConfig& c, const std::string& v) { c.queues = parse_number(v, 1, kMaxQueues); }},
    {{"offload", kOnOff, "on",
      "let checksums and segmentation of 64 KiB frames pass through unfinished"},
     [](TapConfig& c, const std::string& v) { c.offload = parse_on_off(v); }},
    {{"fd", "NUMBER", "", "a tap descriptor that is open already, instead of NAME"},
     [](TapConfig& c, const std::string& v) {
       c.fd = static_cast<int>(parse_number(v, 0, INT_MAX));
     }},
    {{"helper", "PATH", "",
      "qemu-bridge-helper, which makes the device on bridge= for users without rights"},
     [](TapConfig& c, const std::string& v) { c.helper = v; }},
};

constexpr Option<TunConfig> kTunOptions[] = {
    {{"address", "IP/LENGTH", "", "the host's end, the guests' gateway; may be given again"},
     [](TunConfig& c, const std::string& v) {
       c.device.settings.addresses.push_back(parse_prefix(v));
     }},
    {{"proxy", kOnOff, "off", "answer for every address that no guest has, not only address="},
     [](TunConfig& c, const std::string& v) { c.proxy = parse_on_off(v); }},
    {{"mac", "MAC", "", "what the guests see it as; not given: made of its name"},
     [](TunConfig& c, const std::string& v) { c.mac = sw::parse_mac(v); }},
    {{"mtu", "68..65535", "1500", "the device's MTU, bytes"},
     [](TunConfig& c, const std::string& v) {
       c.device.settings.mtu = parse_number(v, kMinMtu, kMaxMtu);
     }},
    {{"up", kOnOff, "", "bring it up or down; not given: up when it is made here"},
     [](TunConfig& c, const std::string& v) { c.device.settings.up = parse_on_off(v); }},
    {{"persist", kOnOff, "", "as of tap"},
     [](TunConfig& c, const std::string& v) { c.device.persist = parse_on_off(v); }},
    {{"owner", "USER", "", "as of tap"},
     [](TunConfig& c, const std::string& v) { c.device.owner = parse_user(v); }},
    {{"group", "GROUP", "", "as of tap"},
     [](TunConfig& c, const std::string& v) { c.device.group = parse_group(v); }},
    {{"queues", "1..256", "1", "queues of the device"},
     [](TunConfig& c, const std::string& v) { c.device.queues = parse_number(v, 1, kMaxQueues); }},
    {{"offload", kOnOff, "on", "let checksums and segmentation pass through unfinished"},
     [](TunConfig& c, const std::string& v) { c.device.offload = parse_on_off(v); }},
};

constexpr Option<NetnsConfig> kNetnsOptions[] = {
    {{"name", "NAME", "eth0", "what the device is called in there"},
     [](NetnsConfig& c, const std::string& v) { c.name = checked_name(v, "a device"); }},
    {{"dhcp", kOnOff, "", "ask the switch for an address; not given: unless an IPv4 address= is"},
     [](NetnsConfig& c, const std::string& v) { c.dhcp = parse_on_off(v); }},
    {{"address", "IP/LENGTH", "", "an address in there; may be given again"},
     [](NetnsConfig& c, const std::string& v) { c.settings.addresses.push_back(parse_prefix(v)); }},
    {{"gateway", "IP", "", "the default route in there; may be given again, for IPv6"},
     [](NetnsConfig& c, const std::string& v) { c.gateways.push_back(parse_ip(v)); }},
    {{"mtu", "68..65535", "1500", "the device's MTU, bytes"},
     [](NetnsConfig& c, const std::string& v) {
       c.settings.mtu = parse_number(v, kMinMtu, kMaxMtu);
     }},
    {{"mac", "MAC", "", "the device's address"},
     [](NetnsConfig& c, const std::string& v) { c.settings.mac = sw::parse_mac(v); }},
    {{"offload", kOnOff, "on", "let checksums and segmentation pass through unfinished"},
     [](NetnsConfig& c, const std::string& v) { c.offload = parse_on_off(v); }},
};

/// A device that somebody else made for us: nothing about it is ours to set.
void check_foreign(const TapConfig& c, const char* how) {
  const Settings& s = c.settings;
  if (!c.name.empty() || c.queues != 1 || c.persist || c.owner || c.group || s.mac || s.mtu ||
      s.up || !s.addresses.empty() || (c.fd >= 0 && (!s.bridge.empty() || !c.helper.empty())))
    throw Error(Errc::invalid, std::string("tap: with ") + how);
}

}  // namespace

std::span<const Option<TapConfig>> tap_options() {
  return kOptions;
}

TapConfig make_tap_config(const std::string& target, const Params& params) {
  TapConfig c;
  c.name = target;
  for (const auto& [key, value] : params) set_option(tap_options(), c, "tap", key, value);
  if (!c.name.empty()) check_name(c.name, "tap");
  if (c.fd >= 0) {
    check_foreign(c,
                  "fd= the device is the caller's to name and set up; only offload= goes with it");
  } else if (!c.helper.empty()) {
    check_foreign(c,
                  "helper= the helper names and sets up the device; only bridge= and offload= "
                  "go with it");
    if (c.settings.bridge.empty()) c.settings.bridge = "br0";
  }
  return c;
}

std::span<const Option<TunConfig>> tun_options() {
  return kTunOptions;
}

TunConfig make_tun_config(const std::string& target, const Params& params) {
  TunConfig c;
  c.device.l3 = true;
  c.device.name = target;
  for (const auto& [key, value] : params) set_option(tun_options(), c, "tun", key, value);
  if (!target.empty()) check_name(target, "tun");
  if (c.device.settings.addresses.empty() && !c.proxy)
    throw Error(
        Errc::invalid,
        "tun: it would answer for nobody: give address=IP/LENGTH, the host's end, or proxy=on");
  return c;
}

std::span<const Option<NetnsConfig>> netns_options() {
  return kNetnsOptions;
}

NetnsConfig make_netns_config(const std::string& target, const Params& params) {
  NetnsConfig c;
  c.target = target;
  if (target.empty())
    throw Error(Errc::invalid,
                "netns: whose namespace? The number of a process or a path, as netns:1234 or "
                "netns:/run/netns/blue");
  for (const auto& [key, value] : params) set_option(netns_options(), c, "netns", key, value);
  const auto& a = c.settings.addresses;
  if (!c.dhcp)
    c.dhcp =
        std::none_of(a.begin(), a.end(), [](const Prefix& p) { return p.ip.family == AF_INET; });
  return c;
}

}  // namespace rp::tap
