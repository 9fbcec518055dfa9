// SPDX-License-Identifier: BSD-3-Clause
// ring_port_test.cc - frames through a port byte for byte, against honest and hostile drivers.
#include "backend/ring_port.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "switch/switch.h"
#include "tests/backend/frames.h"
#include "tests/backend/mock_driver.h"
#include "tests/backend/scale.h"
#include "tests/base/resident.h"

namespace rp::backend {
namespace {

using sw::Offload;
using test::resident;

constexpr std::uint32_t kHeader = 12;
constexpr std::uint64_t kOut = PlugLayout::kFromArena;  ///< where the driver's frames lie
constexpr std::uint64_t kIn = PlugLayout::kToBuffers;   ///< where its receive buffers lie
constexpr sw::Offloads kEverything{true, true, true, true, true};
constexpr std::uint8_t kCanary = 0xc5;

Bytes header(const Offload& o, std::uint16_t buffers = 0) {
  virtio_net_hdr_v1 h{};
  h.flags = o.flags;
  h.gso_type = o.gso_type;
  h.hdr_len = o.hdr_len;
  h.gso_size = o.gso_size;
  h.csum_start = o.csum_start;
  h.csum_offset = o.csum_offset;
  h.num_buffers = buffers;
  Bytes b(kHeader);
  std::memcpy(b.data(), &h, kHeader);
  return b;
}

/// A port and the mock driver of both its rings.
class Guest {
 public:
  explicit Guest(sw::Offloads can = kEverything) : Guest(PlugMemory::create(), can) {}

  /// Offers a frame in pieces of the given sizes, the last taking what is left.
  std::uint16_t offer(std::span<const std::uint8_t> bytes, std::span<const std::uint32_t> cuts) {
    std::vector<Piece> pieces;
    std::uint32_t at = 0;
    const auto size = static_cast<std::uint32_t>(bytes.size());
    for (std::uint32_t cut : cuts) {
      if (at == size) break;
      pieces.push_back({out_ + at, std::min(cut, size - at)});
      at += pieces.back().len;
    }
    if (at < size) pieces.push_back({out_ + at, size - at});
    out.write(out_, bytes);
    out_ = out_ + size > kOut + PlugLayout::kArena - 3 * sw::kMaxFrame ? kOut : out_ + size;
    return out.chain(pieces);
  }
  std::uint16_t offer_frame(const Bytes& frame, const Offload& o = {},
                            std::span<const std::uint32_t> cuts = {}) {
    Bytes whole = header(o);
    whole.insert(whole.end(), frame.begin(), frame.end());
    return offer(whole, cuts);
  }
  std::map<std::string, std::uint64_t> counters() const {
    std::map<std::string, std::uint64_t> all;
    port->report([&](std::string_view name, std::uint64_t v) { all[std::string(name)] += v; });
    return all;
  }
  std::uint64_t counter(const std::string& name) const {
    const auto all = counters();
    const auto it = all.find(name);
    return it == all.end() ? 0 : it->second;
  }

 private:
  GuestMemory memory_;
  std::uint64_t out_ = kOut;

 public:
  MockDriver out, in;
  std::unique_ptr<RingPort> owned;
  RingPort* port;

