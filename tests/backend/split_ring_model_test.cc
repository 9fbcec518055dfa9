// SPDX-License-Identifier: BSD-3-Clause
// split_ring_model_test.cc - a random driver, legal and illegal, against a naive reference model.
#include <algorithm>
#include <random>
#include <utility>
#include <vector>

#include "tests/backend/split_ring_fixture.h"

namespace rp::backend {
namespace {

// The reference model: the rules of virtio 1.2, 2.7 read once more, over memory that stands still.

struct Expected {
  RingFault fault = RingFault::none;
  bool any = false;
  std::uint16_t head = 0;
  std::vector<std::pair<const std::uint8_t*, std::uint32_t>> buffers;
};

class Reference {
 public:
  Reference(const MockDriver& driver, Direction direction, RingFeatures features,
            std::uint16_t next)
      : driver_(driver), direction_(direction), features_(features), next_(next), seen_(next) {}

  Expected look() {
    Expected e;
    const VringAreas& a = driver_.areas();
    // Read again only when all that it promised was taken.
    if (seen_ == next_) seen_ = *a.avail_idx();
    if (seen_ == next_) return e;
    if (static_cast<std::uint16_t>(seen_ - next_) > a.size) return failed(RingFault::avail_jump);
    e.any = true;
    e.head = a.avail[2 + next_ % a.size];
    if (e.head >= a.size) return failed(RingFault::head_range);
    const vring_desc first = a.desc[e.head];
    if (first.flags & VRING_DESC_F_INDIRECT) {
      const bool shaped = features_.indirect && !(first.flags & VRING_DESC_F_NEXT) &&
                          first.len % 16 == 0 && first.len / 16 >= 1 && first.len / 16 <= a.size &&
                          first.addr % 8 == 0 && inside(first.addr, first.len);
      if (!shaped) return failed(RingFault::indirect);
      const auto* table = reinterpret_cast<const vring_desc*>(pointer(first.addr));
      return follow(e, table, 0, first.len / 16, RingFault::indirect, RingFault::indirect);
    }
    return follow(e, a.desc, e.head, a.size, RingFault::head_range, RingFault::loop);
  }
  void took() { ++next_; }
  void gave_back() { --next_; }

 private:
  static Expected failed(RingFault f) {
    Expected e;
    e.fault = f;
    return e;
  }
  static bool inside(std::uint64_t address, std::uint64_t len) {
    return len > 0 && len <= kRegionSize && address >= kRegion && address <= kEnd - len;
  }
  const std::uint8_t* pointer(std::uint64_t address) const {
    return driver_.at<std::uint8_t>(kRegion) + (address - kRegion);
  }
  Expected follow(Expected e, const vring_desc* table, unsigned i, unsigned entries,
                  RingFault range, RingFault circle) const {
    std::uint64_t total = 0;
    for (;;) {
      if (e.buffers.size() == entries) return failed(circle);
      const vring_desc& d = table[i];
      if (d.flags & VRING_DESC_F_INDIRECT) return failed(RingFault::indirect);
      if (((d.flags & VRING_DESC_F_WRITE) != 0) != (direction_ == Direction::to_driver))
        return failed(RingFault::direction);
      if (!inside(d.addr, d.len)) return failed(RingFault::address);
      total += d.len;
      if (total > 1 << 20) return failed(RingFault::too_big);
      e.buffers.emplace_back(pointer(d.addr), d.len);
      if (!(d.flags & VRING_DESC_F_NEXT)) return e;
      if (d.next >= entries) return failed(range);
      i = d.next;
    }
  }

