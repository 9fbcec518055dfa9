// SPDX-License-Identifier: BSD-3-Clause
// open.cc - options, device, port.
#include "tap/open.h"

#include "tap/ifb_device.h"
#include "tap/macvtap_device.h"
#include "tap/netns_port.h"
#include "tap/packet_device.h"
#include "tap/tap_device.h"
#include "tap/tap_port.h"
#include "tap/tun_port.h"

namespace rp::tap {
namespace {

/// The same for the same name, so that guests need not ask again after a restart (FNV-1a).
sw::Mac mac_of(const std::string& name) {
  std::uint32_t h = 2166136261;
  for (const char c : name) h = (h ^ static_cast<std::uint8_t>(c)) * 16777619;
  return {{0x02, 0x72, static_cast<std::uint8_t>(h >> 24), static_cast<std::uint8_t>(h >> 16),
           static_cast<std::uint8_t>(h >> 8), static_cast<std::uint8_t>(h)}};
}

}  // namespace

std::unique_ptr<sw::Port> open_tap(const std::string& target, const Params& params, const Log& log,
                                   Instant now) {
  return std::make_unique<TapPort>(make_tap_device(make_tap_config(target, params)), log, now);
}

std::unique_ptr<sw::Port> open_macvtap(const std::string& target, const Params& params,
                                       const Log& log, Instant now) {
  return std::make_unique<TapPort>(make_macvtap_device(make_macvtap_config(target, params)), log,
                                   now);
}

std::unique_ptr<sw::Port> open_ipvtap(const std::string& target, const Params& params,
                                      const Log& log, Instant now) {
  return std::make_unique<TapPort>(make_macvtap_device(make_ipvtap_config(target, params)), log,
                                   now);
}

std::unique_ptr<sw::Port> open_veth(const std::string& target, const Params& params, const Log& log,
                                    Instant now) {
  return std::make_unique<TapPort>(make_veth_device(make_veth_config(target, params)), log, now);
}

std::unique_ptr<sw::Port> open_eth(const std::string& target, const Params& params, const Log& log,
                                   Instant now) {
  return std::make_unique<TapPort>(make_eth_device(make_eth_config(target, params)), log, now);
}

std::unique_ptr<sw::Port> open_ifb(const std::string& target, const Params& params, const Log& log,
                                   Instant now) {
  return std::make_unique<TapPort>(make_ifb_device(make_ifb_config(target, params)), log, now);
}

std::unique_ptr<sw::Port> open_tun(const std::string& target, const Params& params, const Log& log,
                                   Instant now) {
  const TunConfig c = make_tun_config(target, params);
  const L3Edge edge(c.mac.value_or(mac_of(target)), c.device.settings.addresses, c.proxy);
  return std::make_unique<TunPort>(make_tap_device(c.device), edge, log, now);
}

std::unique_ptr<sw::Port> open_netns(const std::string& target, const Params& params,
                                     const Log& log, Instant now) {
  return open_netns_port(make_netns_config(target, params), log, now);
}

}  // namespace rp::tap
