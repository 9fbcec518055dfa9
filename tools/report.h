// SPDX-License-Identifier: BSD-3-Clause
// report.h - what a switch tells of itself on its control socket.
#pragma once

#include <string>

#include "ringplug.h"

namespace rp::tools {

/// The line that answers a request: {"command":"show"} is answered by
///   {"name", "pid", "version", "uptime" (seconds), "sandbox" (words),
///    "ports": [{"port", "number", "name", "link" (true or false), "detail",
///               "counters": {NAME: VALUE}}],
///    "settings": [{"number" (0: the switch itself), KEY: "VALUE"}],
///    "addresses": [{"mac", "vlan", "port", "port_name", "age" (seconds), "static"}],
///    "addresses_omitted"}
/// {"command":"set", "number", "key", "value"} by {} once it is set, and what is none by {"error"}.
/// `sandbox` is what is in force, `since` is g_get_monotonic_time() at the start.
std::string answer(rp_switch* sw, const std::string& name, std::int64_t since,
                   const std::string& sandbox, const std::string& request);

}  // namespace rp::tools
