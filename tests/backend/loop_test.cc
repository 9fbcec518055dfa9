// SPDX-License-Identifier: BSD-3-Clause
// loop_test.cc - one switch on a thread of its own or on the host's loop, and what it leaves
// behind.
#include "backend/loop.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "backend/null_port.h"
#include "backend/plug.h"
#include "backend/ring_port.h"
#include "base/error.h"
#include "tests/backend/frames.h"
#include "tests/backend/scale.h"

namespace rp::backend {
namespace {

using test::ethernet;

constexpr sw::Offloads kEverything{true, true, true, true, true};
constexpr std::uint64_t kA = 0x020000000001, kB = 0x020000000002, kAll = 0xffffffffffff;

struct LoopPlug {
  explicit LoopPlug(Loop& loop, PlugMemory m = PlugMemory::create())
      : id(loop.add(std::make_unique<RingPort>(m.duplicate(), kEverything), "plug")),
        plug(std::move(m)) {}
  /// The next frame, or nothing when none comes for far too long.
  Bytes take(const std::function<bool(int fd)>& wait) {
    Plug::Received r[1];
    if (!wait(plug.fd()) || plug.peek(r) != 1) return {};
    Bytes b(r[0].bytes.begin(), r[0].bytes.end());
    plug.release(1);
    return b;
  }
  void send(const Bytes& frame) {
    EXPECT_TRUE(plug.send(frame, {}));
    plug.kick();
  }
  sw::PortId id;
  Plug plug;
};

/// Both ways to run a loop, behind one waiting function.
class LoopTest : public ::testing::TestWithParam<bool> {
 protected:
  LoopTest() : loop(options(GetParam())) {}
  static Loop::Options options(bool own_thread) {
    Loop::Options o;
    o.own_thread = own_thread;
    return o;
  }
  /// Waits until `fd` is readable, running the loop meanwhile when that is the host's business.
  bool wait(int fd) {
    for (;;) {
      pollfd p[2] = {{fd, POLLIN, 0}, {loop.fd(), POLLIN, 0}};
      if (poll(p, GetParam() ? 1 : 2, 20'000) < 1) return false;
      if (p[0].revents) return true;
      loop.dispatch();
    }
  }
  Bytes take(LoopPlug& p) {
    return p.take([this](int fd) { return wait(fd); });
  }

  Loop loop;
};
INSTANTIATE_TEST_SUITE_P(, LoopTest, ::testing::Bool(),
                         [](const auto& how) { return how.param ? "OwnThread" : "HostDriven"; });

TEST_P(LoopTest, TwoPlugsExchangeFrames) {
  LoopPlug a(loop), b(loop);
  a.send(ethernet(kAll, kA));
  EXPECT_TRUE(same(take(b), ethernet(kAll, kA)));
  for (std::size_t i = 0; i < rounds(5'000); ++i) {
    const std::size_t size = 60 + i * 97 % 60'000;
    b.send(ethernet(kA, kB, size));
    ASSERT_TRUE(same(take(a), ethernet(kA, kB, size))) << i;
    a.send(ethernet(kB, kA, size));
    ASSERT_TRUE(same(take(b), ethernet(kB, kA, size))) << i;
  }
}

TEST_P(LoopTest, AFloodArrivesInOrder) {
  LoopPlug a(loop), b(loop);
  const std::size_t total = rounds(100'000);
  std::size_t sent = 0, got = 0;
  Bytes frame = ethernet(kAll, kA, 100);
  Plug::Received r[sw::Burst::kFrames];
  while (got < total) {
    // No more in flight than b's buffers hold: nothing may be dropped.
    for (; sent < total && sent - got < 1000; ++sent) {
      std::memcpy(&frame[20], &sent, sizeof sent);
      if (!a.plug.send(frame, {})) break;
    }
    a.plug.kick();
    ASSERT_TRUE(wait(b.plug.fd()));
    const std::size_t n = b.plug.peek(r);
    ASSERT_GT(n, 0u);
    for (std::size_t i = 0; i < n; ++i, ++got) {
      std::size_t number;
      std::memcpy(&number, r[i].bytes.data() + 20, sizeof number);
      ASSERT_EQ(number, got);
    }
    b.plug.release(n);
  }
}

TEST_P(LoopTest, RemovesPorts) {
  LoopPlug a(loop), b(loop);
  a.send(ethernet(kAll, kA));
  EXPECT_FALSE(take(b).empty());
  EXPECT_TRUE(loop.remove(b.id));
  EXPECT_FALSE(loop.remove(b.id));
  EXPECT_FALSE(loop.remove(12345));
  a.send(ethernet(kB, kA));
  LoopPlug c(loop);
  EXPECT_NE(c.id, b.id);
  a.send(ethernet(kAll, kA, 77));
  Bytes got = take(c);
  // The frame for b may have been flooded to c.
  if (got.size() == 60) got = take(c);
  EXPECT_EQ(got.size(), 77u);
}

TEST_P(LoopTest, CallRunsOnTheSwitch) {
  LoopPlug a(loop);
  std::size_t ports = 0;
  loop.call([&](sw::Switch& s) { ports = s.port_count(); });
  EXPECT_EQ(ports, 1u);
  EXPECT_THROW(loop.call([](sw::Switch&) { throw Error(Errc::busy, "taken"); }), Error);
  EXPECT_THROW(loop.call([](sw::Switch&) { throw 7; }), int);
  loop.call([&](sw::Switch& s) { ports += s.port_count(); });
  EXPECT_EQ(ports, 2u) << "an exception stops nothing";
}

/// A port whose descriptor can't be watched.
class UnwatchablePort final : public sw::Port {
 public:
  int poll_fd() const noexcept override { return 1 << 30; }
  void receive(sw::Burst&, Instant) noexcept override {}
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const>, Instant) noexcept override { return 0; }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return true; }
};

TEST_P(LoopTest, APortThatCannotBeWatchedIsNotKept) {
  EXPECT_THROW(loop.add(std::make_unique<UnwatchablePort>(), "bad"), Error);
  std::size_t ports = 1;
  loop.call([&](sw::Switch& s) { ports = s.port_count(); });
  EXPECT_EQ(ports, 0u);
}

/// A port with two descriptors, which others hold, too.
class SidePort final : public sw::Port {
 public:
  SidePort(int frames, int side, int* turns) : frames_(frames), side_(side), turns_(turns) {}
  int poll_fd() const noexcept override { return frames_; }
  int side_fd() const noexcept override { return side_; }
  bool sleeps() const noexcept override { return true; }
  void receive(sw::Burst&, Instant) noexcept override {
    ++*turns_;
    eventfd_t count;
    for (const int fd : {frames_, side_}) eventfd_read(fd, &count);
  }
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const>, Instant) noexcept override { return 0; }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return true; }