 private:
  Guest(PlugMemory shared, sw::Offloads can)
      : memory_(map(shared)),
        out(memory_, PlugLayout::ring(PlugLayout::kFromGuest)),
        in(memory_, PlugLayout::ring(PlugLayout::kToGuest)),
        owned(std::make_unique<RingPort>(shared.duplicate(), can)),
        port(owned.get()) {}
  static GuestMemory map(const PlugMemory& shared) {
    GuestMemory m;
    m.add(0, Mapping(shared.memory.get(), PlugLayout::kSize));
    return m;
  }
};

// From the guest.

TEST(RingPortTest, FramesFromTheGuestByteForByte) {
  Guest g;
  std::mt19937 random(1);
  std::vector<std::size_t> sizes{1499, 1500, 1514, 65534, 65535, 65536, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < 300; ++n) sizes.push_back(n);
  for (std::size_t n = 0; n < rounds(2000); ++n) sizes.push_back(random() % (sw::kMaxFrame + 1));
  std::uint32_t seed = 0;
  for (std::size_t size : sizes) {
    const Bytes frame = pattern(size, ++seed);
    std::vector<std::uint32_t> cuts(random() % 20);
    for (auto& cut : cuts) cut = 1 + static_cast<std::uint32_t>(random() % (size / 4 + 1));
    const std::uint16_t head = g.offer_frame(frame, {}, cuts);
    g.out.publish();
    const auto got = receive(*g.port);
    ASSERT_EQ(got.size(), 1u) << size;
    ASSERT_TRUE(same(got[0], frame)) << size;
    MockDriver::Used used{};
    ASSERT_TRUE(g.out.reap(used));
    EXPECT_EQ(used.id, head);
    EXPECT_EQ(used.len, 0u);
  }
}

TEST(RingPortTest, OffloadsFromTheGuest) {
  Guest g;
  const Offload o{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1448, 34, 16};
  g.offer_frame(pattern(3000, 1), o);
  g.out.publish();
  auto burst = std::make_unique<sw::Burst>();
  g.port->receive(*burst, {});
  ASSERT_EQ(burst->size(), 1u);
  const Offload& got = (*burst)[0].offload;
  EXPECT_EQ(got.flags, o.flags);
  EXPECT_EQ(got.gso_type, o.gso_type);
  EXPECT_EQ(got.hdr_len, o.hdr_len);
  EXPECT_EQ(got.gso_size, o.gso_size);
  EXPECT_EQ(got.csum_start, o.csum_start);
  EXPECT_EQ(got.csum_offset, o.csum_offset);
  g.port->release();
}

TEST(RingPortTest, T_RING_15_HeaderSplitAndShortChains) {
  Guest g;
  const Bytes frame = pattern(200, 7);
  for (std::uint32_t split = 1; split <= kHeader; ++split) {
    const std::vector<std::uint32_t> cuts(split, 1);
    g.offer_frame(frame, {}, cuts);
    g.out.publish();
    const auto got = receive(*g.port);
    ASSERT_EQ(got.size(), 1u) << split;
    EXPECT_TRUE(same(got[0], frame)) << split;
  }
  for (std::uint32_t size = 1; size < kHeader; ++size) {
    g.offer(pattern(size, size), {});
    g.offer_frame(frame);
    g.out.publish();
    const auto got = receive(*g.port);
    ASSERT_EQ(got.size(), 1u) << "the short chain is skipped, the frame behind it is not";
    EXPECT_TRUE(same(got[0], frame));
    EXPECT_EQ(g.counter("ring.short-chain"), size);
  }
  MockDriver::Used used{};
  int completed = 0;
  while (g.out.reap(used)) ++completed;
  EXPECT_EQ(completed, 12 + 2 * 11) << "each chain once, the short ones too";
  g.offer(header({}), {});
  g.out.publish();
  EXPECT_EQ(receive(*g.port).size(), 1u) << "a header alone is a frame of 0 bytes";
}

TEST(RingPortTest, ABurstIsBoundedAndNothingIsLost) {
  Guest g;
  std::vector<Bytes> sent;
  // 60 parts a frame: the burst runs out of parts before it runs out of frames.
  const std::vector<std::uint32_t> cuts(59, 10);
  for (std::uint32_t i = 0; g.out.free_descriptors() >= 60; ++i) {
    sent.push_back(pattern(1000 + i, i));
    g.offer_frame(sent.back(), {}, cuts);
  }
  for (std::uint32_t i = 0; g.out.free_descriptors() > 0; ++i) {
    sent.push_back(pattern(60, i));
    g.offer_frame(sent.back());
  }
  g.out.publish();
  std::vector<Bytes> got;
  for (int turn = 0; turn < 100 && got.size() < sent.size(); ++turn) {
    auto some = receive(*g.port);
    EXPECT_LE(some.size(), sw::Burst::kFrames);
    got.insert(got.end(), some.begin(), some.end());
  }
  EXPECT_EQ(got, sent);
}

TEST(RingPortTest, ASmallRestOfABurstDoesNotStallALongChain) {
  Guest g;
  const std::vector<std::uint32_t> cuts(700, 2);
  const Bytes big = pattern(4000, 1), small = pattern(60, 2);
  g.offer_frame(small);
  g.offer_frame(big, {}, cuts);
  g.offer_frame(small, {}, std::span(cuts).first(30));
  g.out.publish();
  std::vector<Bytes> got;
  for (int turn = 0; turn < 4; ++turn) {
    for (auto& f : receive(*g.port)) got.push_back(f);
  }
  EXPECT_EQ(got, (std::vector<Bytes>{small, big, small}));
}

// To the guest.

/// Receive buffers in memory that is all canaries, so that a stray byte shows.
class Receiver {
 public:
  explicit Receiver(Guest& g) : g_(g) {
    std::memset(g_.in.at<std::uint8_t>(kIn), kCanary, kArea);
    rewind();
  }

