// SPDX-License-Identifier: BSD-3-Clause
// features.cc - names of features, for people.
#include "backend/vhost_user/features.h"

namespace rp::backend::vhost_user {

std::string feature_names(std::uint64_t features) {
  static constexpr struct {
    unsigned bit;
    const char* name;
  } kNames[] = {
      {VIRTIO_F_VERSION_1, "version-1"},
      {VIRTIO_F_RING_PACKED, "packed"},
      {VIRTIO_F_IN_ORDER, "in-order"},
      {VIRTIO_RING_F_INDIRECT_DESC, "indirect"},
      {VIRTIO_RING_F_EVENT_IDX, "event-idx"},
      {VIRTIO_NET_F_MRG_RXBUF, "mrg-rxbuf"},
      {VIRTIO_NET_F_MQ, "mq"},
      {VIRTIO_NET_F_MTU, "mtu"},
      {VIRTIO_NET_F_CSUM, "csum"},
      {VIRTIO_NET_F_HOST_TSO4, "host-tso4"},
      {VIRTIO_NET_F_HOST_TSO6, "host-tso6"},
      {VIRTIO_NET_F_HOST_ECN, "host-ecn"},
      {kFeatureHostUso, "host-uso"},
      {VIRTIO_NET_F_GUEST_CSUM, "guest-csum"},
      {VIRTIO_NET_F_GUEST_TSO4, "guest-tso4"},
      {VIRTIO_NET_F_GUEST_TSO6, "guest-tso6"},
      {VIRTIO_NET_F_GUEST_ECN, "guest-ecn"},
      {kFeatureGuestUso4, "guest-uso4"},
      {kFeatureGuestUso6, "guest-uso6"},
      {VIRTIO_NET_F_GUEST_ANNOUNCE, "guest-announce"},
      {kFeatureLogAll, "log"},
  };
  std::string names;
  for (const auto& n : kNames) {
    if (has(features, n.bit)) names += (names.empty() ? "" : " ") + std::string(n.name);
  }
  return names;
}

}  // namespace rp::backend::vhost_user
