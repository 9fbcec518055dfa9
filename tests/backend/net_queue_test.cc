// SPDX-License-Identifier: BSD-3-Clause
// net_queue_test.cc - frames through queues byte for byte, over split and over packed rings.
#include "backend/net_queue.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <random>
#include <type_traits>

#include "tests/backend/frames.h"
#include "tests/backend/mock_packed_driver.h"
#include "tests/backend/scale.h"

namespace rp::backend {
namespace {

using sw::Offload;

constexpr std::uint64_t kOutRing = 0, kInRing = 0x10000, kTables = 0x20000;
constexpr std::uint64_t kOut = 0x100000, kIn = 0x200000;  ///< frames; receive buffers
constexpr std::size_t kArea = 0x80000, kMemory = kIn + kArea;
constexpr std::uint16_t kSize = 256;
constexpr std::uint8_t kCanary = 0xc5;

RingAddress ring_for(const MockDriver*, std::uint64_t base) {
  return contiguous_ring(kSize, base);
}
RingAddress ring_for(const MockPackedDriver*, std::uint64_t base) {
  return contiguous_packed_ring(kSize, base);
}

template <typename Driver>
class NetQueueTest : public ::testing::Test {
 protected:
  static constexpr bool kPacked = std::is_same_v<Driver, MockPackedDriver>;

  NetQueueTest() {
    add_region(memory, 0, kMemory);
    start();
  }
  void start(NetFormat format = {}) {
    setup = {};
    setup.features = {.event_idx = true, .indirect = true};
    setup.format = format;
    setup.packed = kPacked;
    setup.where = ring_for(static_cast<Driver*>(nullptr), kOutRing);
    out = std::make_unique<Driver>(memory, setup.where);
    from_guest = make_from_guest(memory, setup);
    setup.where = ring_for(static_cast<Driver*>(nullptr), kInRing);
    in = std::make_unique<Driver>(memory, setup.where);
    to_guest = make_to_guest(memory, setup);
    std::memset(in->template at<std::uint8_t>(kIn), kCanary, kArea);
    rewind();
  }

  // The driver's sending side.

  Bytes header(const Offload& o = {}) const {
    const virtio_net_hdr_v1 h = sw::header_of(o);
    Bytes b(setup.format.header);
    std::memcpy(b.data(), &h, b.size());
    return b;
  }
  /// Offers a header and a frame in pieces of the given sizes, the last taking what is left.
  std::uint16_t offer(const Bytes& head, const Bytes& frame,
                      std::span<const std::uint32_t> cuts = {}, bool indirect = false) {
    Bytes whole = head;
    whole.insert(whole.end(), frame.begin(), frame.end());
    const auto size = static_cast<std::uint32_t>(whole.size());
    if (out_at + size > kIn) out_at = kOut;
    std::vector<Piece> pieces;
    std::uint32_t at = 0;
    for (std::uint32_t cut : cuts) {
      if (at == size) break;
      pieces.push_back({out_at + at, std::min(cut, size - at)});
      at += pieces.back().len;
    }
    if (at < size) pieces.push_back({out_at + at, size - at});
    out->write(out_at, whole);
    out_at += size;
    return indirect ? out->indirect(pieces, kTables) : out->chain(pieces);
  }
  /// Lends one burst, and gives it back.
  std::vector<Bytes> receive() {
    burst->clear();
    from_guest->lend(*burst);
    std::vector<Bytes> frames;
    for (const sw::Frame& f : burst->frames()) frames.push_back(bytes_of(f));
    typename Driver::Used early{};
    EXPECT_FALSE(out->reap(early)) << "completed while it was lent";
    from_guest->release();
    return frames;
  }
  void expect_sent(std::uint16_t id) {
    typename Driver::Used used{};
    ASSERT_TRUE(out->reap(used));
    EXPECT_EQ(used.id, id);
    EXPECT_EQ(used.len, 0u);
  }

  // The driver's receiving side: buffers in memory that is all canaries, so that a stray byte
  // shows.

