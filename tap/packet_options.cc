// SPDX-License-Identifier: BSD-3-Clause
// packet_options.cc - the tables of options of eth and veth.
#include "switch/mac_text.h"
#include "tap/config.h"
#include "tap/name.h"

namespace rp::tap {
namespace {

constexpr const char* kOnOff = "on|off";

constexpr Option<EthConfig> kEthOptions[] = {
    {{"promisc", kOnOff, "on", "take frames for all addresses, not only the device's own"},
     [](EthConfig& c, const std::string& v) { c.promiscuous = parse_on_off(v); }},
    {{"fanout", "0..65535", "",
      "share the device's frames, by flow, with all others of this group"},
     [](EthConfig& c, const std::string& v) { c.fanout = parse_number(v, 0, 65535); }},
    {{"offload", kOnOff, "on", "send frames out with checksums and segmentation unfinished"},
     [](EthConfig& c, const std::string& v) { c.offload = parse_on_off(v); }},
};

constexpr Option<VethConfig> kVethOptions[] = {
    {{"peer", "NAME", "", "what the other end is called; not given: NAME with -peer"},
     [](VethConfig& c, const std::string& v) {
       check_name(v, "a device");
       c.peer = v;
     }},
    {{"netns", "PID|PATH", "", "the network namespace that the other end goes to"},
     [](VethConfig& c, const std::string& v) { c.netns = v; }},
    {{"address", "IP/LENGTH", "", "an address of the other end; may be given again"},
     [](VethConfig& c, const std::string& v) { c.settings.addresses.push_back(parse_prefix(v)); }},
    {{"mac", "MAC", "", "the other end's address"},
     [](VethConfig& c, const std::string& v) { c.settings.mac = sw::parse_mac(v); }},
    {{"mtu", "68..65535", "1500", "the MTU of both ends, bytes"},
     [](VethConfig& c, const std::string& v) {
       c.settings.mtu = parse_number(v, kMinMtu, kMaxMtu);
     }},
    {{"bridge", "NAME", "", "make the other end a port of this bridge"},
     [](VethConfig& c, const std::string& v) {
       check_name(v, "a bridge");
       c.settings.bridge = v;
     }},
    {{"offload", kOnOff, "on", "send frames out with checksums and segmentation unfinished"},
     [](VethConfig& c, const std::string& v) { c.offload = parse_on_off(v); }},
};

void need_name(const std::string& target, const std::string& scheme, const std::string& example) {
  if (target.empty())
    throw Error(Errc::invalid, scheme + ": which device? As in " + scheme + ":" + example);
  check_name(target, scheme);
}

}  // namespace

std::span<const Option<EthConfig>> eth_options() {
  return kEthOptions;
}

EthConfig make_eth_config(const std::string& target, const Params& params) {
  need_name(target, "eth", "eth0");
  EthConfig c;
  c.name = target;
  for (const auto& [key, value] : params) set_option(eth_options(), c, "eth", key, value);
  return c;
}

std::span<const Option<VethConfig>> veth_options() {
  return kVethOptions;
}

VethConfig make_veth_config(const std::string& target, const Params& params) {
  need_name(target, "veth", "veth0");
  VethConfig c;
  c.name = target;
  for (const auto& [key, value] : params) set_option(veth_options(), c, "veth", key, value);
  if (c.peer.empty()) {
    c.peer = target + "-peer";
    check_name(c.peer, "veth: give peer=, as");
  }
  return c;
}

}  // namespace rp::tap
