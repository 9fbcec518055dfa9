// SPDX-License-Identifier: BSD-3-Clause
// tracked_ring_test.cc - a device that notes what it has in hand is killed at any instruction, and
// nothing is lost or done twice; nor when its predecessor was another, by the book of the
// vhost-user specification, that completes out of order. And regions that lie.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>

#include "tests/backend/mock_packed_driver.h"
#include "tests/backend/ring_region.h"
#include "tests/backend/scale.h"
#include "tests/backend/step_through.h"
#include "tests/backend/tracked_ring_book.h"

namespace rp::backend {
namespace {

using Bytes = std::vector<std::uint8_t>;

/// A chain that a driver offered.
struct Offer {
  std::uint16_t id, slots;
  std::uint64_t address;
};

/// Guest memory with one ring at its beginning, and the region beside it. Both outlive a device.
struct World {
  static constexpr std::size_t kRingBytes = 0x800, kRegionBytes = 0x800;

  World() : region_map(make_memfd(kRegionBytes).get(), kRegionBytes) {
    add_region(memory, kRegion, kRegionSize);
  }
  std::uint8_t* ring() const { return memory.translate(kRegion, 1); }
  std::uint8_t* region() const { return region_map.data(); }
  bool differs(const Bytes& image) const {
    return std::memcmp(ring(), image.data(), kRingBytes) != 0 ||
           std::memcmp(region(), image.data() + kRingBytes, kRegionBytes) != 0;
  }
  Bytes image() const {
    Bytes all(ring(), ring() + kRingBytes);
    all.insert(all.end(), region(), region() + kRegionBytes);
    return all;
  }
  void restore(const Bytes& image) const {
    std::memcpy(ring(), image.data(), kRingBytes);
    std::memcpy(region(), image.data() + kRingBytes, kRegionBytes);
  }

  GuestMemory memory;
  Mapping region_map;
};

template <typename Side>
class TrackedRingTest : public ::testing::Test {
 protected:
  using Driver = typename Side::Driver;
  using Ring = typename Side::Ring;
  using Book = typename Side::Book;

  std::unique_ptr<Ring> device(const World& w, const Driver& d) {
    return std::make_unique<Ring>(w.memory, d.where(), Direction::to_driver, kAll, Ring::kFresh,
                                  InflightRegion{w.region(), entries});
  }
  /// An empty ring, and a region in which nothing was noted.
  void fresh(std::uint16_t ring_size, std::uint16_t region_entries) {
    size = ring_size;
    entries = region_entries;
    ring.reset();
    std::memset(world.region(), 0, World::kRegionBytes);
    driver = std::make_unique<Driver>(world.memory, Side::where(size, kRegion));
    ring = device(world, *driver);
    open.clear();
    in_hand.clear();
    next_address = kData;
  }
  /// Some laps by a device and its successors, so that the kill comes at any place.
  void start() {
    const auto n = static_cast<std::uint16_t>(1u << random() % 5);
    fresh(n, static_cast<std::uint16_t>(n << random() % 2));
    for (std::size_t rest = random() % (4u * size); rest > 0; --rest) {
      offer(*driver, open, random() % (size + 1u));
      pop(1 + random() % 4);
      if (random() % 8 == 0) {  // a successor has them in hand as well
        ring = device(world, *driver);
        const std::size_t n_again = in_hand.size();
        in_hand.clear();
        pop(random() % (n_again + 1));
      }
      complete(random() % (in_hand.size() + 1));
      ring->publish();
      reap(*driver, open);
      ASSERT_FALSE(this->HasFailure());
    }
  }
  /// Offers chains until `slots` are taken, or nearly.
  void offer(Driver& d, std::deque<Offer>& to, std::size_t slots) {
    while (slots > 0 && d.free_descriptors() > 0) {
      const std::size_t n = 1 + random() % std::min({slots, d.free_descriptors(), std::size_t{3}});
      slots -= n;
      next_address = kData + (next_address + 64) % 0x10000;
      std::vector<Piece> pieces(n, Piece{next_address, 10, true});
      for (std::size_t i = 1; i < n; ++i) pieces[i].address += 16 * i;
      to.push_back({d.chain(pieces), static_cast<std::uint16_t>(n), next_address});
    }
    d.publish();
  }
  void pop(std::size_t most) {
    Chain c{};
    std::uint32_t bytes;
    for (; most > 0 && ring->pop(segments, c, bytes) > 0; --most) in_hand.push_back(c);
    EXPECT_FALSE(ring->broken()) << ring_fault_name(ring->fault());
  }
  void complete(std::size_t n) {
    for (; n > 0; --n, in_hand.pop_front()) ring->complete(in_hand.front(), 7);
  }
  /// Takes all that is visible; in_order: it must be the oldest offers. Returns how many.
  std::size_t reap(Driver& d, std::deque<Offer>& from, bool in_order = true) {
    typename Driver::Used used{};
    std::size_t n = 0;
    for (; !from.empty() && d.reap(used) && !this->HasFailure(); ++n) {
      const auto it =
          std::find_if(from.begin(), from.end(), [&](const Offer& o) { return o.id == used.id; });
      EXPECT_TRUE(it != from.end()) << "completed twice, or never offered: " << used.id;
      if (it == from.end()) return n;
      EXPECT_TRUE(!in_order || it == from.begin());
      from.erase(it);
    }
    return n;
  }
  std::uint64_t address_of(const World& w, const Segment& s) const {
    return kRegion + static_cast<std::uint64_t>(s.data - w.memory.translate(kRegion, 1));
  }

