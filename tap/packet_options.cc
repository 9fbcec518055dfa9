// SPDX-License-Identifier: BSD-3-Clause
// packet_options.cc - the tables of options of eth, ifb and veth.
#include <algorithm>
#include <charconv>

#include "switch/mac_text.h"
#include "tap/config.h"
#include "tap/name.h"

namespace rp::tap {
namespace {

constexpr std::uint64_t kLeastBurst = 65536, kMostBurst = 16 << 20;
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

/// tc's: a number, and bit, kbit, mbit, gbit or tbit behind it, powers of 1000.
std::uint64_t parse_rate(const std::string& v) {
  std::uint64_t number = 0;
  const char* const all = v.data() + v.size();
  const auto [end, error] = std::from_chars(v.data(), all, number);
  std::string_view unit(end, static_cast<std::size_t>(all - end));
  std::uint64_t factor = 1;
  constexpr std::string_view kUnits = "kmgt";
  if (const auto at = unit.empty() ? kUnits.npos : kUnits.find(unit[0]); at != kUnits.npos) {
    for (std::size_t i = 0; i <= at; ++i) factor *= 1000;
    unit.remove_prefix(1);
  }
  constexpr std::uint64_t kLeast = 8000, kMost = 1'000'000'000'000;
  if (error != std::errc() || !(unit == "bit" || (unit.empty() && factor == 1)) ||
      number > kMost / factor || number * factor < kLeast)
    throw Error(Errc::invalid, "expected bits per second, 8kbit to 1tbit, as in 10mbit");
  return number * factor;
}

constexpr Option<IfbConfig> kIfbOptions[] = {
    {{"dev", "NAME", "", "the device whose frames come in through it; must be given"},
     [](IfbConfig& c, const std::string& v) {
       check_name(v, "a device");
       c.device = v;
     }},
    {{"rate", "BITS", "", "as many bits per second come in at most, as in 10mbit"},
     [](IfbConfig& c, const std::string& v) { c.rate = parse_rate(v); }},
    {{"burst", "2048..16777216", "",
      "bytes that may come in at once; not given: those of 20 ms, at least 65536"},
     [](IfbConfig& c, const std::string& v) { c.burst = parse_number(v, 2048, 16 << 20); }},
    {{"promisc", kOnOff, "on", "take frames for all addresses, not only the device's own"},
     [](IfbConfig& c, const std::string& v) { c.promiscuous = parse_on_off(v); }},
    {{"offload", kOnOff, "on", "send frames out with checksums and segmentation unfinished"},
     [](IfbConfig& c, const std::string& v) { c.offload = parse_on_off(v); }},
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

std::span<const Option<IfbConfig>> ifb_options() {
  return kIfbOptions;
}

IfbConfig make_ifb_config(const std::string& target, const Params& params) {
  need_name(target, "ifb", "ifb0?dev=eth0");
  IfbConfig c;
  c.name = target;
  for (const auto& [key, value] : params) set_option(ifb_options(), c, "ifb", key, value);
  if (c.device.empty())
    throw Error(Errc::invalid, "ifb:" + target + ": which device's frames? Give dev=, as in ifb:" +
                                   target + "?dev=eth0");
  if (c.burst != 0 && c.rate == 0)
    throw Error(Errc::invalid, "ifb:" + target + ": burst= is of no use without rate=");
  if (c.burst == 0)
    c.burst = static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(c.rate / 8 / 50, kLeastBurst, kMostBurst));
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
