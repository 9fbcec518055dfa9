// SPDX-License-Identifier: BSD-3-Clause
// hostile_test.cc - drivers that break the rules behind a front end that keeps them.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <random>
#include <thread>

#include "switch/offload.h"
#include "switch/switch.h"
#include "tests/backend/scale.h"
#include "tests/backend/sigbus_handled.h"
#include "tests/backend/vhost_user/front_end.h"
#include "tests/base/resident.h"

namespace rp::backend::vhost_user {
namespace {

using test::ethernet;
using test::resident;

constexpr std::uint64_t kMacA = 0x020000000001, kMacB = 0x020000000002, kAll = 0xffffffffffff;

TEST(VhostUserHostileTest, T_RING_4_FlippedWhileServed) {
  Guest::Options o;
  o.queue_size = 16;
  o.arena = std::size_t{1} << 16;
  Pair p(o);
  p.front.start();
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> flips{0};
  // What it writes is mostly nearly right, so that the device gets far before it finds out.
  std::thread flipper([&] {
    std::mt19937_64 random(4);
    const auto below = [&](std::uint64_t n) { return random() % n; };
    const auto one_of = [&](std::initializer_list<std::uint64_t> list) {
      return below(8) == 0 ? random() : *(list.begin() + below(list.size()));
    };
    std::uint64_t n = 0;
    for (; !stop.load(std::memory_order_relaxed); ++n) {
      const std::uint64_t q = below(2), arena = o.address + Guest::kArenas + q * o.arena;
      const MockDriver& driver = p.guest.queues[q]->driver;
      const VringAreas& ring = driver.areas();
      vring_desc* d = ring.desc + below(16);
      switch (below(8)) {
        case 0:
          store_relaxed(&d->addr,
                        __virtio64{one_of({arena, arena + 4096, arena - 1, ~0ull, o.address})});
          break;
        case 1:
          store_relaxed(&d->len, static_cast<std::uint32_t>(one_of({0, 1, 12, 64, 2000, ~0ull})));
          break;
        case 2:
          store_relaxed(&d->flags, static_cast<std::uint16_t>(one_of({0, 1, 2, 3, 4, 5})));
          break;
        case 3:
          store_relaxed(&d->next, static_cast<std::uint16_t>(one_of({0, 1, 7, 15, 16})));
          break;
        case 4:
          store_relaxed(ring.avail_ring(static_cast<std::uint16_t>(below(16))),
                        static_cast<std::uint16_t>(one_of({0, 3, 15, 16})));
          break;
        case 5:
          store_relaxed(ring.used_idx(), static_cast<std::uint16_t>(random()));
          break;
        case 6:
          store_relaxed(ring.used_event(), static_cast<std::uint16_t>(random()));
          break;
        default:
          store_relaxed(driver.at<std::uint16_t>(arena + 2 * below(40)),
                        static_cast<std::uint16_t>(random()));
      }
    }
    flips = n;
  });
  std::mt19937 random(5);
  std::uint64_t served = 0, taken = 0, restarts = 0;
  std::uint16_t next[2] = {};
  const Bytes frame = pattern(300, 1);
  // How far it gets hangs on how often the flipper wins.
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  for (std::size_t i = 0; i < 1000 || std::chrono::steady_clock::now() < until; ++i) {
    for (std::uint32_t q = 0; q < 2; ++q) {
      GuestQueue& queue = *p.guest.queues[q];
      if (take_signals(queue.err)) {
        ++restarts;
        const auto base = p.front.get_base(q);
        ASSERT_TRUE(base);
        ASSERT_TRUE(p.front.enable(q));
        p.front.start_ring(q, *base);
        queue.driver.set_avail_idx(next[q] = static_cast<std::uint16_t>(*base));
      }
      const std::uint64_t arena = o.address + Guest::kArenas + q * o.arena;
      for (std::uint16_t n = 0; i % 16 == q && n < 16; ++n) {
        queue.driver.set_desc(n, {arena + n * 1024u, 1000,
                                  q ? std::uint16_t{0} : std::uint16_t{VRING_DESC_F_WRITE}, 0});
        store_relaxed(queue.driver.areas().avail_ring(n), n);
      }
      queue.driver.set_avail_idx(next[q] = static_cast<std::uint16_t>(next[q] + 2));
    }
    p.back.turn();
    served += p.back.take().size();
    taken += p.back.deliver(frame);
    taken += p.back.deliver(frame);
  }
  stop = true;
  flipper.join();
  EXPECT_FALSE(p.back.port->gone());
  EXPECT_GT(restarts, 10u);
  EXPECT_GT(served, 10u);
  EXPECT_GT(taken, 10u);
  RecordProperty("restarts", std::to_string(restarts));
  RecordProperty("served", std::to_string(served));
  RecordProperty("flips", std::to_string(flips.load()));
  // All is well once it rests.
  for (std::uint32_t q = 0; q < 2; ++q) {
    ASSERT_TRUE(p.front.get_base(q));
    p.guest.queues[q]->reset();
    ASSERT_TRUE(p.front.enable(q));
    p.front.start_ring(q, 0);
  }
  p.guest.in().refill();
  EXPECT_TRUE(p.back.deliver(frame));
  EXPECT_TRUE(p.guest.in().take());
}

TEST(VhostUserHostileTest, T_RING_13_SubmitsForEverNeverReaps) {
  Pair p;
  p.front.start();
  GuestQueue& out = p.guest.out();
  const std::uint64_t at = p.guest.options.address + Guest::kArenas + p.guest.options.arena;
  for (std::uint16_t i = 0; i < 256; ++i) out.driver.set_desc(i, {at, 72, 0, 0});
  const auto round = [&] {
    for (std::uint16_t i = 0; i < 64; ++i) out.driver.offer(i);
    out.publish();
    p.back.turn();
    ASSERT_EQ(p.back.take().size(), 64u);
  };
  for (int i = 0; i < 100; ++i) round();
  const std::size_t before = resident();
  for (std::size_t i = 0; i < rounds(5'000); ++i) round();
  EXPECT_LT(resident(), before + (std::size_t{4} << 20));
  EXPECT_EQ(p.back.counter("ring.broken.loop"), 0u);
}

/// Two guests and a fake port on one switch.
class SwitchedTest : public ::testing::Test {
 protected:
  struct Member {
    Member(sw::Switch& s, const char* name, std::uint64_t wanted) {
      auto [ours, theirs] = make_socketpair();
      auto owned = std::make_unique<Port>(std::move(ours), 1);
      port = owned.get();
      front.emplace(Wire(std::move(theirs),
                         [this] {
                           auto burst = std::make_unique<sw::Burst>();
                           port->disarm();
                           port->receive(*burst, {});
                           port->release();
                         }),
                    guest);
      front->negotiate(wanted);
      FrontEnd::must(front->set_memory(), "memory");
      front->start_rings();
      id = s.add(std::move(owned), name);
    }
    Guest guest;
    Port* port;
    std::optional<FrontEnd> front;
    sw::PortId id;
  };

  std::size_t turn(Member& m) {
    const std::size_t n = s.turn(m.id, {});
    s.flush({}, [](sw::PortId) {});
    return n;
  }
  std::uint64_t counter(const std::string& port, const std::string& name) {
    std::uint64_t sum = 0;
    s.report([&](sw::PortId, const std::string& p, std::string_view n, std::uint64_t v) {
      if (p == port && n == name) sum += v;
    });
    return sum;
  }
  /// Offers one frame of A's and lets the switch have it.
  void from_a(const Bytes& frame, const sw::Offload& o = {}) {
    a.guest.out().offer(frame, o);
    a.guest.out().publish();
    EXPECT_EQ(turn(a), 1u);
    a.guest.out().reap_all();
  }
  std::vector<GuestQueue::Got> at_b() {
    std::vector<GuestQueue::Got> all;
    while (auto got = b.guest.in().take()) all.push_back(std::move(*got));
    b.guest.in().refill();
    return all;
  }

  sw::Switch s;
  Member a{s, "a", FrontEnd::kWanted}, b{s, "b", FrontEnd::kWanted};
};
using VhostUserSwitchedTest = SwitchedTest;

/// A TCP segment of IPv4 with `size` bytes of data, its checksum left to the offload.
Bytes tcp(std::size_t size) {
  Bytes f = ethernet(kMacB, kMacA, 54 + size, 0x0800);
  const auto length = static_cast<std::uint16_t>(40 + size);
  const std::uint8_t ip[] = {0x45,
                             0,
                             static_cast<std::uint8_t>(length >> 8),
                             static_cast<std::uint8_t>(length),
                             0,
                             1,
                             0x40,
                             0,
                             64,
                             6,
                             0,
                             0,
                             10,
                             0,
                             0,
                             1,
                             10,
                             0,
                             0,
                             2};
  std::memcpy(&f[14], ip, sizeof ip);
  std::uint32_t sum = 0;
  for (std::size_t i = 14; i < 34; i += 2) sum += static_cast<std::uint32_t>(f[i] << 8 | f[i + 1]);
  sum = ~((sum & 0xffff) + (sum >> 16));
  f[24] = static_cast<std::uint8_t>(sum >> 8);
  f[25] = static_cast<std::uint8_t>(sum);
  f[46] = 0x50;
  f[47] = 0x10;
  return f;
}
sw::Offload tso(std::uint16_t size) {
  return {VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, size, 34, 16};
}

TEST_F(VhostUserSwitchedTest, T_VU_5_MemoryCutShortEndsItsPortAlone) {
  const SigbusHandled handled;
  Member c{s, "c", FrontEnd::kWanted};
  b.guest.in().refill();
  from_a(ethernet(kMacB, kMacA, 100));
  ASSERT_EQ(at_b().size(), 1u);
  // B's receive buffers go, and C's frames under way: one is written to, the other read from.
  c.guest.out().offer(ethernet(kAll, kMacB + 1, 1000));
  c.guest.out().publish();
  ASSERT_EQ(ftruncate(b.guest.file.get(), 0), 0);
  ASSERT_EQ(ftruncate(c.guest.file.get(), 0), 0);
  a.guest.out().offer(ethernet(kMacB, kMacA, 1000));
  a.guest.out().publish();
  EXPECT_EQ(turn(a), 1u);
  turn(b);
  for (int i = 0; i < 3; ++i) turn(c);
  EXPECT_TRUE(b.port->gone());
  EXPECT_TRUE(c.port->gone());
  EXPECT_FALSE(a.port->gone());
  Member d{s, "d", FrontEnd::kWanted};
  d.guest.in().refill();
  from_a(ethernet(kAll, kMacA, 100));
  EXPECT_TRUE(d.guest.in().take()) << "the others go on";
}

TEST_F(VhostUserSwitchedTest, T_HDR_1_ChecksumsPastTheFrame) {
  b.guest.in().refill();
  const Bytes frame = tcp(100);
  std::uint64_t bad = 0;
  const auto len = static_cast<std::uint16_t>(frame.size());
  const std::uint16_t starts[] = {0,
                                  13,
                                  34,
                                  static_cast<std::uint16_t>(len - 17),
                                  static_cast<std::uint16_t>(len - 1),
                                  len,
                                  static_cast<std::uint16_t>(len + 1),
                                  0x7fff,
                                  0xfffe,
                                  0xffff};
  for (const std::uint16_t start : starts) {
    for (const std::uint16_t offset :
         {std::uint16_t{0}, std::uint16_t{6}, std::uint16_t{16}, std::uint16_t{0x8000},
          std::uint16_t{0xfffe}, std::uint16_t{0xffff}}) {
      from_a(frame, {VIRTIO_NET_HDR_F_NEEDS_CSUM, 0, 0, 0, start, offset});
      const auto got = at_b();
      if (std::uint32_t{start} + offset + 2 > len) {
        EXPECT_TRUE(got.empty()) << start << "+" << offset;
        EXPECT_EQ(counter("a", "drop.bad-offload"), ++bad);
      } else {
        bad = counter("a", "drop.bad-offload");
      }
      for (const auto& g : got) EXPECT_EQ(g.bytes.size(), len);
    }
  }
}

TEST_F(VhostUserSwitchedTest, T_HDR_2_SegmentsThatAreNone) {
  b.guest.in().refill();
  const Bytes frame = tcp(5000);
  from_a(frame, tso(1448));
  ASSERT_EQ(at_b().size(), 1u);
  const std::pair<sw::Offload, const char*> wrong[] = {
      {{1, VIRTIO_NET_HDR_GSO_TCPV4, 54, 0, 34, 16}, "gso_size 0"},
      {{0, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1448, 0, 0}, "no checksum to fill in"},
      {{1, 2, 54, 1448, 34, 16}, "no such type"},
      {{1, 0x7f, 54, 1448, 34, 16}, "no such type"},
      {{1, VIRTIO_NET_HDR_GSO_ECN, 54, 1448, 34, 16}, "ECN of nothing"},
      {{1, VIRTIO_NET_HDR_GSO_TCPV6, 54, 1448, 34, 16}, "IPv6 that is IPv4"},
      {{1, sw::kGsoUdpL4, 54, 1448, 34, 6}, "UDP that is TCP"}};
  std::uint64_t dropped = 0;
  for (const auto& [o, what] : wrong) {
    from_a(frame, o);
    EXPECT_TRUE(at_b().empty()) << what;
    EXPECT_EQ(counter("a", "drop.bad-offload"), ++dropped) << what;
  }
  // hdr_len is a hint, whatever it says.
  for (const std::uint16_t hint : {std::uint16_t{0}, std::uint16_t{1}, std::uint16_t{0xffff}}) {
    from_a(frame, {1, VIRTIO_NET_HDR_GSO_TCPV4, hint, 1448, 34, 16});
    EXPECT_EQ(at_b().size(), 1u) << hint;
  }
}

TEST_F(VhostUserSwitchedTest, T_HDR_5_WithoutOffloadsEveryFrameIsFinished) {
  Member c{s, "c", FrontEnd::kWanted & ~bit(VIRTIO_NET_F_GUEST_CSUM)};
  b.guest.in().refill();
  c.guest.in().refill();
  const Bytes frame = tcp(5000);
  from_a(frame, tso(1448));
  const auto whole = at_b();
  ASSERT_EQ(whole.size(), 1u) << "flooded to both";
  EXPECT_EQ(whole[0].bytes, frame);
  EXPECT_EQ(whole[0].header.gso_size, 1448);
  std::size_t data = 0;
  for (int n = 0; n < 4; ++n) {
    const auto got = c.guest.in().take();
    ASSERT_TRUE(got);
    EXPECT_EQ(got->header.flags, 0);
    EXPECT_EQ(got->header.gso_type, VIRTIO_NET_HDR_GSO_NONE);
    EXPECT_EQ(got->header.csum_start, 0);
    EXPECT_LE(got->bytes.size(), 54u + 1448);
    data += got->bytes.size() - 54;
  }
  EXPECT_EQ(data, 5000u);
  EXPECT_FALSE(c.guest.in().take());
}

TEST_F(VhostUserSwitchedTest, T_HDR_4_T_HDR_6_TooShortAndTooLong) {
  b.guest.in().refill();
  for (const std::size_t size : {0u, 1u, 13u}) from_a(ethernet(kMacB, kMacA, size));
  EXPECT_TRUE(at_b().empty());
  EXPECT_EQ(counter("a", "drop.runt"), 3u);
  for (const std::size_t size : {14u, 59u}) {
    const Bytes frame = ethernet(kMacB, kMacA, size);
    from_a(frame);
    const auto got = at_b();
    ASSERT_EQ(got.size(), 1u);
    EXPECT_EQ(got[0].bytes, frame) << "no byte that was not sent";
  }
  from_a(ethernet(kMacB, kMacA, sw::kMaxFrame));
  EXPECT_EQ(at_b().size(), 1u);
  from_a(ethernet(kMacB, kMacA, sw::kMaxFrame + 1));
  from_a(ethernet(kMacB, kMacA, std::size_t{1} << 19));
  EXPECT_TRUE(at_b().empty());
  EXPECT_EQ(counter("a", "drop.oversize"), 2u);
  EXPECT_TRUE(b.guest.in().untouched());
}

TEST_F(VhostUserSwitchedTest, T_RING_17_NothingBesideTheFrameIsWritten) {
  std::mt19937 random(17);
  for (std::size_t i = 0; i < rounds(300); ++i) {
    GuestQueue& in = b.guest.in();
    in.refill(static_cast<std::uint32_t>(100 + random() % 3000), 60);
    const Bytes frame = ethernet(kMacB, kMacA, 14 + random() % 4000);
    from_a(frame);
    const auto got = in.take();
    ASSERT_TRUE(got);
    ASSERT_EQ(got->bytes, frame);
    ASSERT_TRUE(in.untouched());
    ASSERT_TRUE(b.front->get_base(0));
    in.reset();
    ASSERT_TRUE(b.front->enable(0));
    b.front->start_ring(0, 0);
  }
}

TEST_F(VhostUserSwitchedTest, T_RING_19_NeverReadsWhatItGets) {
  b.guest.in().refill(2048, 100);
  GuestQueue& out = a.guest.out();
  const Bytes frame = ethernet(kAll, kMacA, 200);
  std::uint64_t sent = 0;
  const auto round = [&] {
    for (int i = 0; i < 64; ++i) out.offer(frame);
    out.publish();
    ASSERT_EQ(turn(a), 64u);
    sent += out.reap_all();
  };
  for (int i = 0; i < 100; ++i) round();
  const std::size_t before = resident();
  for (std::size_t i = 0; i < rounds(2'000); ++i) round();
  EXPECT_LT(resident(), before + (std::size_t{4} << 20));
  EXPECT_EQ(counter("b", "out.frames"), 100u);
  EXPECT_EQ(counter("b", "drop.queue-full"), sent - 100);
  EXPECT_EQ(b.guest.in().driver.used_idx(), 100);
}

}  // namespace
}  // namespace rp::backend::vhost_user