  /// A successor comes upon this image: it must find all that is owed, in order, and nothing else.
  /// So must one by the book.
  void succeed(const Bytes& image, bool in_order = true) {
    copy.restore(image);
    Driver d(*driver, copy.memory);
    std::deque<Offer> owed = open;
    // The driver lives on while the device is dead.
    if (random() % 2) reap(d, owed, in_order);
    std::deque<Offer> more;
    if (random() % 2) offer(d, more, random() % (size + 1u));
    {
      std::deque<Offer> invisible = owed;
      Driver looking(d);
      reap(looking, invisible, in_order);
      expect_by_the_book(d, invisible);
    }
    auto next = device(copy, d);
    reap(d, owed, in_order);
    owed.insert(owed.end(), more.begin(), more.end());
    std::vector<Chain> chains;
    Chain c{};
    std::uint32_t bytes;
    for (const Offer& o : owed) {
      const int n = next->pop(segments, c, bytes);
      EXPECT_EQ(n, o.slots) << ring_fault_name(next->fault());
      if (n <= 0) return;
      EXPECT_EQ(c.id, o.id);
      EXPECT_EQ(address_of(copy, segments[0]), o.address);
      chains.push_back(c);
    }
    EXPECT_EQ(next->pop(segments, c, bytes), 0);
    for (const Chain& done : chains) next->complete(done, 3);
    next->publish();
    EXPECT_EQ(reap(d, owed), chains.size());
    // The region does as well as a new one.
    std::deque<Offer> last;
    offer(d, last, size);
    for (std::size_t i = 0; i < last.size(); ++i) {
      EXPECT_GT(next->pop(segments, c, bytes), 0) << ring_fault_name(next->fault());
      next->complete(c, 3);
    }
    next->publish();
    const std::size_t n = last.size();
    EXPECT_EQ(reap(d, last), n);
  }

  /// Reads the copy as the specification tells a back end that reconnects.
  void expect_by_the_book(const Driver& d, const std::deque<Offer>& owed) {
    const Bytes before = copy.image();
    Book book(copy.memory, d.where(), copy.region(), entries);
    const auto again = book.reconnect();
    ASSERT_LE(again.size(), owed.size());
    for (std::size_t i = 0; i < again.size(); ++i) {
      EXPECT_EQ(again[i].id, owed[i].id);
      EXPECT_EQ(again[i].address, owed[i].address);
      EXPECT_EQ(again[i].slots, owed[i].slots);
    }
    for (std::size_t i = again.size(); i < owed.size(); ++i) {
      const auto got = book.fetch();
      EXPECT_EQ(got.id, owed[i].id);
      EXPECT_EQ(got.address, owed[i].address);
    }
    copy.restore(before);
  }

