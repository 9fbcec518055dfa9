// SPDX-License-Identifier: BSD-3-Clause
// vlan_list.h - sets of VLANs as text: "10,20-30", "all", "none".
#pragma once

#include <bitset>
#include <string>

#include "switch/port_policy.h"

namespace rp::backend {

using VlanSet = std::bitset<sw::kVlanIds>;

/// Throws Error that says what a list looks like.
VlanSet parse_vlans(const std::string& text);

std::string tell_vlans(const VlanSet& vlans);

}  // namespace rp::backend
