// SPDX-License-Identifier: BSD-3-Clause
// vde_options.h - the options of the locator vde:PATH as a door.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/option.h"
#include "sockets/vde_door.h"

namespace rp::sockets {

/// In the order of the documentation.
std::span<const Option<VdeDoorOptions>> vde_door_options();

/// Throws Error that names what is wrong.
VdeDoorOptions make_vde_door_options(
    const std::string& path, const std::vector<std::pair<std::string, std::string>>& params);

}  // namespace rp::sockets