 private:
  const int frames_, side_;
  int* const turns_;
};

/// A loop that the test runs, and descriptors for a port of it.
class SideTest : public ::testing::Test {
 protected:
  static Fd event() { return Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }
  static Loop::Options host_driven() {
    Loop::Options o;
    o.own_thread = false;
    return o;
  }
  bool has_work() const {
    pollfd p{loop.fd(), POLLIN, 0};
    return poll(&p, 1, 0) == 1;
  }
  /// How often the port had a turn when the descriptor was written to.
  int turns_by(const Fd& fd) {
    for (int i = 0; has_work() && i < 10; ++i) loop.dispatch();
    turns = 0;
    eventfd_write(fd.get(), 1);
    if (has_work()) loop.dispatch();
    return turns;
  }
  int turns = 0;
  Fd frames = event(), side = event();
  Loop loop{host_driven()};
};

TEST_F(SideTest, EitherDescriptorGivesThePortATurn) {
  const sw::PortId id =
      loop.add(std::make_unique<SidePort>(frames.get(), side.get(), &turns), "both");
  EXPECT_EQ(turns_by(frames), 1);
  EXPECT_EQ(turns_by(side), 1);
  ASSERT_TRUE(loop.remove(id));
  EXPECT_EQ(turns_by(frames), 0);
  EXPECT_FALSE(has_work());
  EXPECT_EQ(turns_by(side), 0);
  EXPECT_FALSE(has_work());
}

TEST_F(SideTest, OneThatCannotBeWatchedTakesTheOtherWithIt) {
  EXPECT_THROW(loop.add(std::make_unique<SidePort>(frames.get(), 1 << 30, &turns), "bad"), Error);
  EXPECT_EQ(turns_by(frames), 0);
  EXPECT_FALSE(has_work());
}

/// A port that is always polled, and never looks at its descriptor.
class PolledPort final : public sw::Port {
 public:
  PolledPort(int fd, int* told) : fd_(fd), told_(told) {}
  int poll_fd() const noexcept override { return fd_; }
  void receive(sw::Burst&, Instant) noexcept override {}
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const>, Instant) noexcept override { return 0; }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return false; }
  void told() noexcept override { ++*told_; }

