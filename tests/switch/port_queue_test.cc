// SPDX-License-Identifier: BSD-3-Clause
// port_queue_test.cc - how many frames may wait for a port: of its number, of the switch, its own.
#include "base/error.h"
#include "tests/switch/switch_fixture.h"

namespace rp::sw {
namespace {

using Lengths = std::vector<std::size_t>;

class PortQueueTest : public test::SwitchFixture {
 protected:
  test::FakePort& add_with_queue(unsigned number = 0) {
    auto port = std::make_unique<test::FakePort>();
    test::FakePort& p = *port;
    p.queues = true;
    p.claims.number = number;
    ids.push_back(sw.add(std::move(port), "p" + std::to_string(ids.size())));
    ports.push_back(&p);
    return p;
  }
  static PortPolicy with_queue(std::uint32_t frames) {
    PortPolicy p;
    p.queue = frames;
    return p;
  }
};

TEST_F(PortQueueTest, ANumbersOwnIsSetOnAllItsPorts) {
  const auto& one = add_with_queue(3);
  const auto& two = add_with_queue(3);
  const auto& other = add_with_queue(4);
  sw.set_policy(3, with_queue(50));
  EXPECT_EQ(one.queue_lengths, Lengths{50});
  EXPECT_EQ(two.queue_lengths, Lengths{50});
  EXPECT_EQ(other.queue_lengths, Lengths{});
  // Other settings leave it alone.
  PortPolicy isolated = with_queue(50);
  isolated.isolated = true;
  sw.set_policy(3, isolated);
  EXPECT_EQ(one.queue_lengths, Lengths{50});
  sw.set_policy(3, {});
  EXPECT_EQ(one.queue_lengths, (Lengths{50, 0}));
}

TEST_F(PortQueueTest, ItWaitsForWhoComes) {
  sw.set_policy(3, with_queue(50));
  EXPECT_EQ(add_with_queue(3).queue_lengths, Lengths{50});
  EXPECT_EQ(add_with_queue(4).queue_lengths, Lengths{});
}

TEST_F(PortQueueTest, TheSwitchsIsOfPortsToCome) {
  const auto& before = add_with_queue(1);
  sw.set_default_queue(20);
  sw.set_policy(3, with_queue(50));
  EXPECT_EQ(before.queue_lengths, Lengths{});
  EXPECT_EQ(add_with_queue(2).queue_lengths, Lengths{20});
  const auto& own = add_with_queue(3);
  EXPECT_EQ(own.queue_lengths, Lengths{50});
  sw.set_policy(3, {});
  EXPECT_EQ(own.queue_lengths, (Lengths{50, 20}));
}

TEST_F(PortQueueTest, APortWithoutOneSaysSoAndNothingChanges) {
  const auto& with = add_with_queue(3);
  sw.set_default_queue(20);
  add();
  EXPECT_EQ(ports[1]->queue_lengths, Lengths{});
  EXPECT_THROW(sw.set_policy(sw.number(ids[1]), with_queue(5)), Error);
  EXPECT_EQ(sw.policy(ids[1])->queue, 0u);
  // Nor does a port with one that has the number, too.
  auto without = std::make_unique<test::FakePort>();
  without->claims.number = 3;
  sw.add(std::move(without), "without");
  EXPECT_THROW(sw.set_policy(3, with_queue(5)), Error);
  EXPECT_EQ(with.queue_lengths, Lengths{});
}

}  // namespace
}  // namespace rp::sw
