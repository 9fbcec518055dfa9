// SPDX-License-Identifier: BSD-3-Clause
// packed_ring_model_test.cc - a random driver, legal and illegal, against a naive reference model.
#include <algorithm>
#include <deque>
#include <random>
#include <utility>
#include <vector>

#include "tests/backend/packed_ring_fixture.h"

namespace rp::backend {
namespace {

using Place = PackedPlace;

// The reference model: the rules of virtio 1.2, 2.8 read once more, over memory that stands still.
// It counts descriptors since the beginning; slot and wrap counter follow from the count.

struct Expected {
  RingFault fault = RingFault::none;
  bool any = false;
  std::uint16_t id = 0;
  unsigned slots = 0;
  std::vector<std::pair<const std::uint8_t*, std::uint32_t>> buffers;
};

class Reference {
 public:
  Reference(const MockPackedDriver& driver, Direction direction, RingFeatures features, Place at)
      : driver_(driver),
        direction_(direction),
        features_(features),
        size_(driver.where().size),
        next_(at.slot + (at.wrap ? 0u : size_)),
        used_(next_) {}

  Expected look() const {
    Expected e;
    if (!is_available(next_)) return e;
    if (next_ - used_ == size_) return failed(RingFault::avail_jump);
    e.any = true;
    const vring_packed_desc first = at(next_);
    if (first.flags & VRING_DESC_F_INDIRECT) {
      const bool shaped = features_.indirect && !(first.flags & VRING_DESC_F_NEXT) &&
                          first.len % 16 == 0 && first.len / 16 >= 1 && first.len / 16 <= size_ &&
                          first.addr % 8 == 0 && inside(first.addr, first.len);
      if (!shaped) return failed(RingFault::indirect);
      const auto* table = reinterpret_cast<const vring_packed_desc*>(pointer(first.addr));
      for (unsigned i = 0; i < first.len / 16; ++i) {
        if (const auto f = add(e, table[i]); f != RingFault::none) return failed(f);
      }
      e.slots = 1;
      return finish(e, first.id);
    }
    for (;; ++e.slots) {
      if (e.slots == size_ - (next_ - used_)) return failed(RingFault::loop);
      if (!is_available(next_ + e.slots)) return failed(RingFault::wrap);
      const vring_packed_desc d = at(next_ + e.slots);
      if (const auto f = add(e, d); f != RingFault::none) return failed(f);
      if (d.flags & VRING_DESC_F_NEXT) continue;
      ++e.slots;
      return finish(e, d.id);
    }
  }
  void took(unsigned slots) { next_ += slots; }
  void gave_back(unsigned slots) { next_ -= slots; }
  /// Whether a driver that waits for (slot, wrap) is told of these used slots: naive, one by one.
  bool publish(unsigned slots, std::uint32_t event) {
    bool passed = false;
    for (; slots > 0; --slots, ++used_)
      passed |= used_ % size_ == (event & 0x7fff) && wrap(used_) == ((event & 0x8000) != 0);
    switch (event >> 16 & 3) {
      case MockPackedDriver::kDisable:
        return false;
      case MockPackedDriver::kDesc:
        return passed || !features_.event_idx;
      default:
        return true;
    }
  }
  std::uint32_t position() const { return encoded(next_) | encoded(used_) << 16; }

 private:
  static Expected failed(RingFault f) {
    Expected e;
    e.fault = f;
    return e;
  }
  bool wrap(std::uint64_t n) const { return n / size_ % 2 == 0; }
  std::uint32_t encoded(std::uint64_t n) const {
    return static_cast<std::uint32_t>(n % size_) | (wrap(n) ? 0x8000 : 0);
  }
  const vring_packed_desc& at(std::uint64_t n) const {
    return *driver_.desc(static_cast<std::uint16_t>(n % size_));
  }
  bool is_available(std::uint64_t n) const {
    const bool avail = at(n).flags & 0x80, used = at(n).flags & 0x8000;
    return avail == wrap(n) && used != wrap(n);
  }
  static bool inside(std::uint64_t address, std::uint64_t len) {
    return len > 0 && len <= kRegionSize && address >= kRegion && address <= kEnd - len;
  }
  const std::uint8_t* pointer(std::uint64_t address) const {
    return driver_.at<std::uint8_t>(kRegion) + (address - kRegion);
  }
  RingFault add(Expected& e, const vring_packed_desc& d) const {
    if (d.flags & VRING_DESC_F_INDIRECT) return RingFault::indirect;
    if (((d.flags & VRING_DESC_F_WRITE) != 0) != (direction_ == Direction::to_driver))
      return RingFault::direction;
    if (!inside(d.addr, d.len)) return RingFault::address;
    e.buffers.emplace_back(pointer(d.addr), d.len);
    std::uint64_t total = 0;
    for (const auto& b : e.buffers) total += b.second;
    return total > 1 << 20 ? RingFault::too_big : RingFault::none;
  }
  Expected finish(Expected e, std::uint16_t id) const {
    if (id >= size_) return failed(RingFault::head_range);
    e.id = id;
    return e;
  }