 private:
  const int fd_;
  int* const told_;
};

TEST_F(SideTest, APolledPortIsToldOnceOfWhatComesToItsDescriptor) {
  int told = 0;
  loop.add(std::make_unique<PolledPort>(frames.get(), &told), "polled");
  for (int i = 1; i <= 3; ++i) {
    eventfd_write(frames.get(), 1);
    loop.dispatch();
    EXPECT_EQ(told, i);
    for (int n = 0; n < 3; ++n) loop.dispatch();
    EXPECT_EQ(told, i) << "nothing new";
  }
}

/// Sleeps when its descriptor, an eventfd that counts frames, is at 0.
class CrowdPort final : public sw::Port {
 public:
  CrowdPort(int fd, std::size_t most, std::uint64_t* received)
      : fd_(fd), most_(most), received_(received) {}
  int poll_fd() const noexcept override { return fd_; }
  bool sleeps() const noexcept override { return true; }
  void receive(sw::Burst& burst, Instant) noexcept override {
    crowd_ = false;
    eventfd_t waiting = 0;
    if (eventfd_read(fd_, &waiting) != 0) return;
    for (; waiting > 0 && burst.size() < most_ && burst.add(frame_); --waiting) ++*received_;
    if (waiting > 0) eventfd_write(fd_, waiting);
  }
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    sent_ = frames.size();
    return 0;
  }
  bool flush(Instant) noexcept override {
    crowd_ = std::exchange(sent_, 0) == most_;
    return crowd_;
  }
  bool arm(Instant) noexcept override {
    pollfd p{fd_, POLLIN, 0};
    return !crowd_ && poll(&p, 1, 0) == 0;
  }

 private:
  const int fd_;
  const std::size_t most_;
  std::uint64_t* const received_;
  std::size_t sent_ = 0;
  bool crowd_ = false;
  const Bytes frame_ = ethernet(kAll, kA);
};

/// What a loop's epoll descriptor watches.
std::size_t watched_by(int epoll) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(epoll));
  std::string word;
  std::size_t n = 0;
  while (info >> word) n += word == "tfd:";
  return n;
}

TEST_F(SideTest, AFloodedPortIsNotWatchedUntilItSleeps) {
  std::uint64_t received = 0, sent = 0;
  const auto say = [&](std::uint64_t n) {
    eventfd_write(frames.get(), n);
    sent += n;
    loop.dispatch();
  };
  const sw::PortId id =
      loop.add(std::make_unique<CrowdPort>(frames.get(), sw::Burst::kFrames, &received), "crowd");
  while (has_work()) loop.dispatch();
  const std::size_t all = watched_by(loop.fd());
  constexpr std::uint64_t kCrowd = 100 * sw::Burst::kFrames;  // more than one dispatch() takes
  for (int round = 0; round < 3; ++round) {
    say(kCrowd);
    EXPECT_LT(received, sent);
    EXPECT_EQ(watched_by(loop.fd()), all - 1);
    EXPECT_TRUE(has_work()) << "the host has to come back all the same";
    loop.dispatch();
    EXPECT_EQ(received, sent);
    EXPECT_EQ(watched_by(loop.fd()), all);
    while (has_work()) loop.dispatch();
    say(1);
    EXPECT_EQ(received, sent);
    while (has_work()) loop.dispatch();
  }
  say(kCrowd);
  EXPECT_TRUE(loop.remove(id));
  EXPECT_EQ(watched_by(loop.fd()), all - 1);
}

