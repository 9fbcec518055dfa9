// SPDX-License-Identifier: BSD-3-Clause
// vde_options.h - the options of the locator vde:PATH as a door, and of vde:URL as an uplink.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/option.h"
#include "sockets/vde_cable.h"
#include "sockets/vde_door.h"

namespace rp::sockets {

using VdeParams = std::vector<std::pair<std::string, std::string>>;

/// In the order of the documentation.
std::span<const Option<VdeDoorOptions>> vde_door_options();
std::span<const Option<VdeUplinkOptions>> vde_uplink_options();

/// Both throw Error that names what is wrong.
VdeDoorOptions make_vde_door_options(const std::string& path, const VdeParams& params);
VdeUplinkOptions make_vde_uplink_options(const std::string& url, const VdeParams& params);

}  // namespace rp::sockets