  const MockPackedDriver& driver_;
  Direction direction_;
  RingFeatures features_;
  unsigned size_;
  std::uint64_t next_, used_;
};

class PackedReferenceTest : public PackedRingTest {
 protected:
  void restart() {
    const auto size = static_cast<std::uint16_t>(1 + random() % 64);
    const Place at{static_cast<std::uint16_t>(random() % size), random() % 2 == 0};
    direction = random() % 2 ? Direction::to_driver : Direction::from_driver;
    features = {.event_idx = random() % 2 == 0, .indirect = random() % 4 != 0};
    start(size, direction, features, at);
    model = std::make_unique<Reference>(*driver, direction, features, at);
    event = 0;
    open.clear();
    completed.clear();
    tidy = true;
  }
  bool writable() const { return direction == Direction::to_driver; }
  void offer_legal() {
    const std::size_t room = driver->free_descriptors();
    if (room == 0) return;
    std::vector<Piece> pieces(1 + random() % std::min<std::size_t>(room, 5));
    for (Piece& p : pieces)
      p = {kData + random() % 0x10000, 1 + static_cast<std::uint32_t>(random() % 2000), writable()};
    // Tables are re-used only after all that could name them is gone: one per slot.
    if (features.indirect && random() % 3 == 0)
      driver->indirect(pieces, kTable + 0x400u * driver->next().slot);
    else
      driver->chain(pieces);
  }
  vring_packed_desc evil_desc() {
    const std::uint64_t addresses[] = {kData,  kRegion, kEnd - 1, kEnd,
                                       kTable, 0,       random(), ~std::uint64_t{0} - 7};
    const std::uint32_t lengths[] = {
        0, 1, 16, 64, 4096, 0x20000, 0xffffffff, static_cast<std::uint32_t>(random())};
    const std::uint16_t bits[] = {0, 0x80, 0x8000, 0x8080};
    return {addresses[random() % 8], lengths[random() % 8],
            static_cast<std::uint16_t>(random() % (driver->where().size + 2u)),
            static_cast<std::uint16_t>(random() % 8 | bits[random() % 4])};
  }
  void misbehave() {
    const auto slot = static_cast<std::uint16_t>(random() % driver->where().size);
    switch (random() % 5) {
      case 0:
        driver->set_desc(slot, evil_desc());
        break;
      case 1:
        store_desc(driver->at<vring_packed_desc>(kTable + 0x400u * slot), evil_desc());
        break;
      case 2:  // one bit of one flag
        driver->desc(slot)->flags = static_cast<std::uint16_t>(driver->desc(slot)->flags ^
                                                               (std::uint16_t{1} << random() % 16));
        break;
      case 3: {  // a chain without end
        const auto flags =
            static_cast<std::uint16_t>(VRING_DESC_F_NEXT | (writable() ? VRING_DESC_F_WRITE : 0));
        const std::uint32_t len = random() % 2 ? 1 : 0x10000;
        for (std::uint16_t i = 0; i < driver->where().size; ++i)
          driver->put({kData, len, 0, flags}, i == 0);
        driver->publish();
        break;
      }
      default:  // offers what it has not got back
        driver->put(evil_desc());
        driver->publish();
    }
    tidy = false;
  }
  /// One pop, against the model. False: the ring broke, as the model said.
  bool pop_both() {
    const Expected e = model->look();
    EXPECT_EQ(ring->has_work(), e.any || e.fault != RingFault::none);
    if (e.buffers.size() > 1 && random() % 8 == 0) {
      EXPECT_EQ(ring->pop(std::span(segments).first(e.buffers.size() - 1), chain, bytes), -1);
    }
    const int n = pop();
    EXPECT_EQ(ring->fault(), e.fault)
        << ring_fault_name(ring->fault()) << " for " << ring_fault_name(e.fault);
    if (e.fault != RingFault::none) {
      ++faults[static_cast<std::size_t>(e.fault)];
      return false;
    }
    EXPECT_EQ(n, static_cast<int>(e.buffers.size()));
    if (!e.any || HasFailure()) return !HasFailure();
    EXPECT_EQ(chain.id, e.id);
    EXPECT_EQ(chain.slots, e.slots);
    for (std::size_t i = 0; i < e.buffers.size(); ++i) {
      EXPECT_EQ(segments[i].data, e.buffers[i].first);
      EXPECT_EQ(segments[i].len, e.buffers[i].second);
    }
    model->took(e.slots);
    open.push_back(chain);
    return true;
  }
  void complete_one() {
    if (open.empty()) return;
    const auto len = static_cast<std::uint32_t>(random() % 3 * 100);
    ring->complete(open.front(), len);
    completed.emplace_back(open.front(), len);
    open.pop_front();
  }
  void publish_both() {
    unsigned slots = 0;
    for (const auto& c : completed) slots += c.first.slots;
    const Place first = place_of(ring->published());
    const bool due = model->publish(slots, event) && !completed.empty();
    EXPECT_EQ(ring->publish(), due);
    EXPECT_EQ(ring->position(), model->position());
    Place at = first;
    for (const auto& [c, len] : completed) {
      const auto d = load_desc(driver->desc(at.slot));
      EXPECT_EQ(d.id, c.id);
      EXPECT_EQ(d.len, len);
      EXPECT_EQ(d.flags, at.used() | (len ? VRING_DESC_F_WRITE : 0));
      MockPackedDriver::Used used{};
      if (tidy) {  // an honest driver's books agree
        ASSERT_TRUE(driver->reap(used));
        EXPECT_EQ(used.id, c.id);
      }
      for (unsigned i = 0; i < c.slots; ++i) driver->step(at);
    }
    completed.clear();
    // Books that went wrong are good for some more evil, not for ever.
    if (!tidy && random() % 4 == 0 && open.empty()) restart();
  }
  static Place place_of(std::uint16_t encoded) {
    return {static_cast<std::uint16_t>(encoded & 0x7fff), (encoded & 0x8000) != 0};
  }
  void unpop_one() {
    if (open.empty()) return;
    ring->unpop(open.back());
    model->gave_back(open.back().slots);
    open.pop_back();
    EXPECT_EQ(ring->position(), model->position());
  }
  void enable() {
    const Expected e = model->look();
    EXPECT_EQ(ring->enable_notifications(), !e.any && e.fault == RingFault::none);
    EXPECT_EQ(driver->device_event(),
              (ring->position() & 0xffff) |
                  (features.event_idx ? MockPackedDriver::kDesc : MockPackedDriver::kEnable) << 16);
  }
  void set_event() {
    const Place near = place_of(ring->published());
    const auto off =
        random() % 4 ? (near.slot + random() % 4) % driver->where().size : random() % 0x8000;
    const bool wrap = random() % 4 ? near.wrap : random() % 2 == 0;
    event = static_cast<std::uint32_t>(random() % 4 << 16 | off | (wrap ? 0x8000 : 0));
    driver->set_driver_event(event >> 16, static_cast<std::uint16_t>(event));
  }
  void step() {
    const auto dice = random() % 16;
    if (dice < 5) {
      if (tidy) offer_legal();
      if (random() % 2) driver->publish(features.event_idx);
    } else if (dice < 10) {
      if (!pop_both()) restart();
    } else if (dice < 12) {
      complete_one();
    } else if (dice < 14) {
      if (random() % 2) set_event();
      publish_both();
    } else if (dice < 15) {
      random() % 2 ? unpop_one() : enable();
    } else if (random() % 8 == 0) {
      misbehave();
    }
  }

  std::mt19937_64 random{20240607};
  Direction direction = Direction::from_driver;
  RingFeatures features;
  std::unique_ptr<Reference> model;
  std::uint32_t event = 0;
  std::deque<Chain> open;  ///< popped, not completed
  std::vector<std::pair<Chain, std::uint32_t>> completed;
  bool tidy = true;  ///< the driver kept to the rules so far
  std::array<std::size_t, static_cast<std::size_t>(RingFault::count)> faults{};
};

TEST_F(PackedReferenceTest, RandomDriversAgreeWithTheModel) {
  restart();
  for (std::size_t i = 0; i < rounds(1'000'000); ++i) {
    step();
    ASSERT_FALSE(HasFailure()) << "step " << i;
  }
  for (std::size_t f = 1; f < faults.size(); ++f)
    EXPECT_GT(faults[f], 0u) << ring_fault_name(static_cast<RingFault>(f)) << " never happened";
}

}  // namespace
}  // namespace rp::backend
