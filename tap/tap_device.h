// SPDX-License-Identifier: BSD-3-Clause
// tap_device.h - a tap device from /dev/net/tun: made, or found; handed in; or made by a helper.
#pragma once

#include <memory>

#include "tap/config.h"
#include "tap/device.h"
#include "tap/netlink.h"

namespace rp::tap {

/// The device that the config asks for; not opened yet. Throws Error.
std::unique_ptr<Device> make_tap_device(const TapConfig& config);

/// Applies the settings to a device that is there; `made`: it was made just now. Throws Error.
void apply_settings(Netlink& netlink, unsigned index, const Settings& settings, bool made,
                    const std::string& what);

}  // namespace rp::tap
