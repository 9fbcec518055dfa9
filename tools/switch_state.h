// SPDX-License-Identifier: BSD-3-Clause
// switch_state.h - what a switch tells of itself over the C ABI, gathered.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ringplug.h"

namespace rp::tools {

struct PortState {
  std::string name, detail;
  bool link = false;
  unsigned number = 0;
  std::vector<std::pair<std::string, std::uint64_t>> counters;

  /// 0 when there is none of that name.
  std::uint64_t counter(std::string_view called) const;
};

struct SwitchState {
  using Settings = std::vector<std::pair<std::string, std::string>>;

  std::map<rp_port, PortState> ports;
  std::vector<rp_address_info> addresses;  ///< by port, VLAN, address
  std::map<unsigned, Settings> settings;   ///< by port number; 0: the switch's
};

/// Throws Complaint.
SwitchState state_of(rp_switch* sw);

/// What was set, empty when the number has no such key.
std::string setting(const SwitchState& s, unsigned number, std::string_view key);

std::string text_of(const uint8_t (&mac)[6]);

}  // namespace rp::tools
