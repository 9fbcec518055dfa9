// SPDX-License-Identifier: BSD-3-Clause
// inflight_test.cc - front ends that keep what their back end had in hand, and what they get wrong.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <csignal>
#include <deque>
#include <random>

#include "tests/backend/scale.h"
#include "tests/backend/sigbus_handled.h"
#include "tests/backend/tracked_ring_book.h"
#include "tests/backend/vhost_user/front_end.h"

namespace rp::backend::vhost_user {
namespace {

/// Inflight memory as a front end has it.
struct Inflight {
  InflightDescription where{};
  Fd fd;
};

/// What GET_INFLIGHT_FD gets; no descriptor: nothing.
Inflight get_inflight(FrontEnd& front, std::uint16_t queues, std::uint16_t size,
                      std::uint32_t bytes = sizeof(InflightDescription)) {
  const InflightDescription wanted{0, 0, queues, size, 0};
  Inflight got;
  FrontEnd::must(front.wire.send(Request::get_inflight_fd, &wanted, bytes), "get_inflight_fd");
  const auto answer = FrontEnd::must(front.wire.read_fd(got.fd), "get_inflight_fd's answer");
  EXPECT_EQ(answer.header.size, bytes);
  std::memcpy(&got.where, answer.payload.data(), std::min<std::size_t>(answer.payload.size(), 24));
  EXPECT_EQ(got.where.mmap_size != 0, static_cast<bool>(got.fd));
  return got;
}
bool set_inflight(FrontEnd& front, const InflightDescription& d, std::span<const int> fds) {
  return front.tell(Request::set_inflight_fd, d, fds);
}
bool set_inflight(FrontEnd& front, const Inflight& i) {
  const int fds[] = {i.fd.get()};
  return set_inflight(front, i.where, fds);
}

TEST(VhostUserInflightTest, MemoryForTheAskingAndBack) {
  Pair p;
  p.front.negotiate();
  EXPECT_TRUE(has(p.front.protocol_features, kInflightShmfd));
  const Inflight got = get_inflight(p.front, 2, 256);
  ASSERT_TRUE(got.fd);
  EXPECT_EQ(got.where.num_queues, 2);
  EXPECT_EQ(got.where.queue_size, 256);
  EXPECT_GE(got.where.mmap_size, 2 * inflight_bytes(true, 256)) << "whichever layout is agreed";
  EXPECT_NE(ftruncate(got.fd.get(), 0), 0) << "nobody can cut it short";
  EXPECT_TRUE(set_inflight(p.front, got));
  const Inflight again = get_inflight(p.front, 2, 256, kInflightBytes);
  EXPECT_TRUE(again.fd) << "without the padding of C's struct";
  ASSERT_TRUE(p.front.set_memory());
  p.front.start_rings();
  const Mapping seen(got.fd.get(), got.where.mmap_size);
  const auto* region = reinterpret_cast<const InflightSplit*>(seen.data());
  EXPECT_EQ(region->version, kInflightVersion);
  EXPECT_EQ(region->desc_num, 256);
  p.guest.in().refill();
  EXPECT_TRUE(p.back.deliver(test::ethernet(1, 2, 100)));
  EXPECT_TRUE(p.guest.in().take());
  EXPECT_EQ(region->used_idx, 1);
  EXPECT_FALSE(set_inflight(p.front, again)) << "not under rings that were started";
  ASSERT_TRUE(p.front.get_base(0));
  EXPECT_EQ(region->version, 0) << "nothing in hand, so that the next driver may begin anew";
}

TEST(VhostUserInflightTest, ADeviceThatIsResetHasNothingInHand) {
  Pair p;
  p.front.negotiate();
  const Inflight got = get_inflight(p.front, 2, 256);
  ASSERT_TRUE(got.fd);
  const Mapping seen(got.fd.get(), got.where.mmap_size);
  auto* region = reinterpret_cast<InflightSplit*>(seen.data());
  region->version = 1;
  region->desc_num = 256;
  region->desc()[3].inflight = 1;
  ASSERT_TRUE(set_inflight(p.front, got));
  ASSERT_TRUE(p.front.tell(Request::reset_device, nullptr, 0));
  EXPECT_EQ(region->version, 0);
}

TEST(VhostUserInflightTest, T_INF_1_T_VU_3_SizesAndDescriptors) {
  Pair p;
  p.front.negotiate();
  constexpr std::pair<std::uint16_t, std::uint16_t> kNone[] = {
      {0, 256}, {2, 0}, {2, 1025}, {2, 0xffff}, {65, 256}, {0xffff, 0xffff}};
  for (const auto& [queues, size] : kNone)
    EXPECT_FALSE(get_inflight(p.front, queues, size).fd) << queues << " of " << size;
  EXPECT_GT(p.back.counter("vhost-user.refused-messages"), 0u);
  EXPECT_FALSE(get_inflight(p.front, 2, 256, 24).fd.get() < 0);

  const Fd file = make_memfd(0x10000);
  const int fds[] = {file.get(), file.get()};
  const auto refused = [&](std::uint64_t size, std::uint64_t offset, std::uint16_t queues,
                           std::uint16_t entries, int fd) {
    const int one[] = {fd};
    return !set_inflight(p.front, {size, offset, queues, entries, 0}, one);
  };
  const int fd = file.get();
  EXPECT_FALSE(refused(0x8000, 0x8000, 2, 256, fd));
  EXPECT_FALSE(refused(0x8000, 8, 2, 256, fd));
  EXPECT_TRUE(refused(0x8000, 9, 2, 256, fd)) << "misaligned";
  EXPECT_TRUE(refused(0x8001, 0x8000, 2, 256, fd)) << "past the file";
  EXPECT_TRUE(refused(~0ull, 0x8000, 2, 256, fd));
  EXPECT_TRUE(refused(0x8000, ~0ull & ~7ull, 2, 256, fd));
  EXPECT_TRUE(refused(0, 0, 2, 256, fd));
  EXPECT_TRUE(refused(0x2000, 0, 2, 256, fd)) << "too short for its queues";
  EXPECT_TRUE(refused(0x10000, 0, 0, 256, fd));
  EXPECT_TRUE(refused(0x10000, 0, 2, 0, fd));
  EXPECT_TRUE(refused(0x10000, 0, 2, 1025, fd));
  EXPECT_TRUE(refused(0x10000, 0, 0xffff, 1, fd));
  const Fd null(open("/dev/null", O_RDWR | O_CLOEXEC)), folder(open("/", O_RDONLY | O_CLOEXEC));
  EXPECT_TRUE(refused(0x8000, 0, 2, 256, null.get()));
  EXPECT_TRUE(refused(0x8000, 0, 2, 256, folder.get()));
  EXPECT_TRUE(refused(0x8000, 0, 2, 256, make_eventfd().get()));
  EXPECT_FALSE(set_inflight(p.front, {0x8000, 0, 2, 256, 0}, {}));
  EXPECT_FALSE(set_inflight(p.front, {0x8000, 0, 2, 256, 0}, fds)) << "two descriptors";
  EXPECT_FALSE(p.front.tell(Request::set_inflight_fd, std::uint64_t{1}, {fd})) << "eight bytes";

  // What was set last is in use, for 256 entries: a ring of 512 does not start on it.
  ASSERT_TRUE(p.front.set_memory());
  p.guest.load(0, 512);
  ASSERT_TRUE(p.front.set_size(0, 512));
  ASSERT_TRUE(p.front.set_addresses(0));
  EXPECT_FALSE(p.front.set_fd(Request::set_vring_kick, 0, p.guest.in().kick));
  EXPECT_FALSE(p.back.port->link_up());
  // The other one does.
  EXPECT_NO_THROW(p.front.start_ring(1, 0));

  Pair without;
  without.front.negotiate(FrontEnd::kWanted, FrontEnd::kWantedProtocol & ~bit(kInflightShmfd));
  EXPECT_FALSE(get_inflight(without.front, 2, 256).fd) << "answered, as an emulator waits";
  EXPECT_FALSE(set_inflight(without.front, {0x8000, 0, 2, 256, 0}, std::span(fds).first(1)));
}

TEST(VhostUserInflightTest, T_VU_2_AskedForAgainAndAgain) {
  Pair p;
  p.front.negotiate();
  const Inflight first = get_inflight(p.front, 2, 256);
  ASSERT_TRUE(set_inflight(p.front, first));
  const Footprint before;
  for (std::size_t i = 0; i < rounds(5'000); ++i) {
    const Inflight more = get_inflight(p.front, 2, 256);
    ASSERT_TRUE(more.fd);
    if (i % 16 == 0) {
      ASSERT_TRUE(set_inflight(p.front, more));
    }
  }
  const Footprint after;
  EXPECT_EQ(after.fds, before.fds);
  EXPECT_EQ(after.mappings, before.mappings);
}

TEST(VhostUserInflightTest, T_INF_1_CutShortWhileLive) {
  const SigbusHandled handled;
  Pair p;
  p.front.negotiate();
  const Inflight own{{2 * inflight_bytes(false, 256), 0, 2, 256, 0}, make_memfd(0x10000)};
  ASSERT_TRUE(set_inflight(p.front, own));
  ASSERT_TRUE(p.front.set_memory());
  p.front.start_rings();
  p.guest.in().refill();
  EXPECT_TRUE(p.back.deliver(test::ethernet(1, 2, 100)));
  ASSERT_TRUE(p.guest.in().take());
  ASSERT_EQ(ftruncate(own.fd.get(), 0), 0);
  p.back.deliver(test::ethernet(1, 2, 100));
  p.back.turn();
  EXPECT_TRUE(p.back.port->gone()) << "and its connection ends";
}

TEST(VhostUserInflightTest, MoreQueuesThanItWasMadeFor) {
  Guest::Options o;
  o.pairs = 2;
  Pair p(o);
  p.front.negotiate();
  ASSERT_TRUE(set_inflight(p.front, get_inflight(p.front, 2, 256)));
  ASSERT_TRUE(p.front.set_memory());
  p.front.start_rings();
  p.guest.in(1).refill();
  p.guest.in(0).refill();
  for (int i = 0; i < 8; ++i)
    EXPECT_TRUE(p.back.deliver(test::ethernet(1, static_cast<std::uint64_t>(i), 100)));
}

/// A guest whose back end is a process of its own, which is killed now and then.
template <typename Side>
class VhostUserKilledTest : public ::testing::Test {
 protected:
  using Driver = typename Side::Driver;
  static constexpr std::uint16_t kQueue = 64;

  VhostUserKilledTest() {
    for (std::uint32_t i = 0; i < 2; ++i) {
      rings[i].at = guest.options.address + i * Guest::kRing;
      rings[i].driver = std::make_unique<Driver>(guest.memory, Side::where(kQueue, rings[i].at));
    }
  }
  ~VhostUserKilledTest() override { kill_back_end(); }

  struct Ring {
    std::uint64_t at = 0;
    std::unique_ptr<Driver> driver;
    std::deque<std::uint16_t> open;  ///< offered, not reaped
    Fd kick = make_eventfd(), call = make_eventfd();
    std::uint64_t reaped = 0;
  };

  /// Sends back what comes, until it is killed.
  [[noreturn]] static void serve(Fd socket) {
    try {
      Port port(std::move(socket), 1);
      for (;;) {
        port.disarm();
        for (const Bytes& b : receive(port)) send(port, b);
        port.flush({});
        if (!port.arm({})) continue;
        pollfd p{port.poll_fd(), POLLIN, 0};
        poll(&p, 1, -1);
      }
    } catch (...) {
    }
    _exit(1);
  }
  void new_back_end() {
    auto [ours, theirs] = make_socketpair();
    pid = fork();
    if (pid == 0) {
      ours.reset();
      fcntl(theirs.get(), F_SETFL, O_NONBLOCK);
      serve(std::move(theirs));
    }
    theirs.reset();
    front.emplace(Wire(std::move(ours)), guest);
    front->negotiate(FrontEnd::kWanted | (Side::kPacked ? bit(VIRTIO_F_RING_PACKED) : 0));
    if (!inflight.fd) inflight = get_inflight(*front, 2, kQueue);
    ASSERT_TRUE(inflight.fd);
    ASSERT_TRUE(set_inflight(*front, inflight));
    ASSERT_TRUE(front->set_memory());
    for (std::uint32_t i = 0; i < 2; ++i) {
      ASSERT_TRUE(front->enable(i));
      ASSERT_TRUE(front->set_size(i, kQueue));
      // As an emulator knows it: where a split ring is; where a packed one began.
      std::uint32_t base = 0x80008000;
      if constexpr (!Side::kPacked) base = rings[i].driver->used_idx();
      ASSERT_TRUE(front->set_base(i, base));
      const RingAddress& w = rings[i].driver->where();
      ASSERT_TRUE(front->tell(
          Request::set_vring_addr,
          VringAddr{i, 0, guest.user(w.desc), guest.user(w.used), guest.user(w.avail), 0}));
      ASSERT_TRUE(front->set_fd(Request::set_vring_call, i, rings[i].call));
      ASSERT_TRUE(front->set_fd(Request::set_vring_kick, i, rings[i].kick));
    }
  }
  void kill_back_end() {
    if (pid <= 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    pid = -1;
    front.reset();
  }
  void offer(std::uint32_t i, std::size_t n) {
    Ring& r = rings[i];
    for (; n > 0 && r.driver->free_descriptors() > 4; --n) {
      const std::uint64_t buffer =
          guest.options.address + Guest::kArenas + i * guest.options.arena + next * 4096;
      next = (next + 1) % 200;
      const bool writable = i == 0;
      std::vector<Piece> pieces{{buffer, 12, writable}, {buffer + 100, 100, writable}};
      if (random() % 2) pieces = {{buffer, 2000, writable}};
      r.open.push_back(r.driver->chain(pieces));
    }
    r.driver->publish();
    signal_eventfd(r.kick);
  }
  /// An in-order device gives back what was offered longest ago, once.
  void reap() {
    for (Ring& r : rings) {
      typename Driver::Used used{};
      while (r.driver->reap(used)) {
        ASSERT_FALSE(r.open.empty()) << "completed twice: " << used.id;
        ASSERT_EQ(used.id, r.open.front()) << "lost, or completed twice";
        r.open.pop_front();
        ++r.reaped;
      }
    }
  }

  std::mt19937_64 random{20241101};
  Guest guest;
  std::array<Ring, 2> rings;
  std::uint64_t next = 0;
  Inflight inflight;
  pid_t pid = -1;
  std::optional<FrontEnd> front;
};

using Sides = ::testing::Types<SplitSide, PackedSide>;
TYPED_TEST_SUITE(VhostUserKilledTest, Sides);

TYPED_TEST(VhostUserKilledTest, ReplayedWithoutLossUnderLoad) {
  for (std::size_t kills = 0; kills < rounds(100); ++kills) {
    SCOPED_TRACE(kills);
    this->new_back_end();
    ASSERT_FALSE(this->HasFatalFailure());
    const std::uint64_t before = this->rings[1].reaped;
    const auto until = std::chrono::steady_clock::now() + kPatience;
    for (auto turns = this->random() % 200; turns > 0 || this->rings[1].reaped == before;
         turns -= turns > 0) {
      this->offer(0, this->random() % 20);
      this->offer(1, this->random() % 20);
      this->reap();
      ASSERT_FALSE(this->HasFatalFailure());
      ASSERT_LT(std::chrono::steady_clock::now(), until) << "nothing comes back";
    }
    this->kill_back_end();
  }
  this->new_back_end();
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!this->rings[1].open.empty() && std::chrono::steady_clock::now() < until) {
    signal_eventfd(this->rings[1].kick);
    this->reap();
    ASSERT_FALSE(this->HasFatalFailure());
  }
  EXPECT_TRUE(this->rings[1].open.empty()) << "all that was sent came back";
  EXPECT_GT(this->rings[0].reaped, 0u);
  // Nothing is left in the region: a driver may start anew on it.
  for (std::uint32_t i = 0; i < 2; ++i) EXPECT_TRUE(this->front->get_base(i));
}

}  // namespace
}  // namespace rp::backend::vhost_user
