// SPDX-License-Identifier: BSD-3-Clause
// loop_test.cc - vhost-user ports on a loop's thread: traffic, memory that goes, idleness, numbers.
#include "backend/loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <random>
#include <thread>

#include "tests/backend/scale.h"
#include "tests/backend/vhost_user/front_end.h"
#include "tests/base/temp_folder.h"

namespace rp::backend::vhost_user {
namespace {

using test::ethernet;

constexpr std::uint64_t kAll = 0xffffffffffff;
constexpr std::uint64_t mac(std::uint64_t n) {
  return 0x020000000000 + n;
}

/// A guest and its emulator, whose port is on a loop.
class LoopGuest {
 public:
  explicit LoopGuest(Loop& loop, const Guest::Options& o = {}) : guest(o) {
    auto [ours, theirs] = make_socketpair();
    id = loop.add(std::make_unique<Port>(std::move(ours), o.pairs), "guest");
    front.emplace(Wire(std::move(theirs)), guest);
  }
  void start() {
    front->start();
    guest.in().refill();
  }
  void send(const Bytes& frame) {
    guest.out().reap_all();
    if (guest.out().driver.free_descriptors() == 0) return;  // as a guest whose queue is full
    guest.out().offer(frame);
    guest.out().publish();
  }
  /// The next frame to this address; empty when none comes for far too long.
  Bytes take(std::uint64_t to) {
    for (;;) {
      if (auto got = guest.in().take()) {
        guest.in().refill();
        const Bytes head = ethernet(to, 0, 6);
        if (same(head, std::span(got->bytes).first(6))) return std::move(got->bytes);
        continue;
      }
      pollfd p{guest.in().call.get(), POLLIN, 0};
      if (poll(&p, 1, 20'000) != 1) return {};
      take_signals(guest.in().call);
    }
  }

  Guest guest;
  sw::PortId id = sw::kNoPort;
  std::optional<FrontEnd> front;
};

Guest::Options small() {
  Guest::Options o;
  o.queue_size = 64;
  o.arena = std::size_t{1} << 17;
  return o;
}

TEST(VhostUserLoopTest, TwoGuestsExchangeFrames) {
  Loop loop(Loop::Options{});
  LoopGuest a(loop), b(loop);
  a.start();
  b.start();
  std::uint32_t lost = 0;
  for (std::uint64_t n = 0; n < rounds(1000); ++n) {
    const Bytes ping = ethernet(mac(2), mac(1), 60 + n), pong = ethernet(mac(1), mac(2), 1500);
    a.send(ping);
    lost += b.take(mac(2)) != ping;
    b.send(pong);
    lost += a.take(mac(1)) != pong;
  }
  EXPECT_EQ(lost, 0u) << "each wakes the other";
}

TEST(VhostUserLoopTest, APortOfOneConnectionGoesWithIt) {
  Loop loop(Loop::Options{});
  for (int i = 0; i < 10; ++i) {
    LoopGuest a(loop, small());
    a.start();
    a.front->wire.close();
    bool there = true;
    for (int n = 0; n < 2000 && there; ++n) {
      loop.call([&](sw::Switch& s) { there = s.port(a.id) != nullptr; });
      if (there) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_FALSE(there);
  }
}

/// How often the threads that run switches have slept and been woken, all together.
std::uint64_t wakeups() {
  std::uint64_t sum = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(task.path() / "status");
    bool ours = false;
    for (std::string line; std::getline(status, line);) {
      if (line == "Name:\trp-switch") ours = true;
      if (ours && line.find("ctxt_switches:") != line.npos)
        sum += std::stoull(line.substr(line.find(':') + 1));
    }
  }
  return sum;
}

TEST(VhostUserLoopTest, IdleGuestsCostNothing) {
  Loop loop(Loop::Options{});
  std::vector<std::unique_ptr<LoopGuest>> guests;
  for (std::uint64_t i = 0; i < 8; ++i) {
    guests.push_back(std::make_unique<LoopGuest>(loop, small()));
    guests.back()->start();
  }
  guests[0]->send(ethernet(kAll, mac(1), 100));
  for (std::size_t i = 1; i < guests.size(); ++i) EXPECT_EQ(guests[i]->take(kAll).size(), 100u);
  std::uint64_t before = wakeups();
  ASSERT_GT(before, 0u);
  for (int i = 0; i < 50; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (const std::uint64_t now = wakeups(); std::exchange(before, now) == now) break;
  }
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_EQ(wakeups(), before);
}

TEST(VhostUserLoopTest, ManyPortsOnOneSwitch) {
  const Footprint before;
  {
    Loop loop(Loop::Options{});
    test::TempFolder folder;
    constexpr std::size_t kPorts = kSanitized ? 32 : 256;
    Guest::Options o = small();
    o.queue_size = 16;
    o.arena = 1 << 15;
    std::vector<std::unique_ptr<Guest>> guests;
    std::vector<std::unique_ptr<FrontEnd>> fronts;
    for (std::size_t i = 0; i < kPorts; ++i) {
      PortOptions options;
      options.path = folder / (std::to_string(i) + ".sock");
      loop.add(std::make_unique<Port>(options), std::to_string(i));
    }
    for (std::size_t i = 0; i < kPorts; ++i) {
      guests.push_back(std::make_unique<Guest>(o));
      fronts.push_back(std::make_unique<FrontEnd>(
          Wire::dial(folder / (std::to_string(i) + ".sock")), *guests.back()));
      fronts.back()->start();
      guests.back()->in().refill();
    }
    guests[0]->out().offer(ethernet(kAll, mac(0), 77));
    guests[0]->out().publish();
    for (std::size_t i = 1; i < kPorts; ++i) {
      pollfd p{guests[i]->in().call.get(), POLLIN, 0};
      ASSERT_EQ(poll(&p, 1, 20'000), 1) << i;
      EXPECT_EQ(guests[i]->in().take()->bytes.size(), 77u);
    }
  }
  EXPECT_EQ(Footprint().fds, before.fds);
  EXPECT_EQ(Footprint().mappings, before.mappings);
}

/// Two honest guests that talk all the time, and how often they were heard.
class Talk {
 public:
  explicit Talk(Loop& loop) : a_(loop, small()), b_(loop, small()) {
    a_.start();
    b_.start();
    thread_ = std::thread([this] {
      while (!stop_) {
        a_.send(ethernet(mac(2), mac(1), 200));
        if (b_.take(mac(2)).size() != 200) break;
        b_.send(ethernet(mac(1), mac(2), 300));
        if (a_.take(mac(1)).size() != 300) break;
        ++heard_;
      }
      lost_ = !stop_;
    });
  }
  ~Talk() { end(); }
  /// True when nothing was lost.
  bool end() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
    return !lost_;
  }
  std::uint64_t heard() const { return heard_; }

 private:
  LoopGuest a_, b_;
  std::atomic<bool> stop_{false}, lost_{false};
  std::atomic<std::uint64_t> heard_{0};
  std::thread thread_;
};

TEST(VhostUserLoopTest, T_VU_4_MemoryComesAndGoesUnderTraffic) {
  Loop loop(Loop::Options{});
  Talk talk(loop);
  const Footprint before;
  {
    LoopGuest flood(loop, small()), sink(loop, small());
    flood.start();
    sink.start();
    sink.send(ethernet(mac(3), mac(5), 60));
    flood.send(ethernet(mac(5), mac(3), 60));
    std::atomic<bool> stop{false}, back{true};
    // Its rings are always full, both ways.
    std::thread traffic([&] {
      std::uint32_t seed = 0;
      while (!stop) {
        GuestQueue& out = flood.guest.out();
        out.reap_all();
        while (out.driver.free_descriptors() > 0)
          out.offer(ethernet(mac(5), mac(3), 60 + ++seed % 500));
        out.publish();
        if (back) sink.send(ethernet(mac(3), mac(5), 60 + seed % 500));
        while (sink.guest.in().take()) {
        }
        sink.guest.in().refill();
        while (flood.guest.in().take()) {
        }
        flood.guest.in().refill();
        std::this_thread::yield();
      }
    });
    const MemoryRegion extra{0, 1 << 16, 0, 0};
    const Fd file = make_memfd(extra.size);
    std::mt19937 random(4);
    for (std::size_t i = 0; i < 10'000; ++i) {
      bool done = true;
      switch (random() % 5) {
        case 0:
          done = flood.front->set_memory();
          break;
        case 1:
          done = flood.front->add_memory(extra, file.get());
          done = done && flood.front->remove_memory(extra);
          break;
        case 2:
          done = flood.front->remove_memory(flood.guest.region);
          done = done && flood.front->add_memory(flood.guest.region, flood.guest.file.get());
          break;
        case 3: {
          const std::uint32_t q = random() % 2;
          const auto base = flood.front->get_base(q);
          done = base && flood.front->enable(q);
          if (done) flood.front->start_ring(q, *base);
          break;
        }
        default:
          done = flood.front->enable(1, false) && flood.front->enable(1);
      }
      ASSERT_TRUE(done) << i;
    }
    std::uint64_t faults = 0;
    loop.call([&](sw::Switch& s) {
      s.port(flood.id)->report([&](std::string_view name, std::uint64_t v) {
        if (name.starts_with("ring.broken")) faults += v;
      });
    });
    EXPECT_EQ(faults, 0u);
    // It disconnects in full flight.
    back = false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    flood.front->wire.close();
    for (int i = 0; i < 1000; ++i) std::this_thread::yield();
    stop = true;
    traffic.join();
  }
  EXPECT_GT(talk.heard(), 10u);
  EXPECT_TRUE(talk.end());
  for (int i = 0; i < 2000 && Footprint().fds != before.fds; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(Footprint().fds, before.fds);
  EXPECT_EQ(Footprint().mappings, before.mappings);
}

TEST(VhostUserLoopTest, T_VU_6_OthersAreServedMeanwhile) {
  Loop loop(Loop::Options{});
  Talk talk(loop);
  const auto rate = [&] {
    const std::uint64_t before = talk.heard();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    return talk.heard() - before;
  };
  const std::uint64_t alone = rate();
  // Half a message; and one that never stops talking, with the most costly message there is.
  LoopGuest silent(loop, small()), busy(loop, small());
  silent.front->wire.send_bytes(Bytes{1, 0, 0, 0, 1});
  std::atomic<bool> stop{false};
  std::thread chatter([&] {
    std::vector<MemoryRegion> regions;
    for (std::uint64_t i = 0; i < 8; ++i) regions.push_back({i << 12, 4096, i << 12, i << 12});
    MemoryTable table{8, 0, {}};
    std::copy(regions.begin(), regions.end(), table.regions);
    const std::vector<int> fds(8, busy.guest.file.get());
    while (!stop && busy.front->wire.send(Request::set_mem_table, &table, sizeof table, fds)) {
    }
  });
  const std::uint64_t beside = rate();
  stop = true;
  shutdown(busy.front->wire.fd(), SHUT_RDWR);
  chatter.join();
  RecordProperty("alone", std::to_string(alone));
  RecordProperty("beside", std::to_string(beside));
  EXPECT_GT(beside, 10u);
  EXPECT_TRUE(talk.end());
}

TEST(VhostUserLoopTest, EmulatorsThatDieInFullFlightLeaveNothing) {
  Loop loop(Loop::Options{});
  test::TempFolder folder;
  PortOptions options;
  options.path = folder / "vm.sock";
  const sw::PortId id = loop.add(std::make_unique<Port>(options), "door");
  LoopGuest other(loop, small());
  other.start();
  Guest guest(small());
  const Footprint before;
  for (std::size_t i = 0; i < rounds(300); ++i) {
    FrontEnd front(Wire::dial(options.path), guest);
    ASSERT_NO_THROW(front.start()) << "its turn has not come, though the last one is gone";
    for (auto& q : guest.queues) q->reset();
    guest.in().refill();
    for (int n = 0; n < 20; ++n) guest.out().offer(ethernet(kAll, mac(4), 100));
    guest.out().publish();
    if (i % 2) std::this_thread::yield();
    front.wire.close();
    for (auto& q : guest.queues) q->reset();
  }
  for (int i = 0; i < 2000 && Footprint().fds != before.fds; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_EQ(Footprint().fds, before.fds);
  EXPECT_EQ(Footprint().mappings, before.mappings);
  std::string words;
  loop.call([&](sw::Switch& s) { words = s.port(id)->describe(); });
  EXPECT_EQ(words, "waiting");
}

}  // namespace
}  // namespace rp::backend::vhost_user