  std::mt19937_64 random{20241019};
  World world, copy;
  std::uint16_t size = 0, entries = 0;
  std::unique_ptr<Driver> driver;
  std::unique_ptr<Ring> ring;
  std::deque<Offer> open;     ///< offered, not reaped
  std::deque<Chain> in_hand;  ///< popped, not completed
  std::uint64_t next_address = kData;
  std::array<Segment, kMaxQueueSize> segments;
};

using Sides = ::testing::Types<SplitSide, PackedSide>;
TYPED_TEST_SUITE(TrackedRingTest, Sides);

TYPED_TEST(TrackedRingTest, KilledAtAnyInstruction) {
  std::size_t states = 0;
  for (std::size_t round = 0; round < rounds(30) && !this->HasFailure(); ++round) {
    SCOPED_TRACE(round);
    this->start();
    this->offer(*this->driver, this->open, this->size);
    const std::size_t now = this->random() % 5, back = this->random() % 3,
                      later = this->random() % 5;
    std::vector<Bytes> images{this->world.image()};
    const bool traced = step_through(
        [&] {
          const std::size_t had = this->in_hand.size();
          this->pop(now);
          for (std::size_t i = 0; i<back&& this->in_hand.size()> had; ++i) {
            this->ring->unpop(this->in_hand.back());
            this->in_hand.pop_back();
          }
          this->complete((this->in_hand.size() + 1) / 2);
          this->ring->publish();
          this->pop(later);
          this->complete(this->in_hand.size());
          this->ring->publish();
        },
        [&] {
          if (this->world.differs(images.back())) images.push_back(this->world.image());
        });
    if (!traced) GTEST_SKIP() << "no ptrace here";
    for (std::size_t i = 0; i < images.size() && !this->HasFailure(); ++i) {
      SCOPED_TRACE("state " + std::to_string(i) + " of " + std::to_string(images.size()) +
                   ", size " + std::to_string(this->size));
      this->succeed(images[i]);
    }
    states += images.size();
  }
  EXPECT_GT(states, rounds(300));
}

TYPED_TEST(TrackedRingTest, WhatIsPoppedIsMarkedUntilTheDriverHasItBack) {
  const auto marked = [this] {
    this->copy.restore(this->world.image());
    typename TypeParam::Book book(this->copy.memory, this->driver->where(), this->copy.region(),
                                  this->entries);
    return book.reconnect().size();
  };
  this->fresh(16, 16);
  this->offer(*this->driver, this->open, 16);
  this->pop(4);
  EXPECT_EQ(marked(), 4u);
  this->ring->unpop(this->in_hand.back());
  this->in_hand.pop_back();
  EXPECT_EQ(marked(), 3u);
  this->complete(2);
  EXPECT_EQ(marked(), 3u);
  this->ring->publish();
  EXPECT_EQ(marked(), 1u);
}

TYPED_TEST(TrackedRingTest, KilledWhileASuccessorTakesOver) {
  for (std::size_t round = 0; round < rounds(12) && !this->HasFailure(); ++round) {
    SCOPED_TRACE(round);
    this->start();
    this->offer(*this->driver, this->open, this->size);
    // Some state in the middle of a batch.
    this->pop(4);
    std::vector<Bytes> images{this->world.image()};
    const auto look = [&] {
      if (this->world.differs(images.back())) images.push_back(this->world.image());
    };
    if (!step_through(
            [&] {
              this->complete(this->in_hand.size());
              this->ring->publish();
            },
            look))
      GTEST_SKIP() << "no ptrace here";
    const Bytes half = images[this->random() % images.size()];
    this->world.restore(half);
    images = {half};
    step_through([&] { this->device(this->world, *this->driver); }, look);
    for (std::size_t i = 0; i < images.size() && !this->HasFailure(); ++i) {
      SCOPED_TRACE(i);
      this->succeed(images[i]);
    }
  }
}

TYPED_TEST(TrackedRingTest, AfterOneThatCompletesOutOfOrder) {
  for (std::size_t round = 0; round < rounds(60) && !this->HasFailure(); ++round) {
    SCOPED_TRACE(round);
    this->start();
    this->offer(*this->driver, this->open, this->size);
    this->ring.reset();
    const Bytes before = this->world.image();
    const auto seed = this->random();
    for (std::size_t budget = 0;; ++budget) {
      SCOPED_TRACE(budget);
      this->world.restore(before);
      std::mt19937_64 dice(seed);
      typename TypeParam::Book other(this->world.memory, this->driver->where(),
                                     this->world.region(), this->entries);
      bool died = false;
      try {
        other.reconnect();
        other.dies_after(budget);
        for (int step = 0; step < 6; ++step) {
          for (auto n = dice() % 4; n > 0; --n) other.fetch();
          for (auto n = dice() % 3; n > 0; --n) other.complete_any(dice());
          other.publish();
        }
      } catch (const typename TypeParam::Book::Died&) {
        died = true;
      }
      this->succeed(this->world.image(), false);
      if (!died || this->HasFailure()) break;
    }
  }
}

/// The words of a region that both layouts have.
struct Words {
  explicit Words(std::uint8_t* r) : split(reinterpret_cast<InflightSplit*>(r)) {}
  InflightSplit* split;
  InflightPacked* packed() const { return reinterpret_cast<InflightPacked*>(split); }
};

TYPED_TEST(TrackedRingTest, T_INF_1_ARegionOfAnotherSizeOrVersion) {
  const auto refused = [&](auto change) {
    this->fresh(8, 8);
    this->offer(*this->driver, this->open, 6);
    this->pop(4);
    this->complete(1);
    this->ring->publish();
    const auto before = this->world.image();
    EXPECT_NO_THROW(this->device(this->world, *this->driver));
    this->world.restore(before);
    change(Words(this->world.region()));
    try {
      this->device(this->world, *this->driver);
    } catch (const Error&) {
      return true;
    }
    return false;
  };
  EXPECT_FALSE(refused([](Words) {}));
  EXPECT_FALSE(refused([](Words w) { w.split->features = ~0ull; })) << "none is known";
  EXPECT_FALSE(refused([](Words w) { w.split->version = 0; })) << "nothing was noted";
  EXPECT_TRUE(refused([](Words w) { w.split->version = 2; }));
  EXPECT_TRUE(refused([](Words w) { w.split->version = 0xffff; }));
  constexpr std::uint16_t kOther[] = {0, 7, 9, 16, 0xffff};
  for (const std::uint16_t n : kOther)
    EXPECT_TRUE(refused([n](Words w) { w.split->desc_num = n; })) << n;
  EXPECT_TRUE(refused([&](Words) { this->entries = 9; })) << "the message says another size";
  EXPECT_TRUE(refused([&](Words) { this->entries = 4; })) << "smaller than the ring";
  EXPECT_TRUE(refused([&](Words w) {
    this->entries = 4;
    w.split->desc_num = 4;
  }));
  if constexpr (TypeParam::kPacked) {
    EXPECT_TRUE(refused([](Words w) { w.packed()->place = 8; })) << "used_idx";
    EXPECT_TRUE(refused([](Words w) { w.packed()->place = 0xffffull << 16; })) << "old_used_idx";
    const auto chain = [&](auto change) {
      return refused([change](Words w) {
        for (std::uint16_t i = 0; i < 8; ++i) {
          auto& e = w.packed()->desc()[i];
          if (e.inflight) return change(e, i);
        }
        FAIL() << "none in hand";
      });
    };
    using Entry = InflightPacked::Entry;
    EXPECT_TRUE(chain([](Entry& e, std::uint16_t) { e.num = 0; }));
    EXPECT_TRUE(chain([](Entry& e, std::uint16_t) { e.num = 9; }));
    EXPECT_TRUE(chain([](Entry& e, std::uint16_t) { e.num = 0xffff; }));
    EXPECT_TRUE(chain([](Entry& e, std::uint16_t i) {
      e.num = 2;
      e.next = i;
    })) << "a loop";
    EXPECT_TRUE(chain([](Entry& e, std::uint16_t) {
      e.num = 2;
      e.next = 8;
    }));
    EXPECT_TRUE(chain([](Entry& e, std::uint16_t) {
      e.num = 3;
      e.next = 0xffff;
    }));
    EXPECT_FALSE(chain([](Entry& e, std::uint16_t) { e.last = 0xffff; })) << "follows from num";
    EXPECT_FALSE(refused([](Words w) { w.packed()->old_free_head = 8; })) << "none is free";
    EXPECT_FALSE(refused([](Words w) {  // a loop, which takes all marks off
      w.packed()->old_free_head = 3;
      w.packed()->desc()[3].next = 3;
    }));
  } else {
    EXPECT_TRUE(refused([](Words w) { w.split->last_batch_head = 8; }));
    EXPECT_TRUE(refused([](Words w) { w.split->last_batch_head = 0xffff; }));
    const auto under_way = [](Words w) { w.split->used_idx = 0xfffe; };
    EXPECT_FALSE(refused(under_way));
    EXPECT_FALSE(refused([](Words w) {  // a loop
      w.split->used_idx = 0x8000;
      w.split->desc()[w.split->last_batch_head].next = w.split->last_batch_head;
    }));
    EXPECT_TRUE(refused([&](Words w) {
      under_way(w);
      w.split->desc()[w.split->last_batch_head].next = 8;
    }));
  }
}

TYPED_TEST(TrackedRingTest, T_INF_1_AllInFlight) {
  constexpr std::uint16_t kEntries[] = {8, 64};
  for (const std::uint16_t n : kEntries) {
    this->fresh(8, n);
    this->offer(*this->driver, this->open, 6);
    Words w(this->world.region());
    for (std::uint16_t i = 0; i < n; ++i) {
      if constexpr (TypeParam::kPacked) {
        w.packed()->desc()[i].inflight = 0xff;
        w.packed()->desc()[i].num = 1;
        w.packed()->old_free_head = n;
      } else {
        w.split->desc()[i].inflight = 0xff;
      }
    }
    try {
      auto next = this->device(this->world, *this->driver);
      Chain c{};
      std::uint32_t bytes;
      int chains = 0;
      while (next->pop(this->segments, c, bytes) > 0 && chains < 100) ++chains;
      EXPECT_LE(chains, 8) << "no more than a ring has";
      EXPECT_TRUE(next->broken()) << "buffers that the driver never offered";
    } catch (const Error&) {
      EXPECT_TRUE(TypeParam::kPacked && n == 64) << "longer than the ring";
    }
  }
}

TYPED_TEST(TrackedRingTest, T_INF_1_AnyBytesInTheRegion) {
  std::size_t taken_over = 0;
  const Bytes rest(World::kRegionBytes, 0xa5);
  for (std::size_t round = 0; round < rounds(30'000) && !this->HasFailure(); ++round) {
    if (round % 50 == 0) {
      this->start();
      this->offer(*this->driver, this->open, this->size);
      this->pop(5);
    }
    const auto image = this->world.image();
    const std::size_t used = inflight_bytes(TypeParam::kPacked, this->entries);
    for (auto n = 1 + this->random() % 6; n > 0; --n) {
      // Half of them where nearly right values hurt most.
      auto& b = this->world.region()[12 + this->random() % (this->random() % 2 ? 12 : used - 12)];
      b = static_cast<std::uint8_t>(this->random() % 2 ? this->random() : b ^ 1);
    }
    std::memcpy(this->world.region() + used, rest.data(), World::kRegionBytes - used);
    const std::uint8_t* outside = this->world.ring() + World::kRingBytes;
    const Bytes data(outside, outside + 0x1000);
    try {
      auto next = this->device(this->world, *this->driver);
      ++taken_over;
      Chain c{};
      std::uint32_t bytes;
      for (int i = 0; i < 40 && next->pop(this->segments, c, bytes) > 0; ++i) {
        if (i % 3 == 0) {
          next->unpop(c);
          if (next->pop(this->segments, c, bytes) <= 0) break;
        }
        next->complete(c, 1);
        if (i % 5 == 0) next->publish();
      }
      next->publish();
      next->retire();
    } catch (const Error&) {
    }
    EXPECT_TRUE(std::equal(rest.begin() + static_cast<std::ptrdiff_t>(used), rest.end(),
                           this->world.region() + used));
    EXPECT_TRUE(std::equal(data.begin(), data.end(), outside)) << "outside the ring";
    this->world.restore(image);
  }
  EXPECT_GT(taken_over, 0u);
}

TYPED_TEST(TrackedRingTest, T_INF_1_ScribbledWhileLive) {
  for (std::size_t round = 0; round < rounds(300) && !this->HasFailure(); ++round) {
    this->start();
    const auto scribble = [&] {
      for (std::size_t i = 0; i < World::kRegionBytes; ++i)
        this->world.region()[i] = static_cast<std::uint8_t>(this->random());
    };
    for (int step = 0; step < 30; ++step) {
      this->offer(*this->driver, this->open, this->random() % (this->size + 1u));
      scribble();
      this->pop(this->random() % 5);
      scribble();
      this->complete(this->random() % (this->in_hand.size() + 1));
      scribble();
      this->ring->publish();
      this->reap(*this->driver, this->open);
    }
    this->pop(1000);
    this->complete(this->in_hand.size());
    this->ring->publish();
    this->reap(*this->driver, this->open);
    EXPECT_TRUE(this->open.empty()) << "what was in it was never read back";
  }
}

TYPED_TEST(TrackedRingTest, T_RING_13_MoreThanTheRingHoldsInHand) {
  this->fresh(8, 8);
  for (int i = 0; i < 8; ++i) this->driver->chain({{kData, 10, true}});
  this->driver->publish();
  this->pop(8);
  if constexpr (TypeParam::kPacked) {
    for (std::uint16_t i = 0; i < 8; ++i)
      this->driver->set_desc(i, {kData, 10, i, VRING_DESC_F_WRITE | MockPackedDriver::kUsed});
  } else {
    this->driver->set_avail_idx(16);
  }
  Chain c{};
  std::uint32_t bytes;
  EXPECT_EQ(this->ring->pop(this->segments, c, bytes), 0);
  EXPECT_EQ(this->ring->fault(), RingFault::avail_jump);
}

TYPED_TEST(TrackedRingTest, ARingThatStoppedWithNothingInHandBeginsAnew) {
  this->fresh(8, 8);
  this->offer(*this->driver, this->open, 5);
  this->pop(2);
  this->ring->retire();
  EXPECT_EQ(Words(this->world.region()).split->version, kInflightVersion) << "two are in hand";
  this->pop(100);
  this->complete(this->in_hand.size());
  this->ring->publish();
  this->reap(*this->driver, this->open);
  this->ring->retire();
  this->driver->reset();
  this->ring = this->device(this->world, *this->driver);
  this->offer(*this->driver, this->open, 5);
  this->pop(100);
  EXPECT_EQ(this->in_hand.size(), this->open.size());
  this->complete(this->in_hand.size());
  this->ring->publish();
  this->reap(*this->driver, this->open);
  EXPECT_TRUE(this->open.empty());
}

TYPED_TEST(TrackedRingTest, ARingWithChainsInHandNeverSleeps) {
  this->fresh(8, 8);
  this->offer(*this->driver, this->open, 5);
  const std::size_t n = this->open.size();
  this->pop(n);
  this->in_hand.clear();
  this->ring = this->device(this->world, *this->driver);
  EXPECT_TRUE(this->ring->has_work());
  EXPECT_FALSE(this->ring->enable_notifications());
  this->pop(n);
  EXPECT_FALSE(this->ring->has_work());
  EXPECT_TRUE(this->ring->enable_notifications());
}

}  // namespace
}  // namespace rp::backend
