// SPDX-License-Identifier: BSD-3-Clause
// features.h - the virtio and vhost-user feature bits that our back end offers.
//
// Offered bits are the same at every start of the program: a front end that reconnects keeps what
// it agreed with its guest (vhost-user specification, "Communication").
#pragma once

#include <linux/virtio_config.h>

#include <cstdint>
#include <string>

#include "backend/vhost_user/protocol.h"
#include "backend/vring.h"
#include "switch/frame.h"

namespace rp::backend::vhost_user {

constexpr std::uint64_t bit(unsigned n) noexcept {
  return std::uint64_t{1} << n;
}
constexpr bool has(std::uint64_t features, unsigned n) noexcept {
  return features >> n & 1;
}

/// vhost-user specification, "VHOST_F_LOG_ALL": writes to guest memory are logged.
inline constexpr unsigned kFeatureLogAll = 26;
// virtio 1.2, 5.1.3, newer than the kernel headers of Debian 12.
inline constexpr unsigned kFeatureGuestUso4 = 54, kFeatureGuestUso6 = 55, kFeatureHostUso = 56;

/// virtio 1.2, 5.1.3 and 6.
inline constexpr std::uint64_t kFeatures =
    bit(VIRTIO_NET_F_CSUM) | bit(VIRTIO_NET_F_GUEST_CSUM) | bit(VIRTIO_NET_F_MTU) |
    bit(VIRTIO_NET_F_GUEST_TSO4) | bit(VIRTIO_NET_F_GUEST_TSO6) | bit(VIRTIO_NET_F_GUEST_ECN) |
    bit(VIRTIO_NET_F_HOST_TSO4) | bit(VIRTIO_NET_F_HOST_TSO6) | bit(VIRTIO_NET_F_HOST_ECN) |
    bit(VIRTIO_NET_F_MRG_RXBUF) | bit(VIRTIO_NET_F_STATUS) | bit(VIRTIO_NET_F_CTRL_VQ) |
    bit(VIRTIO_NET_F_GUEST_ANNOUNCE) | bit(VIRTIO_NET_F_MQ) | bit(kFeatureLogAll) |
    bit(VIRTIO_F_ANY_LAYOUT) | bit(VIRTIO_RING_F_INDIRECT_DESC) | bit(VIRTIO_RING_F_EVENT_IDX) |
    bit(kFeatureProtocol) | bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_IN_ORDER) |
    bit(VIRTIO_F_RING_PACKED) | bit(kFeatureGuestUso4) | bit(kFeatureGuestUso6) |
    bit(kFeatureHostUso);

inline constexpr std::uint64_t kProtocolFeatures =
    bit(kMq) | bit(kLogShmfd) | bit(kRarp) | bit(kReplyAck) | bit(kNetMtu) | bit(kInflightShmfd) |
    bit(kResetDevice) | bit(kConfigureMemSlots) | bit(kStatus) | bit(kDoorbell);

/// What a guest with these features takes unfinished (5.1.3.1: each needs GUEST_CSUM).
inline sw::Offloads offloads_of(std::uint64_t f) noexcept {
  if (!has(f, VIRTIO_NET_F_GUEST_CSUM)) return {};
  return {.csum = true,
          .tso4 = has(f, VIRTIO_NET_F_GUEST_TSO4),
          .tso6 = has(f, VIRTIO_NET_F_GUEST_TSO6),
          .ecn = has(f, VIRTIO_NET_F_GUEST_ECN),
          .uso = has(f, kFeatureGuestUso4) && has(f, kFeatureGuestUso6)};
}

/// The agreed features by their names in the virtio specification, in lower case.
std::string feature_names(std::uint64_t features);

}  // namespace rp::backend::vhost_user