  void rewind() { in_at = kIn + 64; }
  void buffers(std::span<const std::uint32_t> sizes, bool indirect = false) {
    std::vector<Piece> pieces;
    for (std::uint32_t size : sizes) {
      pieces.push_back({in_at, size, true});
      in_at += size + 16;
    }
    const auto id = indirect ? in->indirect(pieces, kTables + 0x1000 + 0x100u * in->in_flight())
                             : in->chain(pieces);
    offered.emplace_back(id, pieces);
  }
  void buffers(std::initializer_list<std::uint32_t> sizes) {
    buffers(std::span<const std::uint32_t>(sizes.begin(), sizes.size()));
  }
  bool send(const Bytes& frame, const Offload& o = {}, std::size_t cuts = 0) {
    SplitFrame split(frame, cuts);
    split.frame.offload = o;
    const sw::Frame* one = &split.frame;
    return to_guest->send({&one, 1}) == 1;
  }
  /// Reaps one frame out of `chains` chains, each filled but the last, and its header.
  Bytes reap(std::size_t chains, virtio_net_hdr_v1& h) {
    Bytes all;
    for (; chains > 0; --chains) {
      typename Driver::Used used{};
      if (!in->reap(used)) {
        ADD_FAILURE() << chains << " chains are missing";
        return {};
      }
      EXPECT_EQ(used.id, offered.front().first);
      std::uint32_t left = used.len;
      for (const Piece& p : offered.front().second) {
        const std::uint32_t n = std::min(left, p.len);
        auto* from = in->template at<std::uint8_t>(p.address);
        all.insert(all.end(), from, from + n);
        std::memset(from, kCanary, n);
        left -= n;
        EXPECT_TRUE(chains == 1 || n == p.len) << "not filled";
      }
      EXPECT_EQ(left, 0u) << "used.len is more than the chain holds";
      offered.pop_front();
    }
    if (all.size() < setup.format.header) {
      ADD_FAILURE() << "no header";
      return {};
    }
    h = {};
    std::memcpy(&h, all.data(), setup.format.header);
    all.erase(all.begin(), all.begin() + setup.format.header);
    return all;
  }
  bool untouched() const {
    const auto* p = in->template at<std::uint8_t>(kIn);
    return p[0] == kCanary && std::memcmp(p, p + 1, kArea - 1) == 0;
  }

