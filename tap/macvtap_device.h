// SPDX-License-Identifier: BSD-3-Clause
// macvtap_device.h - a device on top of another (macvtap, ipvtap), made over netlink and removed at
// the end.
#pragma once

#include <memory>

#include "tap/config.h"
#include "tap/device.h"

namespace rp::tap {

/// The device that the config asks for; not made yet. Throws Error.
std::unique_ptr<Device> make_macvtap_device(const MacvtapConfig& config);

}  // namespace rp::tap
