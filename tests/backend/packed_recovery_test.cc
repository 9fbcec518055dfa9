// SPDX-License-Identifier: BSD-3-Clause
// packed_recovery_test.cc - a packed ring's device is killed at any instruction, and nothing is
// lost.
//
// A child process completes and publishes under ptrace, one instruction at a time. Each state that
// the shared memory goes through is what a SIGKILL would leave; each is recovered from on a copy.
#include <deque>
#include <functional>
#include <random>

#include "tests/backend/packed_ring_fixture.h"
#include "tests/backend/step_through.h"

namespace rp::backend {
namespace {

using Place = PackedPlace;
constexpr std::uint64_t kKey = 0x1234;

/// A chain that a driver offered.
struct Offer {
  std::uint16_t id, slots;
  std::uint64_t address;
};

using Bytes = std::vector<std::uint8_t>;

/// Guest memory with one ring, and the state beside it. Both outlive a killed device.
struct World {
  World() : state_map(make_memfd(sizeof(PackedState)).get(), sizeof(PackedState)) {
    add_region(memory, kRegion, kRegionSize);
    state = reinterpret_cast<PackedState*>(state_map.data());
  }
  /// All that a device writes with a ring of this size.
  Bytes image(std::uint16_t size) const {
    const std::uint8_t* ring = memory.translate(kRegion, 16u * size);
    const auto* s = reinterpret_cast<const std::uint8_t*>(state);
    Bytes all(ring, ring + 16u * size);
    all.insert(all.end(), s, s + offsetof(PackedState, journal) + sizeof(PackedUsed) * size);
    return all;
  }
  void restore(const Bytes& image, std::uint16_t size) {
    std::memcpy(memory.translate(kRegion, 16u * size), image.data(), 16u * size);
    std::memcpy(state, image.data() + 16u * size, image.size() - 16u * size);
  }

  GuestMemory memory;
  Mapping state_map;
  PackedState* state;
};

class PackedRecoveryTest : public ::testing::Test {
 protected:
  void start() {
    const std::uint16_t sizes[] = {1, 2, 3, 5, 8, 16, 61};
    size = sizes[random() % std::size(sizes)];
    driver =
        std::make_unique<MockPackedDriver>(world.memory, contiguous_packed_ring(size, kRegion));
    *world.state = {};
    ring = std::make_unique<PackedRing>(world.memory, driver->where(), Direction::to_driver, kAll);
    ring->record(*world.state, kKey);
    open.clear();
    // Some laps, so that the kill comes at any place.
    for (std::size_t rest = random() % (5u * size); rest > 0; --rest) {
      offer(*driver, open, random() % (size + 1u));
      for (const Chain& c : pop_some(*ring)) ring->complete(c, written());
      ring->publish();
      reap(*driver, open, nullptr);
    }
  }
  std::uint32_t written() { return static_cast<std::uint32_t>(random() % 3 * 100); }

  /// Offers chains until `slots` are taken, or nearly.
  void offer(MockPackedDriver& d, std::deque<Offer>& to, std::size_t slots) {
    while (slots > 0 && d.free_descriptors() > 0) {
      const std::size_t n = 1 + random() % std::min({slots, d.free_descriptors(), std::size_t{3}});
      slots -= n;
      next_address = kData + (next_address + 64) % 0x10000;
      std::vector<Piece> pieces(n, Piece{next_address, 10, true});
      pieces.back().address += 32;
      to.push_back({d.chain(pieces), static_cast<std::uint16_t>(n), next_address});
    }
    d.publish();
  }
  std::vector<Chain> pop_some(PackedRing& r, std::size_t most = 1000) {
    std::vector<Chain> chains;
    Chain c{};
    std::uint32_t bytes;
    while (chains.size() < most && r.pop(segments, c, bytes) > 0) chains.push_back(c);
    EXPECT_FALSE(r.broken()) << ring_fault_name(r.fault());
    return chains;
  }
  /// Takes all that is visible; it must be the oldest offers, in order. Lengths too, if given.
  std::size_t reap(MockPackedDriver& d, std::deque<Offer>& from,
                   const std::vector<std::uint32_t>* lengths) {
    MockPackedDriver::Used used{};
    std::size_t n = 0;
    while (!from.empty() && d.reap(used)) {
      EXPECT_EQ(used.id, from.front().id);
      if (lengths && n < lengths->size()) {
        EXPECT_EQ(used.len, (*lengths)[n]);
      }
      from.pop_front();
      ++n;
      if (HasFailure()) break;
    }
    return n;
  }

