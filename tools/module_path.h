// SPDX-License-Identifier: BSD-3-Clause
// module_path.h - makes sure that the programs we start find ringplug's libvdeplug module.
#pragma once

#include <optional>
#include <string>

namespace rp::tools {

/// The value VDEPLUGIN_PATH must have; nothing when libvdeplug finds the module as things are.
/// Throws Complaint when there is no module.
std::optional<std::string> wanted_vdeplugin_path();

}  // namespace rp::tools
