// SPDX-License-Identifier: BSD-3-Clause
// device_test.cc - what a front end may tell a device, in any order, and what becomes of its rings.
#include "backend/vhost_user/device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/memfd.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/timerfd.h>

#include <random>

#include "tests/backend/scale.h"
#include "tests/backend/vhost_user/front_end.h"

namespace rp::backend::vhost_user {
namespace {

TEST(VhostUserDeviceTest, MemoryAtUserAddressZeroIsNoDoorbell) {
  Guest::Options o;
  o.user = 0;
  Pair p(o);
  p.front.start();
  ASSERT_TRUE(p.front.set_memory());
  p.guest.in().refill();
  const auto* word = p.guest.in().driver.at<std::uint32_t>(o.address);
  const std::uint32_t before = *word;
  ASSERT_NE(before, 0u);
  ASSERT_TRUE(p.back.deliver(pattern(60, 1)));
  EXPECT_EQ(take_signals(p.guest.in().call), 1u) << "the guest is not told of its frame";
  EXPECT_EQ(*word, before) << "somebody wrote to the guest's memory";
}

TEST(VhostUserDeviceTest, PartOfAHugePageIsUnmappedAsWell) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  const Fd file(memfd_create("rp-huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB));
  if (!file || ftruncate(file.get(), kHuge) != 0) GTEST_SKIP() << "no huge pages here";
  Pair p;
  p.front.negotiate();
  const int fd[] = {file.get()};
  const MemoryRegion part{0, kHuge - 8192, 0x10000000, 4096};
  if (!p.front.set_memory({&part, 1}, fd)) GTEST_SKIP() << "no huge page is free";
  const Footprint before;
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(p.front.set_memory({&part, 1}, fd));
  EXPECT_EQ(Footprint().mappings, before.mappings);
}

// Negotiation and single messages.

TEST(VhostUserDeviceTest, AnswersWhatItIsAsked) {
  Pair p;
  p.front.negotiate();
  EXPECT_EQ(p.front.ask(Request::get_queue_num), 1u);
  EXPECT_EQ(p.front.ask(Request::get_max_mem_slots), 32u);
  EXPECT_EQ(p.front.ask(Request::get_status), 0u);
  EXPECT_TRUE(p.front.tell(Request::set_status, std::uint64_t{0x0f}));
  EXPECT_FALSE(p.front.tell(Request::set_status, std::uint64_t{0x100}));
  EXPECT_EQ(p.front.ask(Request::get_status), 0x0fu);
  p.front.vanish();
}

TEST(VhostUserDeviceTest, MtuWithinBounds) {
  Pair p;
  p.front.negotiate();
  for (const std::uint64_t mtu : {68u, 1280u, 1500u, 9000u, 65535u})
    EXPECT_TRUE(p.front.tell(Request::net_set_mtu, mtu)) << mtu;
  for (const std::uint64_t mtu : {std::uint64_t{0}, std::uint64_t{67}, std::uint64_t{65536},
                                  (std::uint64_t{1} << 32) + 1500, ~std::uint64_t{0}})
    EXPECT_FALSE(p.front.tell(Request::net_set_mtu, mtu)) << mtu;
}

TEST(VhostUserDeviceTest, OnlyWhatIsOfferedIsAgreed) {
  Pair p;
  p.front.negotiate();
  EXPECT_FALSE(p.front.tell(Request::set_features, kFeatures | bit(63)));
  EXPECT_FALSE(p.front.tell(Request::set_features, ~std::uint64_t{0}));
  EXPECT_FALSE(p.front.tell(Request::set_protocol_features, kProtocolFeatures | bit(kConfig)));
  EXPECT_TRUE(p.front.tell(Request::set_protocol_features, p.front.protocol_features))
      << "what was agreed before still is";
  ASSERT_TRUE(p.front.set_memory());
  p.front.start_rings();
  EXPECT_FALSE(p.front.tell(Request::set_features, p.front.features & ~bit(VIRTIO_NET_F_MRG_RXBUF)))
      << "while the rings run";
  EXPECT_TRUE(p.front.tell(Request::set_features, p.front.features))
      << "the second pair of an emulator's says the same again";
}

TEST(VhostUserDeviceTest, RepliesOnlyWhereAgreed) {
  Pair p;
  p.front.negotiate(FrontEnd::kWanted, FrontEnd::kWantedProtocol & ~bit(kReplyAck));
  const std::uint64_t mtu = 1500;
  p.front.wire.send(Request::net_set_mtu, &mtu, sizeof mtu, {}, kVersion | kNeedReply);
  EXPECT_EQ(p.front.ask(Request::get_queue_num), 1u) << "the next answer is the question's";
  const std::uint64_t bits = FrontEnd::kWantedProtocol;
  p.front.wire.send(Request::set_protocol_features, &bits, sizeof bits, {}, kVersion | kNeedReply);
  const auto answer = p.front.wire.read();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header.flags, kVersion | kReply);
  EXPECT_EQ(answer->payload, Bytes(8, 0));
  p.front.wire.send(Request::get_queue_num, nullptr, 0, {}, kVersion | kNeedReply);
  EXPECT_EQ(p.front.wire.read()->payload.size(), 8u);
  EXPECT_EQ(p.front.ask(Request::get_status), 0u) << "a question is answered once";
}

TEST(VhostUserDeviceTest, UnknownRequestsAreRefused) {
  Pair p;
  p.front.negotiate();
  std::uint64_t refused = 0;
  for (const std::uint32_t request : {0u, 7u + 16, 21u, 22u, 24u, 25u, 26u, 28u, 31u, 32u, 33u, 41u,
                                      42u, 44u, 1000u, 0x80000001u, ~0u}) {
    EXPECT_FALSE(p.front.tell(static_cast<Request>(request), std::uint64_t{0})) << request;
    EXPECT_EQ(p.back.counter("vhost-user.refused-messages"), ++refused);
  }
  EXPECT_FALSE(p.front.tell(Request::set_doorbell, DoorbellPlace{p.guest.region.user_address}))
      << "no plug: the bit was not agreed";
  EXPECT_TRUE(p.front.set_memory()) << "the connection goes on";
}

TEST(VhostUserDeviceTest, ResetEndsTheRings) {
  for (const Request reset : {Request::reset_device, Request::reset_owner}) {
    Pair p;
    p.front.start();
    EXPECT_TRUE(p.back.port->link_up());
    ASSERT_TRUE(p.front.tell(reset, nullptr, 0));
    EXPECT_FALSE(p.back.port->link_up());
    p.guest.out().offer(pattern(60, 1));
    p.guest.out().publish();
    p.back.run();
    EXPECT_TRUE(p.back.take().empty());
    EXPECT_EQ(p.guest.out().reap_all(), 0u);
    for (auto& q : p.guest.queues) q->reset();
    p.front.set_features(p.front.features & ~bit(VIRTIO_NET_F_MRG_RXBUF));
    p.front.start_rings();
    p.guest.in().refill();
    EXPECT_TRUE(p.back.deliver(pattern(60, 1)));
    EXPECT_TRUE(p.guest.in().take());
  }
}

TEST(VhostUserDeviceTest, WithoutTheProtocolBitRingsStartEnabled) {
  Pair p;
  p.front.negotiate(FrontEnd::kWanted & ~bit(kFeatureProtocol));
  ASSERT_TRUE(p.front.set_memory());
  p.front.start_rings();
  EXPECT_TRUE(p.back.port->link_up());
  p.guest.out().offer(pattern(60, 1));
  p.guest.out().publish();
  p.back.run();
  EXPECT_EQ(p.back.take().size(), 1u);
}

// Memory.

TEST(VhostUserDeviceTest, T_VU_3_Regions) {
  Pair p;
  p.front.start();
  const std::uint64_t size = p.guest.region.size;
  const Fd memory = make_memfd(1 << 20), null(open("/dev/null", O_RDWR | O_CLOEXEC)),
           folder(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), event = make_eventfd();
  const Fd read_only(
      open(("/proc/self/fd/" + std::to_string(memory.get())).c_str(), O_RDONLY | O_CLOEXEC));
  const auto [left, right] = make_socketpair();
  const Footprint before;
  const auto refused = [&](std::vector<MemoryRegion> regions, std::vector<int> fds,
                           const char* what) {
    EXPECT_FALSE(p.front.set_memory(regions, fds)) << what;
    if (regions.size() == 1 && fds.size() == 1) {
      MemoryRegion r = regions[0];
      EXPECT_FALSE(p.front.add_memory(r, fds[0])) << what;
    }
  };
  const int fd = memory.get();
  const MemoryRegion good{0x1000, 0x1000, 0x1000, 0};
  for (const Fd* other : {&null, &folder, &event, &read_only, &left}) {
    ASSERT_TRUE(*other);
    refused({good}, {other->get()}, "no file that can be shared");
  }
  constexpr std::uint64_t kMax = ~std::uint64_t{0};
  refused({{0x1000, 0, 0x1000, 0}}, {fd}, "empty");
  refused({{kMax - 0xfff, 0x2000, 0x1000, 0}}, {fd}, "the guest's addresses wrap");
  refused({{0x1000, 0x2000, kMax - 0xfff, 0}}, {fd}, "the process' addresses wrap");
  refused({{0x1000, 0x2000, 0x1000, kMax - 0xfff}}, {fd}, "offset + size wraps");
  refused({{0x1000, kMax, 0x1000, 1}}, {fd}, "offset + size wraps");
  refused({{0x1000, 0x1000, 0x1000, 0xff001}}, {fd}, "a byte past the end");
  refused({{0x1000, (1 << 20) + 1, 0x1000, 0}}, {fd}, "a byte longer");
  refused({{0x1000, kMax, 0x1000, 0}}, {fd}, "all addresses");
  refused({good, good}, {fd, fd}, "twice the same");
  refused({good, {0x1fff, 0x1000, 0x9000, 0}}, {fd, fd}, "one shared byte");
  refused({{0x1000, 0x4000, 0x1000, 0}, {0x2000, 1, 0x9000, 0}}, {fd, fd}, "one inside the other");
  refused({good}, {}, "no descriptor");
  refused({good}, {fd, fd}, "one too many");
  refused({good, {0x8000, 0x1000, 0x8000, 0}}, {fd}, "one too few");
  EXPECT_FALSE(p.front.remove_memory(good)) << "there is none such";
  EXPECT_FALSE(p.front.add_memory(p.guest.region, p.guest.file.get())) << "it is there already";
  // Counts that lie: with the payload of one region, of eight, and of none.
  for (const std::uint32_t count : {0u, 2u, 8u, 9u, 32u, 33u, ~0u}) {
    for (const std::size_t regions : {1u, 8u}) {
      MemoryTable table{count, 0, {}};
      for (std::uint32_t i = 0; i < regions; ++i) table.regions[i] = {i << 12, 4096, i << 12, 0};
      if (count == regions) continue;
      const std::vector<int> fds(regions, fd);
      EXPECT_FALSE(p.front.tell(Request::set_mem_table, &table, 8 + 32 * regions, fds)) << count;
    }
  }
  EXPECT_EQ(Footprint().fds, before.fds);
  EXPECT_EQ(Footprint().mappings, before.mappings);
  EXPECT_EQ(p.guest.region.size, size);

  // After all of that the rings run in the memory they had.
  p.guest.in().refill();
  EXPECT_TRUE(p.back.deliver(pattern(60, 1)));
  EXPECT_TRUE(p.guest.in().take());

  // As many as there may be.
  std::vector<MemoryRegion> eight;
  for (std::uint64_t i = 0; i < 8; ++i) eight.push_back({i << 12, 4096, i << 12, i << 12});
  EXPECT_TRUE(p.front.set_memory(eight, std::vector<int>(8, fd)));
  for (std::uint64_t i = 8; i < 40; ++i) {
    const MemoryRegion r{i << 12, 4096, i << 12, i << 12};
    EXPECT_EQ(p.front.add_memory(r, fd), i < 32) << i;
  }
  EXPECT_EQ(Footprint().mappings, before.mappings - 1 + 32);
  EXPECT_TRUE(p.front.set_memory({}, {})) << "none at all";
  EXPECT_EQ(Footprint().mappings, before.mappings - 1);
}

TEST(VhostUserDeviceTest, ARingWaitsForItsMemory) {
  Pair p;
  p.front.negotiate();
  p.front.start_rings();
  EXPECT_FALSE(p.back.port->link_up()) << "kicked before there is any memory";
  p.guest.out().offer(pattern(60, 1));
  p.guest.out().publish();
  p.back.run();
  EXPECT_TRUE(p.back.take().empty());
  // Region by region, the rings' last.
  const Fd other = make_memfd(8192);
  ASSERT_TRUE(p.front.add_memory({0, 8192, 0, 0}, other.get()));
  EXPECT_FALSE(p.back.port->link_up());
  ASSERT_TRUE(p.front.add_memory(p.guest.region, p.guest.file.get()));
  p.back.run();
  EXPECT_EQ(p.back.take().size(), 1u);
  EXPECT_TRUE(p.back.port->link_up());

  // It goes and comes back, and the rings go on where they were.
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(p.front.remove_memory(p.guest.region));
    EXPECT_FALSE(p.back.port->link_up());
    EXPECT_FALSE(p.back.deliver(pattern(60, 1)));
    p.guest.out().offer(pattern(60, 1));
    p.guest.out().publish();
    p.back.run();
    EXPECT_TRUE(p.back.take().empty());
    ASSERT_TRUE(p.front.add_memory(p.guest.region, p.guest.file.get()));
    p.back.run();
    EXPECT_EQ(p.back.take().size(), 1u);
    p.guest.in().refill();
    EXPECT_TRUE(p.back.deliver(pattern(100, 2)));
    EXPECT_TRUE(p.guest.in().take());
  }
  EXPECT_EQ(p.guest.out().reap_all(), 4u) << "each once";
}

TEST(VhostUserDeviceTest, T_RING_16_ARegionGoesWithChainsInIt) {
  Pair p;
  p.front.start();
  const MemoryRegion extra{0x1000000, 1 << 16, 0x1000000, 0};
  const Fd file = make_memfd(extra.size);
  ASSERT_TRUE(p.front.add_memory(extra, file.get()));
  GuestQueue& in = p.guest.in();
  in.offer_buffers({500});
  in.driver.chain({{extra.guest_address, 500, true}});
  in.publish();
  ASSERT_TRUE(p.front.remove_memory(extra));
  EXPECT_FALSE(p.back.deliver(pattern(900, 1))) << "its second buffer is gone";
  EXPECT_EQ(p.back.counter("ring.broken.address"), 1u);
  EXPECT_EQ(in.driver.used_idx(), 0);
  EXPECT_TRUE(in.untouched());
}

// Indices and descriptors.

TEST(VhostUserDeviceTest, T_VU_1_IndicesAreNotCutShort) {
  Pair p;
  p.front.start();
  const Fd event = make_eventfd();
  const Footprint before;
  for (const std::uint32_t i :
       {2u, 3u, 0xffu, 0x100u, 0x101u, 0x10000u, 0x10001u, 0x80000000u, ~0u}) {
    VringAddr a = p.front.addresses(0);
    a.index = i;
    EXPECT_FALSE(p.front.tell(Request::set_vring_addr, a)) << i;
    EXPECT_FALSE(p.front.set_size(i, 16)) << i;
    EXPECT_FALSE(p.front.set_base(i, 0)) << i;
    EXPECT_FALSE(p.front.enable(i, false)) << i;
    const VringState state{i, 0};
    EXPECT_FALSE(p.front.tell(Request::get_vring_base, state)) << i;
  }
  for (const Request which :
       {Request::set_vring_kick, Request::set_vring_call, Request::set_vring_err}) {
    for (const std::uint64_t i :
         {std::uint64_t{2}, std::uint64_t{0xff}, std::uint64_t{0x200}, std::uint64_t{0x10000},
          std::uint64_t{1} << 32, ~std::uint64_t{0}})
      EXPECT_FALSE(p.front.tell(which, i, {event.get()})) << i;
    EXPECT_FALSE(p.front.tell(which, kVringNoFd, {event.get()})) << "one that is said not to be";
    EXPECT_FALSE(p.front.tell(which, std::uint64_t{0}, {})) << "none that is said to be";
    EXPECT_FALSE(p.front.tell(which, std::uint64_t{0}, {event.get(), event.get()}));
  }
  EXPECT_EQ(Footprint().fds, before.fds);
  EXPECT_TRUE(p.back.port->link_up());
  p.guest.in().refill();
  EXPECT_TRUE(p.back.deliver(pattern(60, 1)));
  EXPECT_TRUE(p.guest.in().take());
}

TEST(VhostUserDeviceTest, T_VU_2_EveryMessageWithAnyDescriptors) {
  const auto kept = EventSignal::shared();  // its end takes a while
  const Fd event = make_eventfd(), memory = make_memfd(1 << 16);
  const std::vector<int> events(253, event.get()), memories(253, memory.get());
  // Warm: what the allocator and the first connection keep.
  {
    Pair p;
    p.front.start();
  }
  const Footprint before;
  for (std::uint32_t request = 0; request <= 44; ++request) {
    for (const std::size_t n : {0u, 1u, 2u, 7u, 8u, 9u, 253u}) {
      for (const auto& kind : {events, memories}) {
        Pair p;
        p.front.start();
        const Bytes payload(sizeof(SingleRegion), 0);
        p.front.wire.send(static_cast<Request>(request), payload.data(), payload.size(),
                          std::span(kind).first(n));
        for (int i = 0; i < 3; ++i) p.back.turn();
        EXPECT_EQ(p.back.port->gone(), n > kMaxFds) << request << " with " << n;
      }
    }
  }
  EXPECT_EQ(Footprint().fds, before.fds);
  EXPECT_EQ(Footprint().mappings, before.mappings);
  EXPECT_EQ(Footprint().threads, before.threads);
}

TEST(VhostUserDeviceTest, T_VU_2_RepetitionKeepsNothing) {
  Pair p;
  p.front.start();
  p.back.run();
  const Footprint before;
  for (std::size_t i = 0; i < rounds(2000); ++i) {
    const auto queue = static_cast<std::uint32_t>(i % 2);
    p.front.set_size(queue, 256);
    p.front.set_fd(Request::set_vring_call, queue, p.guest.queues[queue]->call);
    p.front.set_fd(Request::set_vring_err, queue, p.guest.queues[queue]->err);
    p.front.set_fd(Request::set_vring_kick, queue, p.guest.queues[queue]->kick);
    p.front.set_memory();
    p.front.get_base(queue);
    p.front.start_ring(queue, p.guest.queues[queue]->driver.used_idx());
  }
  EXPECT_EQ(Footprint().fds, before.fds);
  EXPECT_EQ(Footprint().mappings, before.mappings);
}

TEST(VhostUserDeviceTest, T_VU_7_DescriptorsThatCouldBlock) {
  Pair p;
  p.front.start();
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const Fd reader(ends[0]), writer(ends[1]),
      memory = make_memfd(4096), null(open("/dev/null", O_RDWR | O_CLOEXEC)),
      epoll(epoll_create1(EPOLL_CLOEXEC)), timer(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  const auto [left, right] = make_socketpair();
  for (const Request which :
       {Request::set_vring_kick, Request::set_vring_call, Request::set_vring_err}) {
    for (const Fd* fd : {&reader, &writer, &memory, &null, &epoll, &timer, &left})
      EXPECT_FALSE(p.front.set_fd(which, 0, *fd)) << "no eventfd";
  }
  // An eventfd that blocks and is full: whoever writes to it as it is waits for ever.
  const Fd full(eventfd(0, EFD_CLOEXEC));
  const std::uint64_t most = ~std::uint64_t{0} - 1;
  ASSERT_EQ(write(full.get(), &most, sizeof most), 8);
  for (const Request which :
       {Request::set_vring_call, Request::set_vring_err, Request::set_vring_kick})
    for (std::uint32_t i = 0; i < 2; ++i) ASSERT_TRUE(p.front.set_fd(which, i, full));
  p.guest.in().refill();
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(p.back.deliver(pattern(60, 1)));
    EXPECT_TRUE(p.guest.in().take());
  }
  p.guest.out().driver.offer(0xffff);
  p.guest.out().driver.publish();
  p.back.run();
  EXPECT_EQ(p.back.counter("ring.broken.head-range"), 1u);
}

TEST(VhostUserDeviceTest, T_VU_7_BlockingAgainAndFullWhileServed) {
  if (!EventSignal().never_blocks()) GTEST_SKIP() << "no asynchronous I/O here";
  Pair p;
  p.front.start();
  // The front end shares the open file: what it takes off is off for both.
  const std::uint64_t most = ~std::uint64_t{0} - 1;
  for (const auto& q : p.guest.queues) {
    for (const Fd* fd : {&q->call, &q->err}) {
      ASSERT_EQ(fcntl(fd->get(), F_SETFL, 0), 0);
      ASSERT_EQ(write(fd->get(), &most, sizeof most), 8);
    }
  }
  p.guest.in().refill();
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(p.back.deliver(pattern(60, 1)));
    EXPECT_TRUE(p.guest.in().take());
    p.guest.out().offer(pattern(60, 2));
    p.guest.out().publish();
    p.back.turn();
    EXPECT_EQ(p.guest.out().reap_all(), 1u);
  }
  p.guest.out().driver.offer(0xffff);
  p.guest.out().driver.publish();
  p.back.run();
  EXPECT_EQ(p.back.counter("ring.broken.head-range"), 1u);
}

