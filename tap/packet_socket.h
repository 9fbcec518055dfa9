// SPDX-License-Identifier: BSD-3-Clause
// packet_socket.h - what all who use packet sockets do alike.
#pragma once

#include <linux/if_packet.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>
#include <string>

#include "base/error.h"
#include "switch/headers.h"

namespace rp::tap {

/// Throws Error, which begins with `what`.
template <typename T>
void set_packet_option(int fd, int option, const T& value, const std::string& what) {
  if (setsockopt(fd, SOL_PACKET, option, &value, sizeof value) != 0) throw_errno(what, errno);
}

/// The tag that a device took off a frame, as tpacket_auxdata and tpacket2_hdr tell it.
template <typename Told>
std::optional<sw::VlanTag> tag_taken_off(const Told& told) noexcept {
  if (!(told.tp_status & TP_STATUS_VLAN_VALID)) return std::nullopt;
  sw::VlanTag tag;
  tag.tci.set(told.tp_vlan_tci);
  tag.type.set(told.tp_status & TP_STATUS_VLAN_TPID_VALID ? told.tp_vlan_tpid : sw::kEtherVlan);
  return tag;
}

}  // namespace rp::tap