  /// Once all was reaped: the next buffers lie where the first did.
  void rewind() { at_ = kIn + 64; }
  /// Offers one chain of buffers of these sizes, canaries between them.
  void offer(std::span<const std::uint32_t> sizes) {
    std::vector<Piece> pieces;
    for (std::uint32_t size : sizes) {
      pieces.push_back({at_, size, true});
      at_ += size + 16;
    }
    chains_[g_.in.chain(pieces)] = pieces;
  }
  void offer(std::initializer_list<std::uint32_t> sizes) {
    offer(std::span<const std::uint32_t>(sizes.begin(), sizes.size()));
  }
  /// Reaps one frame: num_buffers chains, each filled but the last. Checks the canaries.
  Bytes reap(virtio_net_hdr_v1& h) {
    Bytes all;
    std::uint32_t chains = 1;
    for (std::uint32_t i = 0; i < chains || all.size() < kHeader; ++i) {
      MockDriver::Used used{};
      if (!g_.in.reap(used)) {
        ADD_FAILURE() << "chain " << i << " of " << chains << " is missing";
        return {};
      }
      take(used, all);
      if (all.size() >= kHeader) {
        std::memcpy(&h, all.data(), kHeader);
        chains = h.num_buffers;
      }
    }
    all.erase(all.begin(), all.begin() + kHeader);
    return all;
  }
  /// True when no byte outside what was reaped has changed.
  bool untouched() const {
    const auto* p = g_.in.at<std::uint8_t>(kIn);
    return p[0] == kCanary && std::memcmp(p, p + 1, kArea - 1) == 0;
  }

 private:
  static constexpr std::size_t kArea = std::size_t{PlugLayout::kQueue} * PlugLayout::kBuffer;

  /// Moves the bytes that used.len claims out, leaving canaries.
  void take(const MockDriver::Used& used, Bytes& all) {
    std::uint32_t left = used.len;
    for (const Piece& p : chains_[static_cast<std::uint16_t>(used.id)]) {
      const std::uint32_t n = std::min(left, p.len);
      auto* from = g_.in.at<std::uint8_t>(p.address);
      all.insert(all.end(), from, from + n);
      std::memset(from, kCanary, n);
      left -= n;
    }
    EXPECT_EQ(left, 0u) << "used.len is more than the chain holds";
  }

