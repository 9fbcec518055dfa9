// SPDX-License-Identifier: BSD-3-Clause
// port_policy.h - what a port of a switch may do: its VLANs, whom it may talk to, who may use it.
#pragma once

#include <sys/types.h>

#include <bitset>
#include <cstdint>
#include <vector>

#include "switch/headers.h"

namespace rp::sw {

inline constexpr std::size_t kVlanIds = 4096;
/// No VLAN at all; 0 is the network of untagged frames, 1 to 4094 are the VLANs (IEEE 802.1Q-2018,
/// 9.6).
inline constexpr std::uint16_t kNoVlan = 0xffff;
inline constexpr std::uint16_t kMaxVlan = 4094;

struct StaticAddress {
  Mac mac;
  std::uint16_t vlan = 0;
  bool operator==(const StaticAddress&) const = default;
};

struct PortPolicy {
  static constexpr uid_t kAnyUser = ~uid_t{0};
  static constexpr gid_t kAnyGroup = ~gid_t{0};

  /// False: the port carries every VLAN, frames pass as they come. True: only the VLANs below.
  bool vlan_aware = false;
  /// The VLAN of frames without a tag, in and out (PVID). kNoVlan: there are none.
  std::uint16_t untagged = 0;
  /// The VLANs whose frames have a tag, in and out.
  std::bitset<kVlanIds> tagged;
  /// No frame passes between two isolated ports.
  bool isolated = false;
  /// Addresses that live here whatever others send: neither aged nor moved.
  std::vector<StaticAddress> addresses;
  /// Only frames from these come in.
  bool locked = false;

  /// Who may take the port's number: both must match where set.
  uid_t user = kAnyUser;
  gid_t group = kAnyGroup;
  /// Taken by who asks for no number.
  bool allocatable = true;
  /// Frames that may wait for a slow reader. 0: the switch's default.
  std::uint32_t queue = 0;

  /// Frames need no look at the policy.
  bool plain() const noexcept { return !vlan_aware && !isolated && !locked; }
};

}  // namespace rp::sw
