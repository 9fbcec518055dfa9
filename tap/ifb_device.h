// SPDX-License-Identifier: BSD-3-Clause
// ifb_device.h - a device's frames as eth: has them, with what comes in sent through an ifb device.
//
// All that comes in at the device is redirected to an ifb device that we make, is shaped there, and
// goes on from there to the host as if it had come in just then. The port reads it where it leaves
// the ifb, so that guests and the host get the same; what guests send goes out at the device
// itself.
#pragma once

#include <memory>

#include "tap/config.h"
#include "tap/device.h"

namespace rp::tap {

/// The ifb and the redirection are made by attach(), and removed at the end. Throws Error.
std::unique_ptr<Device> make_ifb_device(const IfbConfig& config);

}  // namespace rp::tap
