// SPDX-License-Identifier: BSD-3-Clause
// control_client.h - asks switches that run, each through its control socket.
#pragma once

#include <string>
#include <vector>

#include "tools/json.h"

namespace rp::tools {

/// What the switch answers to a request (report.h), by default what it tells of itself. Null: none
/// of that name runs. Throws Complaint: this is no name, what runs does not answer, or it refuses.
JsonNodeRef ask(const std::string& name, const std::string& request = R"({"command":"show"})");

/// The names there are sockets for, sorted; a switch that died may have left one. Throws Complaint.
std::vector<std::string> known_names();

}  // namespace rp::tools