// Any message in any state (T-VU-6).

TEST(VhostUserDeviceTest, T_VU_6_RandomMessagesInAnyOrder) {
  const auto kept = EventSignal::shared();  // its end takes a while
  Guest::Options small;
  small.pairs = 2;
  small.queue_size = 16;
  small.arena = std::size_t{1} << 16;
  {
    Pair warm(small);
    warm.front.start();
  }
  const Footprint before;
  Pair honest;
  honest.front.start();
  const Fd event = make_eventfd(), file = make_memfd(1 << 16), shorter = make_memfd(100);
  std::size_t connections = 0, refused = 0;
  for (std::uint32_t seed = 1; seed <= 10; ++seed) {
    std::mt19937_64 random(seed);
    std::unique_ptr<Pair> p;
    for (std::size_t n = 0; n < rounds(10'000); ++n) {
      if (!p || !p->front.wire || p->back.port->gone()) {
        p = std::make_unique<Pair>(small);
        ++connections;
        if (random() % 2) p->front.start();
      }
      const auto below = [&](std::uint64_t most) { return random() % most; };
      // Mostly messages that make sense, one word of them random.
      static constexpr std::uint64_t kWords[] = {
          0, 1, 2, 3, 4, 8, 16, 255, 256, 0x10000, 1ull << 32, 1ull << 63, ~0ull, ~0ull - 4095};
      std::array<std::uint64_t, 64> words{};
      const auto request = static_cast<std::uint32_t>(below(50) == 0 ? random() : below(46));
      std::uint32_t size = 8;
      switch (static_cast<Request>(request)) {
        case Request::set_mem_table:
          words[0] = below(3);
          for (std::size_t i = 0; i < 2; ++i)
            std::memcpy(&words[1 + 4 * i], &p->guest.region, sizeof(MemoryRegion));
          size = static_cast<std::uint32_t>(8 + 32 * below(3));
          break;
        case Request::add_mem_reg:
        case Request::rem_mem_reg:
          std::memcpy(&words[1], &p->guest.region, sizeof(MemoryRegion));
          size = sizeof(SingleRegion);
          break;
        case Request::set_vring_addr: {
          const VringAddr a = p->front.addresses(static_cast<std::uint32_t>(below(4)));
          std::memcpy(words.data(), &a, sizeof a);
          size = sizeof a;
          break;
        }
        case Request::set_features:
          words[0] = random() & kFeatures;
          break;
        case Request::set_protocol_features:
          words[0] = random() & kProtocolFeatures;
          break;
        case Request::set_log_base:
          words = {below(1 << 16), below(1 << 16)};
          size = 16;
          break;
        case Request::set_vring_num:
          words[0] = below(4) | (std::uint64_t{1} << 32 << below(6));
          break;
        default:
          words[0] = below(4) | below(3) << 32;
      }
      if (below(4) == 0) words[below(6)] = kWords[below(std::size(kWords))];
      if (below(20) == 0) size = static_cast<std::uint32_t>(below(kMaxPayload + 1));
      std::vector<int> fds;
      const auto eventful = request >= 12 && request <= 14;
      for (std::uint64_t i = below(8) == 0 ? below(10) : (words[0] & kVringNoFd ? 0 : 1); i > 0;
           --i) {
        const int kinds[] = {event.get(), p->guest.file.get(), file.get(), shorter.get()};
        fds.push_back(below(6) == 0 ? kinds[below(4)] : kinds[eventful ? 0 : 1]);
      }
      const std::uint32_t flags = below(500) == 0 ? static_cast<std::uint32_t>(random())
                                                  : kVersion | (below(2) ? kNeedReply : 0);
      const Bytes bytes = Wire::encode({request, flags, size}, words.data(), std::min(size, 512u));
      // Now and then cut, so that the next one lies askew.
      p->front.wire.send_bytes(
          std::span(bytes).first(below(400) == 0 ? below(bytes.size()) : bytes.size()), fds);
      if (below(3) == 0) {
        p->guest.out(below(2)).driver.set_avail_idx(static_cast<std::uint16_t>(below(20)));
        p->back.deliver(pattern(60, 1));
      }
      p->back.turn();
      p->back.take();
      if (below(8) == 0) p->back.port->arm({});
      std::uint8_t answers[4096];
      while (recv(p->front.wire.fd(), answers, sizeof answers, MSG_DONTWAIT) > 0) {
      }
      if (n % 500 == 499) {
        refused += p->back.counter("vhost-user.refused-messages");
        p->front.vanish();
        honest.guest.in().refill();
        ASSERT_TRUE(honest.back.deliver(pattern(60, 1)));
        ASSERT_TRUE(honest.guest.in().take());
      }
    }
  }
  EXPECT_GT(refused, 100u);
  honest.front.vanish();
  const Footprint after;
  EXPECT_EQ(after.threads, before.threads);
  // Those of this test itself: the honest pair's guest and three files.
  EXPECT_LE(after.fds, before.fds + 3 + 10);
  EXPECT_LE(after.mappings, before.mappings + 1);
  RecordProperty("connections", static_cast<int>(connections));
}

}  // namespace
}  // namespace rp::backend::vhost_user