  Guest& g_;
  std::uint64_t at_ = kIn;
  std::map<std::uint16_t, std::vector<Piece>> chains_;
};

TEST(RingPortTest, T_RING_17_FramesToTheGuestByteForByte) {
  Guest g;
  Receiver r(g);
  std::mt19937 random(2);
  std::vector<std::size_t> sizes{1499, 1500, 2036, 2037, 65535, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < 200; ++n) sizes.push_back(n);
  for (std::size_t n = 0; n < rounds(300); ++n) sizes.push_back(random() % (sw::kMaxFrame + 1));
  std::uint32_t seed = 0;
  for (std::size_t size : sizes) {
    std::size_t room = 0;
    while (room < kHeader + size) {
      std::vector<std::uint32_t> chain(1 + random() % 4);
      // At most 128 buffers are merged.
      for (auto& len : chain) {
        len = static_cast<std::uint32_t>(kHeader + size) / 100 + 1 +
              static_cast<std::uint32_t>(random() % 2000);
        room += len;
      }
      r.offer(chain);
    }
    g.in.publish();
    const Bytes frame = pattern(size, ++seed);
    ASSERT_TRUE(send(*g.port, frame, {}, random() % 5)) << size;
    g.port->flush({});
    virtio_net_hdr_v1 h{};
    ASSERT_TRUE(same(r.reap(h), frame)) << size;
    ASSERT_TRUE(r.untouched()) << size;
    ASSERT_EQ(g.in.in_flight(), 0) << "a buffer was taken that was not needed";
    r.rewind();
  }
}

TEST(RingPortTest, T_RING_15_OneByteReceiveBuffers) {
  Guest g;
  Receiver r(g);
  const Bytes frame = pattern(60, 3);
  for (int i = 0; i < 72; ++i) r.offer({1});
  g.in.publish();
  ASSERT_TRUE(send(*g.port, frame));
  g.port->flush({});
  virtio_net_hdr_v1 h{};
  EXPECT_TRUE(same(r.reap(h), frame));
  EXPECT_EQ(h.num_buffers, 72);
  EXPECT_TRUE(r.untouched());
}

TEST(RingPortTest, T_RING_14_MergingIsBounded) {
  Guest g;
  Receiver r(g);
  for (int i = 0; i < 200; ++i) r.offer({1});
  g.in.publish();
  EXPECT_FALSE(send(*g.port, pattern(117, 1))) << "129 buffers for one frame";
  EXPECT_TRUE(send(*g.port, pattern(116, 2))) << "the 128 were given back";
  g.port->flush({});
  virtio_net_hdr_v1 h{};
  EXPECT_TRUE(same(r.reap(h), pattern(116, 2)));
  EXPECT_TRUE(r.untouched());
}

TEST(RingPortTest, OffloadsToTheGuest) {
  const Offload o{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1448, 34, 16};
  for (const bool csum : {true, false}) {
    Guest g(csum ? kEverything : sw::Offloads{});
    Receiver r(g);
    r.offer({5000});
    g.in.publish();
    ASSERT_TRUE(send(*g.port, pattern(3000, 1), csum ? o : Offload{VIRTIO_NET_HDR_F_DATA_VALID}));
    g.port->flush({});
    virtio_net_hdr_v1 h{};
    r.reap(h);
    EXPECT_EQ(h.flags, csum ? o.flags : 0);
    EXPECT_EQ(h.gso_type, csum ? o.gso_type : 0);
    EXPECT_EQ(h.gso_size, csum ? o.gso_size : 0);
    EXPECT_EQ(h.num_buffers, 1);
  }
}

TEST(RingPortTest, T_RING_16_TooFewBuffersAreGivenBack) {
  Guest g;
  Receiver r(g);
  for (int i = 0; i < 4; ++i) r.offer({500});
  g.in.publish();
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(send(*g.port, pattern(1989, 1)));
  EXPECT_TRUE(r.untouched());
  EXPECT_TRUE(send(*g.port, pattern(1988, 2))) << "all four are still there";
  EXPECT_FALSE(send(*g.port, pattern(0, 2)));
  g.port->flush({});
  virtio_net_hdr_v1 h{};
  EXPECT_TRUE(same(r.reap(h), pattern(1988, 2)));
  EXPECT_EQ(h.num_buffers, 4);
}

TEST(RingPortTest, T_RING_16_ABadBufferInTheMiddle) {
  Guest g;
  Receiver r(g);
  r.offer({500});
  r.offer({500});
  g.in.chain({{~std::uint64_t{0} - 100, 500, true}});
  r.offer({500});
  g.in.publish();
  EXPECT_FALSE(send(*g.port, pattern(1400, 1)));
  g.port->flush({});
  EXPECT_TRUE(r.untouched());
  EXPECT_EQ(g.in.used_idx(), 0);
  EXPECT_FALSE(g.port->link_up());
  EXPECT_EQ(g.counter("ring.broken.address"), 1u);
  EXPECT_FALSE(send(*g.port, pattern(60, 1))) << "broken is for good";
}

TEST(RingPortTest, SendRefusesTheRestOfABurst) {
  Guest g;
  Receiver r(g);
  r.offer({1000});
  r.offer({1000});
  g.in.publish();
  const Bytes small = pattern(100, 1), big = pattern(5000, 2);
  SplitFrame a(small), b(big), c(small);
  const sw::Frame* frames[] = {&a.frame, &b.frame, &c.frame};
  EXPECT_EQ(g.port->send(frames, {}), 2u) << "order is kept: what follows a refused one is refused";
}

TEST(RingPortTest, NothingIsSeenBeforeFlush) {
  Guest g;
  Receiver r(g);
  r.offer({100});
  g.in.publish();
  EXPECT_TRUE(send(*g.port, pattern(60, 1)));
  EXPECT_EQ(g.in.used_idx(), 0);
  EXPECT_FALSE(g.port->flush({})) << "no work of its own";
  EXPECT_EQ(g.in.used_idx(), 1);
}

// Hostile drivers at the level of frames.

TEST(RingPortTest, T_RING_13_SubmitsForEverNeverReaps) {
  Guest g;
  g.out.write(kOut, Bytes(200, 0));
  for (std::uint16_t i = 0; i < PlugLayout::kQueue; ++i) g.out.set_desc(i, {kOut, 72, 0, 0});
  auto burst = std::make_unique<sw::Burst>();
  const auto round = [&] {
    for (std::uint16_t i = 0; i < 64; ++i) g.out.offer(i);
    g.out.publish();
    burst->clear();
    g.port->receive(*burst, {});
    ASSERT_EQ(burst->size(), 64u);
    g.port->release();
  };
  for (int i = 0; i < 100; ++i) round();
  const std::size_t before = resident();
  for (std::size_t i = 0; i < rounds(20'000); ++i) round();
  EXPECT_LT(resident(), before + (std::size_t{4} << 20));
}

TEST(RingPortTest, T_RING_19_NeverReadsWhatItGets) {
  sw::Switch s;
  Guest g;
  s.add(std::move(g.owned), "frozen");
  auto fake = std::make_unique<test::FakePort>();
  test::FakePort& source = *fake;
  const sw::PortId id = s.add(std::move(fake), "source");
  Receiver r(g);
  for (int i = 0; i < 100; ++i) r.offer({300});
  g.in.publish();
  const Bytes frame = test::ethernet(0xffffffffffff, 0x020000000001, 200);
  std::size_t sent = 0;
  const auto round = [&] {
    for (; source.inbound.size() < 64; ++sent) source.inbound.emplace_back(frame, Offload{});
    s.turn(id, {});
    s.flush({}, [](sw::PortId) {});
  };
  for (int i = 0; i < 100; ++i) round();
  const std::size_t before = resident();
  for (std::size_t i = 0; i < rounds(5'000); ++i) round();
  EXPECT_LT(resident(), before + (std::size_t{4} << 20));
  std::map<std::string, std::uint64_t> frozen;
  s.report([&](sw::PortId, const std::string& port, std::string_view name, std::uint64_t v) {
    if (port == "frozen") frozen[std::string(name)] = v;
  });
  EXPECT_EQ(frozen["out.frames"], 100u);
  EXPECT_EQ(frozen["drop.queue-full"], sent - 100);
  EXPECT_EQ(g.in.used_idx(), 100);
}

TEST(RingPortTest, ABrokenRingStopsOnlyItsPort) {
  sw::Switch s;
  Guest bad, good;
  const sw::PortId bad_id = s.add(std::move(bad.owned), "bad");
  const sw::PortId good_id = s.add(std::move(good.owned), "good");
  auto fake = std::make_unique<test::FakePort>();
  test::FakePort& third = *fake;
  s.add(std::move(fake), "third");
  const Bytes frame = test::ethernet(0xffffffffffff, 0x020000000001, 200);

  bad.offer_frame(frame);
  bad.out.offer(0xffff);
  bad.out.publish();
  EXPECT_EQ(s.turn(bad_id, {}), 1u) << "what came before the fault counts";
  EXPECT_EQ(third.sent.size(), 1u);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(s.turn(bad_id, {}), 0u);
  EXPECT_TRUE(bad.port->arm({})) << "a broken port must not keep the loop awake";
  EXPECT_EQ(bad.counter("ring.broken.head-range"), 1u);
  MockDriver::Used used{};
  EXPECT_TRUE(bad.out.reap(used));
  EXPECT_FALSE(bad.out.reap(used));

  good.offer_frame(frame);
  good.out.publish();
  EXPECT_EQ(s.turn(good_id, {}), 1u);
  EXPECT_EQ(third.sent.size(), 2u);
  EXPECT_TRUE(same(third.sent[1].first, frame));
}

TEST(RingPortTest, TheSharedMemoryCannotBeResized) {
  const PlugMemory shared = PlugMemory::create();
  EXPECT_NE(ftruncate(shared.memory.get(), 4096), 0);
  EXPECT_NE(ftruncate(shared.memory.get(), static_cast<off_t>(2 * PlugLayout::kSize)), 0);
}

}  // namespace
}  // namespace rp::backend