TEST_F(SideTest, NorIsOneThatIsSentCrowds) {
  std::uint64_t received = 0, none = 0;
  const std::size_t most = sw::Burst::kFrames;
  loop.add(std::make_unique<CrowdPort>(frames.get(), most, &received), "from");
  loop.add(std::make_unique<CrowdPort>(side.get(), most, &none), "to");
  while (has_work()) loop.dispatch();
  const std::size_t all = watched_by(loop.fd());
  eventfd_write(frames.get(), 100 * most);
  loop.dispatch();
  EXPECT_EQ(watched_by(loop.fd()), all - 2);
  while (has_work()) loop.dispatch();
  EXPECT_EQ(received, 100 * most);
  EXPECT_EQ(watched_by(loop.fd()), all);
  eventfd_write(side.get(), 1);
  EXPECT_TRUE(has_work());
  loop.dispatch();
  EXPECT_EQ(none, 1u);
}

TEST_F(SideTest, AFewFramesATurnAreNoFlood) {
  std::uint64_t received = 0;
  loop.add(std::make_unique<CrowdPort>(frames.get(), 4, &received), "few");
  while (has_work()) loop.dispatch();
  const std::size_t all = watched_by(loop.fd());
  eventfd_write(frames.get(), 4 * 100);
  loop.dispatch();
  EXPECT_GT(received, 0u);
  EXPECT_LT(received, 400u);
  EXPECT_EQ(watched_by(loop.fd()), all);
}

