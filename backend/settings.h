// SPDX-License-Identifier: BSD-3-Clause
// settings.h - what can be set of a switch and its ports, by name: in a locator, and while it runs.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "backend/locator.h"
#include "base/option.h"
#include "switch/switch.h"

namespace rp::backend {

/// The options that every locator takes, beside its scheme's own.
std::span<const Option<sw::PortPolicy>> port_options();

/// Takes these options out of the locator. Throws Error.
sw::PortPolicy take_policy(Locator& locator);

/// Sets `key` of port number `number`, or of the switch itself when that is 0. Throws Error that
/// names what is wrong; nothing changed then. The switch's thread.
void set(sw::Switch& sw, unsigned number, const std::string& key, const std::string& value);

/// The user database may ask the network, so names become numbers before set() and numbers names
/// after each_setting(), on any thread but the switch's. Other keys' values stay as they are. The
/// first throws Error: there is no such user or group.
std::string with_ids(const std::string& key, const std::string& value);
std::string with_names(const std::string& key, const std::string& value);

/// Calls fn(number, key, value) for all that set() takes; number 0 is the switch itself. What is
/// told can be set again; users and groups are numbers. The switch's thread.
void each_setting(const sw::Switch& sw,
                  const std::function<void(unsigned, std::string_view, const std::string&)>& fn);

}  // namespace rp::backend