  /// Recovers from one image of the memory. Returns whether the batch counts as done.
  bool recover(const Bytes& image, std::uint32_t before, std::uint32_t after,
               const std::vector<std::uint32_t>& lengths) {
    copy.restore(image, size);
    MockPackedDriver d(*driver, copy.memory);
    std::deque<Offer> owed = open;
    // The driver lives on while the device is dead.
    const std::size_t early = random() % 2 ? reap(d, owed, &lengths) : 0;
    EXPECT_TRUE(early == 0 || early == lengths.size()) << "a batch is visible wholly or not at all";
    if (random() % 2) offer(d, owed, random() % (size + 1u));

    const auto where = d.where();
    const auto at = PackedRing::recover(copy.memory, where, *copy.state, kKey);
    EXPECT_TRUE(at.has_value());
    if (!at) return false;
    EXPECT_TRUE(*at == before || *at == after) << std::hex << *at;
    EXPECT_EQ(PackedRing::recover(copy.memory, where, *copy.state, kKey), at) << "done twice";
    const bool done = *at == after;
    const std::size_t reaped = early + (early == 0 ? reap(d, owed, &lengths) : 0);
    EXPECT_EQ(reaped, done ? lengths.size() : 0);

    // The successor finds all that is owed, in order, and nothing else.
    PackedRing next(copy.memory, where, Direction::to_driver, kAll, *at);
    next.record(*copy.state, kKey);
    EXPECT_EQ(PackedRing::recover(copy.memory, where, *copy.state, kKey), at);
    if (random() % 2) offer(d, owed, random() % (size + 1u));
    std::vector<std::uint32_t> more;
    Chain c{};
    std::uint32_t bytes;
    for (const Offer& o : owed) {
      const int n = next.pop(segments, c, bytes);
      EXPECT_EQ(n, o.slots) << ring_fault_name(next.fault());
      if (n <= 0) return done;
      EXPECT_EQ(c.id, o.id);
      EXPECT_EQ(segments[0].data - copy.memory.translate(kRegion, 1),
                static_cast<std::ptrdiff_t>(o.address + (n == 1 ? 32 : 0) - kRegion));
      more.push_back(written());
      next.complete(c, more.back());
    }
    EXPECT_EQ(next.pop(segments, c, bytes), 0);
    next.publish();
    const std::size_t rest = owed.size();
    EXPECT_EQ(reap(d, owed, &more), rest);
    EXPECT_EQ(PackedRing::recover(copy.memory, where, *copy.state, kKey), next.position());
    return done;
  }

  /// The guest was reset while the device was dead, and has set up the same ring anew.
  void reset_and_recover(const Bytes& image) {
    copy.restore(image, size);
    MockPackedDriver d(*driver, copy.memory);
    d.reset();
    std::deque<Offer> fresh;
    next_address += 16;  // no buffer where one was
    offer(d, fresh, random() % 2 ? size : random() % (size + 1u));
    const auto at = PackedRing::recover(copy.memory, d.where(), *copy.state, kKey);
    EXPECT_TRUE(!at || *at == PackedRing::kFresh) << std::hex << at.value_or(0);
    next_address -= 16;
  }

  const std::uint8_t* memory_of_ring() const { return world.memory.translate(kRegion, 1); }

