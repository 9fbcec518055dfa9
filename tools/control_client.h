// SPDX-License-Identifier: BSD-3-Clause
// control_client.h - asks switches that run, each through its control socket.
#pragma once

#include <string>
#include <vector>

#include "tools/json.h"

namespace rp::tools {

/// What the switch tells of itself. Null: none of that name runs. Throws Complaint: this is no
/// name, or what runs does not answer.
JsonNodeRef ask(const std::string& name);

/// The names there are sockets for, sorted; a switch that died may have left one. Throws Complaint.
std::vector<std::string> known_names();

}  // namespace rp::tools
