// SPDX-License-Identifier: BSD-3-Clause
// features_test.cc - what is offered, and what a guest's choice means.
#include "backend/vhost_user/features.h"

#include <gtest/gtest.h>

#include "tests/backend/vhost_user/front_end.h"

namespace rp::backend::vhost_user {
namespace {

TEST(VhostUserFeaturesTest, OnlyWhatIsNegotiatedIsTakenUnfinished) {
  const auto takes = [](std::uint64_t f) {
    const sw::Offloads o = offloads_of(f);
    return std::array{o.csum, o.tso4, o.tso6, o.ecn, o.uso};
  };
  using Five = std::array<bool, 5>;
  const std::uint64_t csum = bit(VIRTIO_NET_F_GUEST_CSUM);
  EXPECT_EQ(takes(0), (Five{}));
  EXPECT_EQ(takes(kFeatures & ~csum), (Five{})) << "each needs GUEST_CSUM (virtio 1.2, 5.1.3.1)";
  EXPECT_EQ(takes(csum), (Five{true}));
  EXPECT_EQ(takes(csum | bit(VIRTIO_NET_F_GUEST_TSO4)), (Five{true, true}));
  EXPECT_EQ(takes(csum | bit(VIRTIO_NET_F_GUEST_TSO6)), (Five{true, false, true}));
  EXPECT_EQ(takes(csum | bit(kFeatureGuestUso4)), (Five{true})) << "USO for one IP only is none";
  EXPECT_EQ(takes(kFeatures), (Five{true, true, true, true, true}));
}

TEST(VhostUserFeaturesTest, TheOfferIsTheSameToEveryone) {
  const auto offer = [] {
    Pair p;
    p.front.negotiate();
    p.front.start_rings();
    return std::pair(p.front.ask(Request::get_features),
                     p.front.ask(Request::get_protocol_features));
  };
  const auto first = offer();
  EXPECT_EQ(first.first, kFeatures);
  EXPECT_EQ(first.second, kProtocolFeatures);
  EXPECT_EQ(offer(), first) << "a front end that reconnects keeps what it agreed";
  // Completing in order is what a front end without IN_ORDER's own records relies on.
  EXPECT_TRUE(has(kFeatures, VIRTIO_F_IN_ORDER));
  EXPECT_TRUE(has(kFeatures, VIRTIO_F_RING_PACKED));
}

// The emulator serves the control queue itself, so that here are none of its commands to abuse.
TEST(VhostUserFeaturesTest, T_CTRL_1_TheControlQueueIsNotToBeHadHere) {
  Pair p;
  p.front.negotiate();
  for (const unsigned f : {unsigned{VIRTIO_NET_F_RSS}, unsigned{VIRTIO_NET_F_HASH_REPORT}}) {
    EXPECT_FALSE(has(kFeatures, f)) << f;
    EXPECT_FALSE(p.front.tell(Request::set_features, p.front.features | bit(f))) << f;
  }
  const auto pairs = static_cast<std::uint32_t>(*p.front.ask(Request::get_queue_num));
  for (const std::uint32_t index : {2 * pairs, 2 * pairs + 1}) {
    VringAddr where = p.front.addresses(0);
    where.index = index;
    EXPECT_FALSE(p.front.tell(Request::set_vring_addr, where)) << index;
    EXPECT_FALSE(p.front.set_size(index, 16)) << index;
    EXPECT_FALSE(p.front.set_base(index, 0)) << index;
    EXPECT_FALSE(p.front.enable(index, true)) << index;
    const Fd kick = make_eventfd();
    EXPECT_FALSE(p.front.tell(Request::set_vring_kick, std::uint64_t{index}, {kick.get()}));
  }
  p.front.start();
  EXPECT_TRUE(p.back.port->link_up());
}

TEST(VhostUserFeaturesTest, NamesForPeople) {
  EXPECT_EQ(feature_names(0), "");
  EXPECT_EQ(feature_names(bit(VIRTIO_F_VERSION_1)), "version-1");
  EXPECT_EQ(feature_names(bit(VIRTIO_NET_F_MRG_RXBUF) | bit(VIRTIO_F_VERSION_1) | bit(60)),
            "version-1 mrg-rxbuf");
}

}  // namespace
}  // namespace rp::backend::vhost_user
