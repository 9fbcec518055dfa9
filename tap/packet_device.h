// SPDX-License-Identifier: BSD-3-Clause
// packet_device.h - any network device by a packet socket (AF_PACKET), and pairs of them (veth).
//
// Frames carry their virtio_net_hdr (PACKET_VNET_HDR), so that a veth's 64 KiB segments pass whole.
// One system call a frame, not a mapped ring: TPACKET_V3 holds frames back until a block is full or
// a millisecond has passed, and slots of older rings are too small for segments.
#pragma once

#include <memory>

#include "tap/config.h"
#include "tap/device.h"
#include "tap/links.h"

namespace rp::tap {

/// Puts a packet socket on the device. Throws Error that starts with `what`.
Attached attach_packet(const Link& link, const EthConfig& config, const std::string& what);
/// A device that is there. Throws Error.
std::unique_ptr<Device> make_eth_device(const EthConfig& config);
/// A veth pair, made by attach() and removed at the end. Throws Error.
std::unique_ptr<Device> make_veth_device(const VethConfig& config);

}  // namespace rp::tap
