// SPDX-License-Identifier: BSD-3-Clause
// mac_text.h - MAC addresses as people write them: xx:xx:xx:xx:xx:xx.
#pragma once

#include <string>

#include "switch/headers.h"

namespace rp::sw {

/// The address of one station: neither zero nor a group's. Throws Error.
Mac parse_mac(const std::string& text);
std::string text_of(const Mac& mac);

}  // namespace rp::sw
