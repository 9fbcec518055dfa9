// SPDX-License-Identifier: BSD-3-Clause
// vlan_list.cc - ranges in and out.
#include "backend/vlan_list.h"

#include <sstream>

#include "base/option.h"

namespace rp::backend {

VlanSet parse_vlans(const std::string& text) {
  VlanSet set;
  if (text == "none") return set;
  std::istringstream items(text == "all" ? "1-" + std::to_string(sw::kMaxVlan) : text);
  bool any = false;
  try {
    for (std::string item; std::getline(items, item, ','); any = true) {
      const auto dash = item.find('-');
      const unsigned first = parse_number(item.substr(0, dash), 1, sw::kMaxVlan);
      const unsigned last = dash == std::string::npos
                                ? first
                                : parse_number(item.substr(dash + 1), first, sw::kMaxVlan);
      for (unsigned v = first; v <= last; ++v) set.set(v);
    }
  } catch (const Error&) {
    any = false;
  }
  if (!any || text.ends_with(','))
    throw Error(Errc::invalid, "expected VLANs from 1 to 4094 as in 10,20-30, or all, or none");
  return set;
}

std::string tell_vlans(const VlanSet& set) {
  std::string text;
  for (unsigned v = 1; v <= sw::kMaxVlan; ++v) {
    if (!set[v]) continue;
    const unsigned first = v;
    while (v < sw::kMaxVlan && set[v + 1]) ++v;
    if (!text.empty()) text += ',';
    text += std::to_string(first);
    if (v > first) text += '-' + std::to_string(v);
  }
  return text.empty() ? "none" : text;
}

}  // namespace rp::backend
