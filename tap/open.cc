// SPDX-License-Identifier: BSD-3-Clause
// open.cc - options, device, port.
#include "tap/open.h"

#include "tap/macvtap_device.h"
#include "tap/netns_port.h"
#include "tap/packet_device.h"
#include "tap/tap_device.h"
#include "tap/tap_port.h"

namespace rp::tap {

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

std::unique_ptr<sw::Port> open_netns(const std::string& target, const Params& params,
                                     const Log& log, Instant now) {
  return open_netns_port(make_netns_config(target, params), log, now);
}

}  // namespace rp::tap