  const MockDriver& driver_;
  Direction direction_;
  RingFeatures features_;
  std::uint16_t next_, seen_;
};

class ReferenceTest : public SplitRingTest {
 protected:
  void restart() {
    const auto size = static_cast<std::uint16_t>(1u << random() % 7);
    const auto at = static_cast<std::uint16_t>(random());
    direction = random() % 2 ? Direction::to_driver : Direction::from_driver;
    features = {.event_idx = random() % 2 == 0, .indirect = random() % 4 != 0};
    start(size, direction, features, at);
    model = std::make_unique<Reference>(*driver, direction, features, at);
    open.clear();
    completed.clear();
    popped_in_a_row = 0;
    published = at;
  }
  bool writable() const { return direction == Direction::to_driver; }
  Piece legal_piece() {
    return {kData + random() % 0x10000, 1 + static_cast<std::uint32_t>(random() % 2000),
            writable()};
  }
  void offer_legal() {
    const std::size_t room = driver->free_descriptors();
    if (room == 0 || driver->in_flight() >= driver->where().size) return;
    std::vector<Piece> pieces(1 + random() % std::min<std::size_t>(room, 5));
    for (Piece& p : pieces) p = legal_piece();
    // Tables are re-used only after all that could name them is gone: one per head.
    if (features.indirect && random() % 3 == 0)
      driver->indirect(pieces, kTable + 0x400u * (driver->next() % driver->where().size));
    else
      driver->chain(pieces);
  }
  vring_desc evil_desc() {
    const std::uint64_t addresses[] = {kData,  kRegion, kEnd - 1, kEnd,
                                       kTable, 0,       random(), ~std::uint64_t{0} - 7};
    const std::uint32_t lengths[] = {
        0, 1, 16, 64, 4096, 0x20000, 0xffffffff, static_cast<std::uint32_t>(random())};
    return {addresses[random() % 8], lengths[random() % 8],
            static_cast<std::uint16_t>(random() % 8),
            static_cast<std::uint16_t>(random() % (driver->where().size + 2u))};
  }
  void misbehave() {
    const std::uint16_t size = driver->where().size;
    switch (random() % 4) {
      case 0:
        driver->set_desc(static_cast<std::uint16_t>(random() % size), evil_desc());
        break;
      case 1:
        store_desc(driver->at<vring_desc>(kTable) + random() % 64, evil_desc());
        break;
      case 2:
        *driver->areas().avail_ring(static_cast<std::uint16_t>(random())) =
            static_cast<std::uint16_t>(random() % (size + 2u));
        break;
      default:
        driver->set_avail_idx(static_cast<std::uint16_t>(driver->next() + random() % 5 - 2));
    }
  }
  /// One pop, against the model. False: the ring broke, as the model said.
  bool pop_both() {
    const Expected e = model->look();
    const int n = pop();
    EXPECT_EQ(ring->fault(), e.fault)
        << ring_fault_name(ring->fault()) << " for " << ring_fault_name(e.fault);
    if (e.fault != RingFault::none) return false;
    EXPECT_EQ(n, static_cast<int>(e.buffers.size()));
    if (!e.any || HasFailure()) return !HasFailure();
    EXPECT_EQ(head, e.head);
    for (std::size_t i = 0; i < e.buffers.size(); ++i) {
      EXPECT_EQ(segments[i].data, e.buffers[i].first);
      EXPECT_EQ(segments[i].len, e.buffers[i].second);
    }
    model->took();
    open.push_back(head);
    ++popped_in_a_row;
    return true;
  }
  void complete_one() {
    if (open.empty()) return;
    // A driver that offers a chain twice can have more in flight than its used ring holds.
    if (completed.size() == driver->where().size) publish_both();
    const std::size_t i = random() % open.size();
    const auto len = static_cast<std::uint32_t>(random());
    ring->complete({open[i], 1}, len);
    completed.emplace_back(open[i], len);
    open.erase(open.begin() + static_cast<std::ptrdiff_t>(i));
    popped_in_a_row = 0;
  }
  void publish_both() {
    const std::uint16_t old = published, event = *driver->areas().used_event();
    published = static_cast<std::uint16_t>(published + completed.size());
    bool due = false;  // naive: does any of the new indices equal event + 1?
    for (std::uint16_t i = old; i != published; ++i) due |= i == event;
    if (!features.event_idx) due = !completed.empty();
    EXPECT_EQ(ring->publish(), due);
    EXPECT_EQ(driver->used_idx(), published);
    for (const auto& [id, len] : completed) {
      MockDriver::Used used{};
      ASSERT_TRUE(driver->reap(used));
      EXPECT_EQ(used.id, id);
      EXPECT_EQ(used.len, len);
    }
    completed.clear();
  }
  void step() {
    const auto dice = random() % 16;
    if (dice < 5) {
      offer_legal();
      if (random() % 2) driver->publish(features.event_idx);
    } else if (dice < 11) {
      if (!pop_both()) restart();
    } else if (dice < 13) {
      complete_one();
    } else if (dice < 14) {
      if (random() % 2)
        driver->set_used_event(static_cast<std::uint16_t>(published + random() % 4));
      publish_both();
    } else if (dice < 15) {
      unpop_both();
    } else if (random() % 8 == 0) {
      misbehave();
    }
  }
  void unpop_both() {
    if (popped_in_a_row == 0) return;
    ring->unpop({});
    model->gave_back();
    open.pop_back();
    --popped_in_a_row;
  }

  std::mt19937_64 random{20240607};
  Direction direction = Direction::from_driver;
  RingFeatures features;
  std::unique_ptr<Reference> model;
  std::vector<std::uint16_t> open;  ///< popped, not completed
  std::vector<std::pair<std::uint32_t, std::uint32_t>> completed;
  int popped_in_a_row = 0;
  std::uint16_t published = 0;
};

TEST_F(ReferenceTest, RandomDriversAgreeWithTheModel) {
  restart();
  for (std::size_t i = 0; i < rounds(1'000'000); ++i) {
    step();
    ASSERT_FALSE(HasFailure()) << "step " << i;
  }
}

}  // namespace
}  // namespace rp::backend
