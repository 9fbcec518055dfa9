// SPDX-License-Identifier: BSD-3-Clause
// emulator_test.cc - emulators that are killed, stopped, or get next to no time to run.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/api/handles.h"
#include "tests/api/process_state.h"
#include "tests/backend/scale.h"
#include "tests/base/resident.h"
#include "tests/base/runtime.h"
#include "tests/base/soon.h"
#include "tests/hostile/pattern.h"
#include "tests/tools/child.h"

namespace rp {
namespace {

using namespace std::chrono_literals;
using test::soon;

class Emulator {
 public:
  explicit Emulator(std::vector<std::string> arguments) {
    std::string program = RP_EMULATOR;
    std::vector<char*> list{program.data()};
    for (std::string& a : arguments) list.push_back(a.data());
    list.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, program.c_str(), nullptr, nullptr, list.data(), environ), 0);
  }
  ~Emulator() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Emulator(Emulator&&) = delete;

  void signal(int number) const { EXPECT_EQ(::kill(pid_, number), 0); }
  /// Until it stands still.
  void stop() const {
    signal(SIGSTOP);
    siginfo_t info;
    EXPECT_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOWAIT), 0);
  }

 private:
  pid_t pid_ = 0;
};

class Emulators : public testing::Test {
 protected:
  /// Receives what waits, or a part of it; every frame must be whole. Returns the highest number
  /// that `station` sent.
  static long drain(const test::PlugHandle& plug, std::uint8_t station,
                    std::size_t* frames = nullptr) {
    static std::vector<std::uint8_t> frame(RP_MAX_FRAME);
    long highest = -1;
    for (int most = 256; most > 0; --most) {
      const ssize_t n = rp_plug_recv(plug.get(), frame.data(), frame.size());
      if (n <= 0) break;
      const auto number = test::pattern_number(std::span(frame).first(static_cast<std::size_t>(n)));
      EXPECT_TRUE(number) << n << " bytes";
      if (!number || frame[11] != station) continue;
      highest = std::max(highest, static_cast<long>(*number));
      if (frames) ++*frames;
    }
    return highest;
  }
  void listen(const std::string& locator) {
    rp_error err = RP_ERROR_INIT;
    ASSERT_EQ(rp_switch_listen(lan_.get(), locator.c_str(), nullptr, &err), RP_OK) << err.message;
  }
  void kill_again_and_again(std::size_t rounds, const std::vector<std::string>& arguments);

  test::Runtime runtime_;
  test::TempFolder folder_;
  test::SwitchHandle lan_ = test::new_switch();
  test::PlugHandle steady_ = test::join(lan_, "steady");
};

void Emulators::kill_again_and_again(std::size_t rounds,
                                     const std::vector<std::string>& arguments) {
  const std::size_t ports = test::ports_of(lan_).size();
  const process_state before = process_state_now();
  std::mt19937 random(1);
  for (std::size_t i = 0; i < rounds && !HasFailure(); ++i) {
    {
      const Emulator emulator(arguments);
      ASSERT_TRUE(soon([&] { return drain(steady_, 2) >= 0; })) << "round " << i;
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
    }
    EXPECT_TRUE(soon([&] {
      drain(steady_, 2);
      return test::ports_of(lan_).size() == ports;
    })) << "round "
        << i;
  }
  const process_state after = process_state_now();
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.threads, before.threads);
  // The allocator may have taken one more piece.
  EXPECT_LE(after.mappings, before.mappings + 2);
}

TEST_F(Emulators, KilledWithFramesInItsRing) {
  listen("switch:lan0");
  kill_again_and_again(backend::rounds(1000), {"switch:lan0"});
}

TEST_F(Emulators, KilledInTheMiddleOfAFrame) {
  const std::string path = folder_ / "door";
  listen("stream:" + path);
  kill_again_and_again(backend::rounds(300), {"stream", path});
}

TEST_F(Emulators, AStoppedOneHoldsUpNobodyAndGoesOn) {
  listen("switch:lan0");
  const test::PlugHandle other = test::join(lan_, "other");
  const Emulator emulator({"switch:lan0"});
  ASSERT_TRUE(soon([&] { return drain(steady_, 2) >= 0; }));
  emulator.stop();
  long last = -1;
  const auto until_quiet = [&last](const test::PlugHandle& plug) {
    while (test::readable(rp_plug_fd(plug.get()), 100)) last = std::max(last, drain(plug, 2));
  };
  until_quiet(steady_);
  until_quiet(other);

  const std::uint32_t warm = 5'000, frames = 50'000;
  std::size_t before = 0;
  std::size_t received = 0;
  std::vector<std::uint8_t> frame(1514);
  for (std::uint32_t number = 0; number < frames; ++number) {
    // By then the rings, and the queue of the stopped one, have all the memory that they take.
    if (number == warm) before = test::resident();
    test::write_pattern(frame, 3, number);
    while (rp_plug_send(steady_.get(), frame.data(), frame.size()) == RP_ERESOURCES)
      drain(other, 3, &received);
    // No further ahead than its ring has room for.
    ASSERT_TRUE(soon([&] {
      drain(other, 3, &received);
      return number < received + 64;
    })) << number;
  }
  EXPECT_TRUE(soon([&] {
    drain(other, 3, &received);
    return received == frames;
  })) << received;
  // 65 MiB were sent.
  EXPECT_LT(test::resident(), before + (std::size_t{1} << 20));

  until_quiet(steady_);
  emulator.signal(SIGCONT);
  EXPECT_TRUE(soon([&] { return drain(steady_, 2) > last; }));
}

TEST(Processor, ASharedOneLosesNoWakeUp) {
  test::in_child([] {
    cpu_set_t all, one;
    ASSERT_EQ(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu)
      if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
    // It has our processor, and outweighs us by far.
    const Emulator greedy({"spin"});
    ASSERT_EQ(setpriority(PRIO_PROCESS, 0, 19), 0);

    const test::SwitchHandle lan = test::new_switch();
    const test::PlugHandle a = test::join(lan, "a"), b = test::join(lan, "b");
    std::vector<std::uint8_t> frame(64);
    for (std::uint32_t round = 0; round < 40; ++round) {
      const test::PlugHandle& from = round % 2 == 0 ? a : b;
      const test::PlugHandle& to = round % 2 == 0 ? b : a;
      test::write_pattern(frame, static_cast<std::uint8_t>(2 + round % 2), round);
      ASSERT_GT(rp_plug_send(from.get(), frame.data(), frame.size()), 0);
      ASSERT_TRUE(test::readable(rp_plug_fd(to.get()), 20'000)) << "round " << round;
      ASSERT_EQ(rp_plug_recv(to.get(), frame.data(), frame.size()), 64);
      EXPECT_EQ(test::pattern_number(frame), round);
    }
  });
}

}  // namespace
}  // namespace rp