  std::mt19937_64 random{20240607};
  World world, copy;
  std::uint16_t size = 0;
  std::unique_ptr<MockPackedDriver> driver;
  std::unique_ptr<PackedRing> ring;
  std::deque<Offer> open;  ///< offered, not reaped
  std::uint64_t next_address = kData;
  std::array<Segment, kMaxQueueSize> segments;
};

TEST_F(PackedRecoveryTest, KilledAtAnyInstructionOfABatch) {
  std::size_t states = 0;
  for (std::size_t round = 0; round < rounds(150); ++round) {
    SCOPED_TRACE(round);
    start();
    while (open.empty()) offer(*driver, open, 1 + random() % size);
    const std::uint32_t before = ring->position();
    const auto chains = pop_some(*ring, 1 + random() % 10);
    ASSERT_FALSE(chains.empty());
    std::vector<std::uint32_t> lengths;
    for (std::size_t i = 0; i < chains.size(); ++i) lengths.push_back(written());
    const std::uint32_t after = ring->position() & 0xffff;

    std::vector<Bytes> images{world.image(size)};
    const bool traced = step_through(
        [&] {
          for (std::size_t i = 0; i < chains.size(); ++i) ring->complete(chains[i], lengths[i]);
          ring->publish();
        },
        [&] {
          auto now = world.image(size);
          if (now != images.back()) images.push_back(std::move(now));
        });
    if (!traced) GTEST_SKIP() << "no ptrace here";
    EXPECT_GT(images.size(), 2 * chains.size());
    bool done = false;
    for (std::size_t i = 0; i < images.size() && !HasFailure(); ++i) {
      SCOPED_TRACE("state " + std::to_string(i) + " of " + std::to_string(images.size()));
      const bool was = done;
      done = recover(images[i], before, after * 0x10001u, lengths);
      EXPECT_TRUE(done || !was) << "what was done stays done";
      reset_and_recover(images[i]);
    }
    EXPECT_TRUE(done) << "the last state is that after publish()";
    ASSERT_FALSE(HasFailure()) << "size " << size;
    states += images.size();
  }
  EXPECT_GT(states, rounds(1000));
}

TEST_F(PackedRecoveryTest, KilledWhileRecovering) {
  for (std::size_t round = 0; round < rounds(20); ++round) {
    start();
    while (open.empty()) offer(*driver, open, 1 + random() % size);
    const std::uint32_t before = ring->position();
    const auto chains = pop_some(*ring, 1 + random() % 10);
    std::vector<std::uint32_t> lengths(chains.size(), 7);
    const std::uint32_t after = (ring->position() & 0xffff) * 0x10001u;
    const std::uint16_t begun = world.state->begun;
    Bytes half;  // killed once the batch was recorded, before any of it was on the ring
    if (!step_through(
            [&] {
              for (const Chain& c : chains) ring->complete(c, 7);
              ring->publish();
            },
            [&] {
              if (half.empty() && world.state->begun != begun) half = world.image(size);
            }))
      GTEST_SKIP() << "no ptrace here";
    world.restore(half, size);
    std::vector<Bytes> images{half};
    step_through([&] { PackedRing::recover(world.memory, driver->where(), *world.state, kKey); },
                 [&] {
                   auto now = world.image(size);
                   if (now != images.back()) images.push_back(std::move(now));
                 });
    EXPECT_GT(images.size(), chains.size());
    for (const auto& image : images) {
      EXPECT_TRUE(recover(image, before, after, lengths));
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_F(PackedRecoveryTest, KilledWhileTheStateIsTakenOver) {
  // What lay there before: nothing, another ring's, this ring's of another time.
  for (int kind = 0; kind < 3; ++kind) {
    size = 8;
    driver = std::make_unique<MockPackedDriver>(world.memory, contiguous_packed_ring(8, kRegion));
    *world.state = {};
    if (kind > 0) {
      PackedRing old(world.memory, driver->where(), Direction::to_driver, kAll);
      old.record(*world.state, kind == 1 ? kKey + 1 : kKey);
      offer(*driver, open, 5);
      for (const Chain& c : pop_some(old)) old.complete(c, 9);
      old.publish();
      driver->reset();
    }
    PackedRing fresh(world.memory, driver->where(), Direction::to_driver, kAll);
    std::size_t stores = 0;
    Bytes last = world.image(8);
    const auto look = [&] {
      if (world.image(8) == last) return;
      last = world.image(8);
      ++stores;
      copy.restore(last, 8);
      const auto at = PackedRing::recover(copy.memory, driver->where(), *copy.state, kKey);
      EXPECT_TRUE(!at || *at == PackedRing::kFresh) << "after " << stores;
    };
    if (!step_through([&] { fresh.record(*world.state, kKey); }, look))
      GTEST_SKIP() << "no ptrace here";
    EXPECT_GT(stores, 2u);
    EXPECT_EQ(PackedRing::recover(world.memory, driver->where(), *world.state, kKey),
              PackedRing::kFresh);
  }
}

TEST_F(PackedRecoveryTest, OnlyTheStateOfThisRingCounts) {
  size = 8;
  driver = std::make_unique<MockPackedDriver>(world.memory, contiguous_packed_ring(8, kRegion));
  const RingAddress where = driver->where();
  const auto recovered = [&](const RingAddress& w, std::uint64_t key) {
    return PackedRing::recover(world.memory, w, *world.state, key);
  };
  *world.state = {};
  EXPECT_FALSE(recovered(where, kKey)) << "nothing was recorded";
  ring = std::make_unique<PackedRing>(world.memory, where, Direction::to_driver, kAll);
  ring->record(*world.state, kKey);
  EXPECT_EQ(recovered(where, kKey), PackedRing::kFresh);
  GuestMemory askew;  // the same addresses, misaligned for us
  askew.add(kRegion, Mapping(make_memfd(kRegionSize + 8).get(), kRegionSize, 8));
  EXPECT_FALSE(PackedRing::recover(askew, where, *world.state, kKey));
  offer(*driver, open, 5);
  for (const Chain& c : pop_some(*ring)) ring->complete(c, 9);
  ring->publish();
  EXPECT_EQ(recovered(where, kKey), ring->position());
  EXPECT_FALSE(recovered(where, kKey + 1));
  const auto with = [&](auto change) {
    RingAddress a = where;
    change(a);
    return a;
  };
  EXPECT_FALSE(recovered(with([](RingAddress& a) { a.size = 7; }), kKey));
  EXPECT_FALSE(recovered(with([](RingAddress& a) { a.size = 0; }), kKey));
  EXPECT_FALSE(recovered(with([](RingAddress& a) { a.size = 1025; }), kKey));
  EXPECT_FALSE(recovered(with([](RingAddress& a) { a.desc += 16; }), kKey));
  EXPECT_FALSE(recovered(with([](RingAddress& a) { a.avail += 4; }), kKey));
  EXPECT_FALSE(recovered(with([](RingAddress& a) { a.used += 4; }), kKey));
  GuestMemory nothing;
  EXPECT_FALSE(PackedRing::recover(nothing, where, *world.state, kKey));
  ++world.state->magic;
  EXPECT_FALSE(recovered(where, kKey));
  --world.state->magic;
  EXPECT_EQ(recovered(where, kKey), ring->position());
  // Of a ring that began elsewhere and did nothing yet, nothing proves that it is still the same.
  PackedRing moved(world.memory, where, Direction::to_driver, kAll, 0x80028002);
  moved.record(*world.state, kKey);
  EXPECT_FALSE(recovered(where, kKey));
}

TEST_F(PackedRecoveryTest, ARingWithAnotherBufferIsAnother) {
  size = 8;
  driver = std::make_unique<MockPackedDriver>(world.memory, contiguous_packed_ring(8, kRegion));
  const auto recovered = [&](const std::function<void(vring_packed_desc&)>& change) {
    driver->reset();
    *world.state = {};
    PackedRing one(world.memory, driver->where(), Direction::to_driver, kAll);
    one.record(*world.state, kKey);
    for (std::uint32_t i = 0; i < 6; ++i) driver->chain({{kData + i * 64, 10, true}});
    driver->publish();
    for (const Chain& c : pop_some(one, 5)) one.complete(c, 9);
    one.publish();
    change(*driver->desc(4));
    return PackedRing::recover(world.memory, driver->where(), *world.state, kKey);
  };
  EXPECT_EQ(recovered([](auto&) {}), 0x80058005u);
  EXPECT_FALSE(recovered([](auto& d) { d.addr += 8; }));
  EXPECT_FALSE(recovered([](auto& d) { d.id = 0; }));
  EXPECT_FALSE(recovered([](auto& d) { d.flags = 0; })) << "used in another lap";
}

TEST_F(PackedRecoveryTest, T_STATE_1_JournalsThatLeadNowhere) {
  size = 8;
  driver = std::make_unique<MockPackedDriver>(world.memory, contiguous_packed_ring(8, kRegion));
  const RingAddress where = driver->where();
  // A batch of five under way, of which nothing is on the ring yet.
  const auto under_way = [&] {
    driver->reset();
    *world.state = {};
    ring = std::make_unique<PackedRing>(world.memory, where, Direction::to_driver, kAll);
    ring->record(*world.state, kKey);
    for (std::uint32_t i = 0; i < 5; ++i) driver->chain({{kData + i * 64, 10, true}});
    driver->publish();
    const auto chains = pop_some(*ring);
    for (const Chain& c : chains) ring->complete(c, 9);
    world.state->batch[1] = {kData + 4 * 64, 0x80058005u, chains[4].id, 5};
    world.state->begun = 1;
  };
  const auto recovered = [&](const std::function<void(PackedState&)>& change) {
    under_way();
    change(*world.state);
    const Bytes before = world.image(size);
    const auto at = PackedRing::recover(world.memory, where, *world.state, kKey);
    const bool kept = std::equal(before.begin(), before.begin() + 16 * size, memory_of_ring(),
                                 memory_of_ring() + 16 * size);
    EXPECT_NE(kept, at.has_value()) << "all of a batch or nothing";
    return at;
  };
  EXPECT_EQ(recovered([](auto&) {}), 0x80058005u);
  EXPECT_FALSE(recovered([](auto& s) { s.journal[2].id = 8; }));
  EXPECT_FALSE(recovered([](auto& s) { s.journal[2].slots = 2; }));
  EXPECT_FALSE(recovered([](auto& s) {
    s.journal[2].slots = 0;
    s.journal[3].slots = 2;
  }));
  EXPECT_FALSE(recovered([](auto& s) { s.journal[1].slots = s.journal[2].slots = 9; }));
  EXPECT_FALSE(recovered([](auto& s) { s.batch[1].count = 4; }));
  EXPECT_FALSE(recovered([](auto& s) { s.batch[1].count = 0xffff; }));
  EXPECT_FALSE(recovered([](auto& s) { s.batch[1] = {0, s.batch[0].position, 0, 0}; }));
  EXPECT_FALSE(recovered([](auto& s) { s.batch[1].position = 0x80068006u; }));
  EXPECT_FALSE(recovered([](auto& s) { s.batch[1].addr += 64; })) << "another buffer is there";
  EXPECT_FALSE(recovered([](auto& s) { s.batch[0].position = 0x000f000fu; }));
  EXPECT_FALSE(recovered([](auto& s) {  // five from outside lead to where it began
    s.batch[0].position = 0x800b800bu;
    s.batch[1] = {0, PackedRing::kFresh, 0, 5};
  }));
  EXPECT_FALSE(recovered([](auto& s) { s.begun = 3; }));
  EXPECT_FALSE(recovered([](auto& s) { s.begun = 0xffff; }));

  // A ring that does not wait for recover() begins with what it was told.
  under_way();
  PackedRing fresh(world.memory, where, Direction::to_driver, kAll);
  fresh.record(*world.state, kKey);
  EXPECT_EQ(PackedRing::recover(world.memory, where, *world.state, kKey), PackedRing::kFresh);
}

TEST_F(PackedRecoveryTest, T_STATE_1_PositionsThatAreNone) {
  size = 8;
  driver = std::make_unique<MockPackedDriver>(world.memory, contiguous_packed_ring(8, kRegion));
  ring = std::make_unique<PackedRing>(world.memory, driver->where(), Direction::to_driver, kAll);
  // Behind the ring all is zero, which is what a used descriptor of the second lap would be.
  for (const std::uint32_t position : {0x000c000cu, 0x00030004u, 0x00040003u, 0x80048003u}) {
    *world.state = {};
    ring->record(*world.state, kKey);
    world.state->batch[0] = {0, position, 0, 1};
    EXPECT_FALSE(PackedRing::recover(world.memory, driver->where(), *world.state, kKey))
        << std::hex << position;
  }
}

TEST_F(PackedRecoveryTest, T_STATE_1_AnyBytesInTheState) {
  std::size_t some = 0;
  for (std::size_t round = 0; round < rounds(100'000); ++round) {
    if (round % 100 == 0) {
      start();
      offer(*driver, open, size);
      for (const Chain& c : pop_some(*ring, 5)) ring->complete(c, 9);
      if (random() % 2) ring->publish();
    }
    const auto image = world.image(size);
    auto* bytes = reinterpret_cast<std::uint8_t*>(world.state);
    // Half of the time as if a batch were under way; then any bytes.
    if (random() % 2) --world.state->done;
    for (auto n = random() % 6; n > 0; --n) {
      auto& b = bytes[4 + random() % (offsetof(PackedState, journal) + 64 - 4)];
      b = random() % 2 ? static_cast<std::uint8_t>(random()) : static_cast<std::uint8_t>(b ^ 1);
    }
    world.state->key = reinterpret_cast<const PackedState*>(image.data() + 16u * size)->key;
    const auto* outside = world.memory.translate(kRegion, kRegionSize);
    const Bytes rest(outside + 16 * size, outside + 0x1000);
    const auto at = PackedRing::recover(world.memory, driver->where(), *world.state, kKey);
    if (at) {
      ++some;
      EXPECT_NO_THROW(PackedRing(world.memory, driver->where(), Direction::to_driver, kAll, *at));
    }
    ASSERT_TRUE(std::equal(rest.begin(), rest.end(), outside + 16 * size)) << "outside the ring";
    world.restore(image, size);
  }
  EXPECT_GT(some, 0u);
}

}  // namespace
}  // namespace rp::backend