TEST(LoopThreadTest, CallsFromSeveralThreads) {
  Loop loop(Loop::Options{});
  constexpr unsigned kThreads = 4;
  const std::size_t calls = rounds(5'000);
  std::size_t count = 0;  // touched on the switch's thread alone
  std::atomic<std::size_t> caught{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < calls; ++i) {
        try {
          loop.call([&](sw::Switch&) {
            ++count;
            if (i % 100 == t) throw static_cast<int>(t);
          });
        } catch (int thrown) {
          caught += thrown == static_cast<int>(t);
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(count, kThreads * calls);
  EXPECT_EQ(caught, kThreads * calls / 100);
}

TEST(LoopThreadTest, T_SW_6_PortsComeAndGoUnderTraffic) {
  Loop loop(Loop::Options{});
  LoopPlug a(loop), b(loop);
  std::atomic<bool> stop{false};
  std::atomic<std::size_t> arrived{0};
  std::thread flood([&] {
    for (std::uint64_t n = 0; !stop; ++n) {
      if (!a.plug.send(ethernet(n % 3 ? kAll : kB, kA + (n % 50 << 8)), {}))
        std::this_thread::yield();
      if (n % 16 == 0) a.plug.kick();
    }
  });
  std::thread sink([&] {
    Plug::Received r[sw::Burst::kFrames];
    pollfd p{b.plug.fd(), POLLIN, 0};
    while (!stop) {
      if (poll(&p, 1, 100) != 1) continue;
      const std::size_t n = b.plug.peek(r);
      for (std::size_t i = 0; i < n; ++i) arrived += r[i].bytes.size() == 60;
      b.plug.release(n);
    }
  });
  std::set<sw::PortId> ids;
  for (std::size_t i = 0; i < rounds(1'000); ++i) {
    LoopPlug guest(loop);
    ids.insert(guest.id);
    guest.send(ethernet(kAll, 0x020000000100 + i));
    if (i % 2) std::this_thread::yield();
    ASSERT_TRUE(loop.remove(guest.id));
    // The plug outlives its port here, and its frames go nowhere.
    guest.plug.send(ethernet(kAll, kB), {});
    guest.plug.kick();
  }
  EXPECT_EQ(ids.size(), rounds(1'000)) << "an id is never used again";
  for (int i = 0; i < 200 && arrived == 0; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  stop = true;
  flood.join();
  sink.join();
  EXPECT_GT(arrived, 0u);
}

// What the host's process sees.

std::size_t entries(const char* dir) {
  std::size_t n = 0;
  DIR* d = opendir(dir);
  if (!d) return 0;
  while (readdir(d)) ++n;
  closedir(d);
  return n;
}

/// The value of `key` in the status of the one thread named rp-switch; empty when there is none.
std::string thread_status(const std::string& key) {
  std::string value;
  DIR* d = opendir("/proc/self/task");
  while (const dirent* e = d ? readdir(d) : nullptr) {
    std::ifstream f(std::string("/proc/self/task/") + e->d_name + "/status");
    std::string line, found;
    bool ours = false;
    while (std::getline(f, line)) {
      ours |= line == "Name:\trp-switch";
      if (line.starts_with(key + ":"))
        found = line.substr(line.find_first_not_of(" \t", key.size() + 1));
    }
    if (ours) value = found;
  }
  if (d) closedir(d);
  return value;
}

TEST(LoopThreadTest, AnIdleLoopNeverWakesUp) {
  Loop loop(Loop::Options{});
  LoopPlug a(loop), b(loop);
  loop.add(std::make_unique<NullPort>(), "null");
  a.send(ethernet(kAll, kA));
  pollfd p{b.plug.fd(), POLLIN, 0};
  ASSERT_EQ(poll(&p, 1, 20'000), 1);
  const auto sleeps = [] { return thread_status("voluntary_ctxt_switches"); };
  std::string before = sleeps();
  ASSERT_FALSE(before.empty());
  // Until it has gone to sleep after that frame.
  for (int i = 0; i < 50; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const std::string now = sleeps();
    if (std::exchange(before, now) == now) break;
  }
  const std::string involuntary = thread_status("nonvoluntary_ctxt_switches");
  std::this_thread::sleep_for(std::chrono::seconds(2));
  EXPECT_EQ(sleeps(), before);
  EXPECT_EQ(thread_status("nonvoluntary_ctxt_switches"), involuntary) << "it was running";
}

TEST(LoopThreadTest, ItsThreadTakesNoSignals) {
  Loop loop(Loop::Options{});
  loop.call([](sw::Switch&) {});
  // All but SIGBUS (lost_memory.h), SIGKILL, SIGSTOP and the two that glibc keeps for itself.
  EXPECT_EQ(std::stoull(thread_status("SigBlk"), nullptr, 16),
            ~0ull & ~(1ull << 6) & ~(1ull << 8) & ~(1ull << 18) & ~(3ull << 31));
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  EXPECT_FALSE(sigismember(&mask, SIGTERM)) << "the host's own mask is as it was";
}

TEST(LoopThreadTest, LeavesNothingBehind) {
  const auto once = [](bool own_thread) {
    Loop::Options o;
    o.own_thread = own_thread;
    Loop loop(o);
    LoopPlug a(loop), b(loop);
    a.send(ethernet(kAll, kA));
  };
  once(true);
  const std::size_t threads = entries("/proc/self/task"), fds = entries("/proc/self/fd");
  for (int i = 0; i < 200; ++i) once(i % 4 != 0);
  EXPECT_EQ(entries("/proc/self/fd"), fds);
  // A joined thread's entry goes a moment after the join.
  for (int i = 0; i < 100 && entries("/proc/self/task") != threads; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(entries("/proc/self/task"), threads);
  std::ifstream maps("/proc/self/maps");
  std::size_t mappings = 0;
  for (std::string line; std::getline(maps, line);) {
    ++mappings;
    EXPECT_EQ(line.find("rp-plug"), std::string::npos) << line;
  }
  EXPECT_GT(mappings, 0u);
}

/// A port that runs a function in every turn and says where it died.
class HookPort final : public sw::Port {
 public:
  explicit HookPort(std::function<void()> hook, std::thread::id* died = nullptr)
      : hook_(std::move(hook)), died_(died), fd_(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  ~HookPort() override {
    if (died_) *died_ = std::this_thread::get_id();
  }
  int poll_fd() const noexcept override { return fd_.get(); }
  void receive(sw::Burst&, Instant) noexcept override { hook_(); }
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const>, Instant) noexcept override { return 0; }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return true; }

 private:
  std::function<void()> hook_;
  std::thread::id* died_;
  Fd fd_;
};

TEST(LoopThreadTest, PortsDieWhereTheyLived) {
  std::thread::id lived, died;
  {
    Loop loop(Loop::Options{});
    loop.add(std::make_unique<HookPort>([] {}, &died), "hook");
    loop.call([&](sw::Switch&) { lived = std::this_thread::get_id(); });
  }
  EXPECT_EQ(lived, died);
  EXPECT_NE(died, std::this_thread::get_id());
}

bool pipe_is_pending() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGPIPE);
}

TEST(LoopHostTest, SigpipeInsideDispatchDoesNotReachTheHost) {
  // Not handled and not ignored here: one that got through would end this process.
  Loop::Options o;
  o.own_thread = false;
  Loop loop(o);
  int raised = 0;
  loop.add(std::make_unique<HookPort>([&] {
             ++raised;
             pthread_kill(pthread_self(), SIGPIPE);
           }),
           "hook");
  sigset_t before, after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  for (int i = 0; i < 10; ++i) loop.dispatch();
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_GT(raised, 0);
  EXPECT_FALSE(pipe_is_pending());
  for (int s = 1; s < 32; ++s) EXPECT_EQ(sigismember(&before, s), sigismember(&after, s)) << s;
}

TEST(LoopHostTest, TheHostsOwnPendingSigpipeStays) {
  Loop::Options o;
  o.own_thread = false;
  Loop loop(o);
  loop.add(std::make_unique<HookPort>([] { pthread_kill(pthread_self(), SIGPIPE); }), "hook");
  sigset_t pipe, before;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &pipe, &before);
  pthread_kill(pthread_self(), SIGPIPE);
  for (int i = 0; i < 3; ++i) loop.dispatch();
  EXPECT_TRUE(pipe_is_pending());
  const timespec none{};
  sigtimedwait(&pipe, nullptr, &none);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST(LoopHostTest, ADispatchGivesAPolledPortSeveralTurnsAndEnds) {
  Loop::Options o;
  o.own_thread = false;
  o.poll = std::chrono::hours(1);
  Loop loop(o);
  int turns = 0;
  loop.add(std::make_unique<HookPort>([&] { ++turns; }), "hook");
  loop.dispatch();
  turns = 0;
  loop.dispatch();
  // What a port paces by turns would otherwise be paced by the host's own loop.
  EXPECT_GE(turns, 8);
  EXPECT_LE(turns, 64);
}

TEST(LoopHostTest, TheDescriptorGoesQuietWithoutWork) {
  Loop::Options o;
  o.own_thread = false;
  Loop loop(o);
  LoopPlug a(loop), b(loop);
  const auto readable = [&] {
    pollfd p{loop.fd(), POLLIN, 0};
    return poll(&p, 1, 0) == 1;
  };
  const auto settle = [&] {
    for (int i = 0; i < 1'000'000 && readable(); ++i) loop.dispatch();
    return !readable();
  };
  ASSERT_TRUE(settle());
  for (int i = 0; i < 100; ++i) {
    a.send(ethernet(kAll, kA));
    ASSERT_TRUE(readable());
    ASSERT_TRUE(settle());
    ASSERT_EQ(b.take([](int) { return true; }).size(), 60u);
    ASSERT_FALSE(readable()) << "taking a frame is no work for the loop";
  }
}

}  // namespace
}  // namespace rp::backend
