// SPDX-License-Identifier: BSD-3-Clause
// open.h - the ports of this folder, by what a locator says behind its scheme.
#pragma once

#include <memory>

#include "base/log.h"
#include "switch/port.h"
#include "tap/config.h"

namespace rp::tap {

/// tap[:NAME]. Throws Error and leaves nothing behind.
std::unique_ptr<sw::Port> open_tap(const std::string& target, const Params& params, const Log& log,
                                   Instant now);

/// macvtap:PARENT. Throws Error and leaves nothing behind.
std::unique_ptr<sw::Port> open_macvtap(const std::string& target, const Params& params,
                                       const Log& log, Instant now);

/// ipvtap:PARENT. Throws Error and leaves nothing behind.
std::unique_ptr<sw::Port> open_ipvtap(const std::string& target, const Params& params,
                                      const Log& log, Instant now);

/// veth:NAME. Throws Error and leaves nothing behind.
std::unique_ptr<sw::Port> open_veth(const std::string& target, const Params& params, const Log& log,
                                    Instant now);

/// eth:NAME. Throws Error and leaves nothing behind.
std::unique_ptr<sw::Port> open_eth(const std::string& target, const Params& params, const Log& log,
                                   Instant now);

/// ifb:NAME. Throws Error and leaves nothing behind.
std::unique_ptr<sw::Port> open_ifb(const std::string& target, const Params& params, const Log& log,
                                   Instant now);

/// tun[:NAME]. Throws Error and leaves nothing behind.
std::unique_ptr<sw::Port> open_tun(const std::string& target, const Params& params, const Log& log,
                                   Instant now);

/// netns:PID or netns:PATH. Throws Error and leaves nothing behind.
std::unique_ptr<sw::Port> open_netns(const std::string& target, const Params& params,
                                     const Log& log, Instant now);

}  // namespace rp::tap