  GuestMemory memory;
  QueueSetup setup;
  std::unique_ptr<Driver> out, in;
  std::unique_ptr<FromGuestQueue> from_guest;
  std::unique_ptr<ToGuestQueue> to_guest;
  std::unique_ptr<sw::Burst> burst = std::make_unique<sw::Burst>();
  std::uint64_t out_at = kOut, in_at = kIn;
  std::deque<std::pair<std::uint16_t, std::vector<Piece>>> offered;
  std::mt19937 random{7};
};

struct DriverNames {
  template <typename Driver>
  static std::string GetName(int) {
    return std::is_same_v<Driver, MockPackedDriver> ? "Packed" : "Split";
  }
};
using Drivers = ::testing::Types<MockDriver, MockPackedDriver>;
TYPED_TEST_SUITE(NetQueueTest, Drivers, DriverNames);

constexpr NetFormat kFormats[] = {{.header = 12, .mergeable = true, .csum = true},
                                  {.header = 12, .mergeable = false, .csum = true},
                                  {.header = 10, .mergeable = false, .csum = true}};

TYPED_TEST(NetQueueTest, FramesFromTheGuestByteForByte) {
  for (const NetFormat& format : kFormats) {
    this->start(format);
    std::vector<std::size_t> sizes{1499, 1500, 1514, 65534, 65535, 65536, sw::kMaxFrame};
    for (std::size_t n = 0; n < 200; ++n) sizes.push_back(n);
    for (std::size_t n = 0; n < rounds(500); ++n)
      sizes.push_back(this->random() % (sw::kMaxFrame + 1));
    std::uint32_t seed = 0;
    for (std::size_t size : sizes) {
      const Bytes frame = pattern(size, ++seed);
      std::vector<std::uint32_t> cuts(this->random() % 20);
      for (auto& cut : cuts) cut = 1 + static_cast<std::uint32_t>(this->random() % (size / 4 + 1));
      const auto id = this->offer(this->header(), frame, cuts, seed % 3 == 0);
      this->out->publish();
      const auto got = this->receive();
      ASSERT_EQ(got.size(), 1u) << size;
      ASSERT_TRUE(same(got[0], frame)) << size;
      this->expect_sent(id);
    }
  }
}

TYPED_TEST(NetQueueTest, BurstsFromTheGuestInOrder) {
  std::deque<Bytes> sent;
  std::deque<std::uint16_t> ids;
  std::uint32_t seed = 0;
  for (std::size_t round = 0; round < rounds(2000); ++round) {
    for (std::size_t n = this->random() % 100; n > 0 && this->out->free_descriptors() >= 4; --n) {
      sent.push_back(pattern(this->random() % 300, ++seed));
      const std::uint32_t cuts[] = {5, 9, 100};
      ids.push_back(this->offer(this->header(), sent.back(), std::span(cuts).first(seed % 4)));
    }
    this->out->publish();
    for (const Bytes& got : this->receive()) {
      ASSERT_FALSE(sent.empty());
      ASSERT_TRUE(same(got, sent.front()));
      sent.pop_front();
      this->expect_sent(ids.front());
      ids.pop_front();
    }
  }
}

TYPED_TEST(NetQueueTest, ABurstEndsWhereItsPartsDo) {
  // Some 90 parts a frame: 15 do not fit into one burst; what finds no room stays.
  for (int turn = 0; turn < 4; ++turn) {
    std::vector<Bytes> sent;
    for (std::uint32_t i = 0; i < 15; ++i) {
      sent.push_back(pattern(1000 + i, i));
      std::vector<Piece> pieces;
      const Bytes head = this->header();
      this->out->write(kOut + i * 0x1000, head);
      this->out->write(kOut + i * 0x1000 + head.size(), sent.back());
      const auto size = static_cast<std::uint32_t>(head.size() + sent.back().size());
      for (std::uint32_t at = 0; at < size; at += 10)
        pieces.push_back({kOut + i * 0x1000 + at, std::min(10u, size - at)});
      this->out->indirect(pieces, kTables + i * 0x1000);
    }
    this->out->publish();
    std::vector<Bytes> got;
    for (int part = 0; part < 2; ++part) {
      EXPECT_LT(got.size(), sent.size());
      const auto some = this->receive();
      typename TypeParam::Used used{};
      for (const Bytes& f : some) {
        got.push_back(f);
        EXPECT_TRUE(this->out->reap(used));
      }
    }
    EXPECT_EQ(got, sent);
  }
}

TYPED_TEST(NetQueueTest, T_RING_15_HeaderSplitAndShortChains) {
  for (const NetFormat& format : kFormats) {
    this->start(format);
    const Bytes frame = pattern(200, 7);
    for (std::uint32_t split = 1; split <= format.header; ++split) {
      const std::vector<std::uint32_t> cuts(split, 1);
      const auto id = this->offer(this->header(), frame, cuts);
      this->out->publish();
      const auto got = this->receive();
      ASSERT_EQ(got.size(), 1u) << split;
      EXPECT_TRUE(same(got[0], frame)) << split;
      this->expect_sent(id);
    }
    for (std::uint32_t size = 1; size < format.header; ++size) {
      const auto bad = this->offer(pattern(size, size), {});
      const auto good = this->offer(this->header(), frame);
      this->out->publish();
      const auto got = this->receive();
      ASSERT_EQ(got.size(), 1u) << "the short chain is skipped, the frame behind it is not";
      EXPECT_TRUE(same(got[0], frame));
      EXPECT_EQ(this->from_guest->short_chains(), size);
      this->expect_sent(bad);
      this->expect_sent(good);
    }
    this->offer(this->header(), {});
    this->out->publish();
    EXPECT_EQ(this->receive(), std::vector<Bytes>{Bytes()}) << "a header alone is an empty frame";
  }
}

TYPED_TEST(NetQueueTest, T_HDR_3_HeadersOfEverySize) {
  const Offload o{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1448, 34, 16};
  const Bytes frame = pattern(3000, 1);
  for (const NetFormat& format : kFormats) {
    SCOPED_TRACE(format.header + (format.mergeable ? 100 : 0));
    this->start(format);
    this->offer(this->header(o), frame);
    this->out->publish();
    this->from_guest->lend(*this->burst);
    ASSERT_EQ(this->burst->size(), 1u);
    const auto got = sw::header_of((*this->burst)[0].offload), sent = sw::header_of(o);
    EXPECT_EQ(std::memcmp(&got, &sent, sizeof got), 0);
    this->from_guest->release();
    this->burst->clear();

    this->buffers({5000});
    this->in->publish();
    ASSERT_TRUE(this->send(frame, o));
    this->to_guest->publish();
    virtio_net_hdr_v1 h{};
    EXPECT_TRUE(same(this->reap(1, h), frame));
    EXPECT_EQ(h.num_buffers, format.header == 12 ? 1 : 0) << "5.1.6.4.1: 1 where it is there";
    h.num_buffers = 0;
    EXPECT_EQ(std::memcmp(&h, &sent, sizeof h), 0);
    EXPECT_TRUE(this->untouched());
  }
  this->start({.header = 12, .mergeable = true, .csum = false});
  this->buffers({5000});
  this->in->publish();
  ASSERT_TRUE(this->send(frame, {.flags = VIRTIO_NET_HDR_F_DATA_VALID}));
  this->to_guest->publish();
  virtio_net_hdr_v1 h{};
  this->reap(1, h);
  EXPECT_EQ(h.flags, 0) << "no mark that the driver did not ask for";
}

TYPED_TEST(NetQueueTest, T_RING_17_MergedFramesByteForByte) {
  std::vector<std::size_t> sizes{1499, 1500, 2036, 2037, 65535, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < 100; ++n) sizes.push_back(n);
  for (std::size_t n = 0; n < rounds(300); ++n)
    sizes.push_back(this->random() % (sw::kMaxFrame + 1));
  std::uint32_t seed = 0;
  for (std::size_t size : sizes) {
    std::size_t room = 0, chains = 0;
    while (room < 12 + size) {
      std::vector<std::uint32_t> chain(1 + this->random() % 2);
      // At most 128 chains are merged, and they fit into the ring.
      for (auto& len : chain) {
        len = static_cast<std::uint32_t>(size / 60 + 1 + this->random() % 2000);
        room += len;
      }
      this->buffers(chain, this->random() % 4 == 0);
      ++chains;
    }
    this->in->publish();
    const Bytes frame = pattern(size, ++seed);
    ASSERT_TRUE(this->send(frame, {}, this->random() % 5)) << size;
    typename TypeParam::Used early{};
    EXPECT_FALSE(this->in->reap(early)) << "visible before publish()";
    this->to_guest->publish();
    virtio_net_hdr_v1 h{};
    ASSERT_TRUE(same(this->reap(chains, h), frame)) << size;
    EXPECT_EQ(h.num_buffers, chains);
    ASSERT_TRUE(this->untouched()) << size;
    ASSERT_EQ(this->in->in_flight(), 0) << "a buffer was taken that was not needed";
    this->rewind();
  }
}

TYPED_TEST(NetQueueTest, WithoutMergingAFrameIsOneChain) {
  for (const std::uint32_t header : {10u, 12u}) {
    this->start({.header = header, .mergeable = false});
    for (std::uint32_t size = 0; size < 300; ++size) {
      const std::uint32_t room = header + size;
      const auto half = static_cast<std::uint32_t>(1 + this->random() % room);
      if (half < room)
        this->buffers({half, room - half});
      else
        this->buffers({room});
      this->buffers({room + 100});
      this->in->publish();
      EXPECT_FALSE(this->send(pattern(size + 1, size))) << "one byte too long";
      EXPECT_TRUE(this->untouched()) << "nothing is written for a frame that has no room";
      ASSERT_TRUE(this->send(pattern(size, size)));
      ASSERT_TRUE(this->send(pattern(size + 100, size)));
      EXPECT_FALSE(this->send({})) << "no buffers";
      this->to_guest->publish();
      virtio_net_hdr_v1 h{};
      ASSERT_TRUE(same(this->reap(1, h), pattern(size, size)));
      ASSERT_TRUE(same(this->reap(1, h), pattern(size + 100, size)));
      ASSERT_TRUE(this->untouched());
      this->rewind();
    }
  }
}

TYPED_TEST(NetQueueTest, T_RING_16_TooFewBuffersAreGivenBack) {
  for (int turn = 0; turn < 200; ++turn) {
    for (int i = 0; i < 4; ++i) this->buffers({200, 300});
    this->in->publish();
    for (int i = 0; i < 3; ++i) EXPECT_FALSE(this->send(pattern(1989, 1)));
    EXPECT_TRUE(this->untouched());
    EXPECT_TRUE(this->send(pattern(1988, 2))) << "all four are still there";
    EXPECT_FALSE(this->send({}));
    this->to_guest->publish();
    virtio_net_hdr_v1 h{};
    EXPECT_TRUE(same(this->reap(4, h), pattern(1988, 2)));
    EXPECT_EQ(h.num_buffers, 4);
    this->rewind();
  }
}

TYPED_TEST(NetQueueTest, T_RING_16_ABadBufferInTheMiddle) {
  this->buffers({500});
  this->in->chain({{~std::uint64_t{0} - 100, 500, true}});
  this->buffers({500});
  this->in->publish();
  EXPECT_TRUE(this->send(pattern(100, 1)));
  EXPECT_FALSE(this->send(pattern(900, 1)));
  EXPECT_EQ(this->to_guest->fault(), RingFault::address);
  EXPECT_FALSE(this->send(pattern(60, 1))) << "broken is for good";
  this->to_guest->publish();
  virtio_net_hdr_v1 h{};
  EXPECT_TRUE(same(this->reap(1, h), pattern(100, 1))) << "what was done before counts";
  typename TypeParam::Used used{};
  EXPECT_FALSE(this->in->reap(used));
  EXPECT_TRUE(this->to_guest->enable_notifications()) << "it would never sleep";
}

TYPED_TEST(NetQueueTest, T_RING_14_MergingIsBounded) {
  for (int i = 0; i < 200; ++i) this->buffers({1});
  this->in->publish();
  EXPECT_FALSE(this->send(pattern(117, 1))) << "129 buffers for one frame";
  EXPECT_TRUE(this->send(pattern(116, 2))) << "the 128 were given back";
  this->to_guest->publish();
  virtio_net_hdr_v1 h{};
  EXPECT_TRUE(same(this->reap(128, h), pattern(116, 2)));
}

TYPED_TEST(NetQueueTest, DiscardCompletesWhatWaits) {
  std::deque<std::uint16_t> ids;
  for (std::uint32_t i = 0; i < 100; ++i) ids.push_back(this->offer(this->header(), pattern(i, i)));
  this->out->publish();
  while (this->out->in_flight() > 0) {
    this->from_guest->discard();
    this->from_guest->release();
    const auto before = ids.size();
    for (typename TypeParam::Used used{}; this->out->reap(used); ids.pop_front())
      ASSERT_EQ(used.id, ids.front());
    ASSERT_LT(ids.size(), before);
  }
  EXPECT_TRUE(ids.empty());
}

TYPED_TEST(NetQueueTest, ASuccessorGoesOnAtThePosition) {
  std::uint32_t seed = 0;
  for (int turn = 0; turn < 200; ++turn) {
    for (auto n = this->random() % 100; n > 0; --n) {
      const Bytes frame = pattern(100, ++seed);
      const std::uint32_t cut[] = {50};
      this->offer(this->header(), frame, std::span(cut).first(n % 2));
      this->out->publish();
      ASSERT_EQ(this->receive(), std::vector<Bytes>{frame});
      typename TypeParam::Used used{};
      ASSERT_TRUE(this->out->reap(used));
    }
    this->setup.where = this->out->where();
    this->setup.start = this->from_guest->position();
    this->from_guest = make_from_guest(this->memory, this->setup);
    EXPECT_EQ(this->from_guest->position(), *this->setup.start);
  }
}

TYPED_TEST(NetQueueTest, KicksAndCallsPassThrough) {
  const Bytes frame = pattern(60, 1);
  EXPECT_TRUE(this->from_guest->enable_notifications());
  this->offer(this->header(), frame);
  EXPECT_TRUE(this->out->publish());
  EXPECT_FALSE(this->from_guest->enable_notifications());
  this->from_guest->disable_notifications();
  this->offer(this->header(), frame);
  EXPECT_FALSE(this->out->publish());
  this->from_guest->lend(*this->burst);
  EXPECT_EQ(this->burst->size(), 2u);
  EXPECT_TRUE(this->from_guest->release()) << "the driver waits for its first completion";
  EXPECT_FALSE(this->to_guest->publish()) << "nothing was completed";
}

TEST(PackedNetQueueTest, ItsStateOutlivesIt) {
  GuestMemory memory;
  add_region(memory, 0, kMemory);
  auto state = std::make_unique<PackedState>();
  MockPackedDriver driver(memory, contiguous_packed_ring(kSize, 0));
  QueueSetup setup{.where = driver.where(), .features = {}, .format = {}};
  setup.packed = true;
  setup.state = state.get();
  setup.key = 42;
  auto burst = std::make_unique<sw::Burst>();
  for (int turn = 0; turn < 100; ++turn) {
    // Nobody told the predecessor to stop, or asked it where it was.
    const auto queue = make_from_guest(memory, setup);
    for (int i = 0; i < 7; ++i) driver.chain({{kOut, 72}});
    driver.publish();
    burst->clear();
    queue->lend(*burst);
    ASSERT_EQ(burst->size(), 7u);
    queue->release();
    MockPackedDriver::Used used{};
    for (int i = 0; i < 7; ++i) ASSERT_TRUE(driver.reap(used));
    setup.start = PackedRing::recover(memory, setup.where, *state, setup.key);
    ASSERT_EQ(setup.start, queue->position());
  }
}

}  // namespace
}  // namespace rp::backend
