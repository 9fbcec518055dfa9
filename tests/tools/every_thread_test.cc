// SPDX-License-Identifier: BSD-3-Clause
// every_thread_test.cc - each thread is reached once, also those that block all but SIGBUS.
#include "tools/sandbox/every_thread.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <thread>
#include <vector>

#include "tests/tools/child.h"

namespace rp::tools {
namespace {

constexpr std::size_t kThreads = 5;

/// Who was reached; a handler can't allocate.
struct Reached {
  std::array<std::atomic<long>, 64> tids{};
  std::atomic<std::size_t> count{0};
};

int note(void* opaque) {
  auto& r = *static_cast<Reached*>(opaque);
  const std::size_t i = r.count.fetch_add(1);
  if (i < r.tids.size()) r.tids[i] = syscall(SYS_gettid);
  return 0;
}

/// Threads as the library has them, until it goes.
class Threads {
 public:
  Threads() {
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (std::size_t i = 0; i < kThreads; ++i)
      threads_.emplace_back([this] {
        ++started_;
        while (!stop_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    while (started_ < kThreads) std::this_thread::yield();
  }
  ~Threads() {
    stop_ = true;
    for (auto& t : threads_) t.join();
  }

 private:
  std::atomic<std::size_t> started_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

volatile sig_atomic_t caught;

TEST(EveryThread, is_reached_once) {
  test::in_child([] {
    const Threads threads;
    Reached r;
    ASSERT_EQ(on_every_thread(note, &r), 0);
    ASSERT_EQ(r.count, kThreads + 1);
    for (std::size_t i = 0; i < r.count; ++i)
      for (std::size_t j = 0; j < i; ++j) EXPECT_NE(r.tids[i], r.tids[j]);
  });
}

TEST(EveryThread, threads_that_come_and_go_do_not_matter) {
  test::in_child([] {
    std::atomic<bool> stop{false};
    std::thread busy([&] {
      while (!stop) std::thread([] {}).join();
    });
    for (int i = 0; i < 20; ++i) {
      Reached r;
      EXPECT_EQ(on_every_thread(note, &r), 0);
      EXPECT_GE(r.count, 2u);
    }
    stop = true;
    busy.join();
  });
}

TEST(EveryThread, what_fails_on_one_is_told) {
  test::in_child([] {
    const Threads threads;
    static const pid_t self = getpid();
    EXPECT_EQ(on_every_thread(
                  [](void*) { return static_cast<pid_t>(syscall(SYS_gettid)) == self ? 0 : EXDEV; },
                  nullptr),
              EXDEV);
  });
}

TEST(EveryThread, a_bus_error_meanwhile_and_later_is_whose_it_was) {
  test::in_child([] {
    struct sigaction action {};
    action.sa_handler = [](int) { caught = caught + 1; };
    sigaction(SIGBUS, &action, nullptr);
    on_every_thread(
        [](void*) {
          raise(SIGBUS);
          return 0;
        },
        nullptr);
    raise(SIGBUS);
    EXPECT_GE(caught, 2);
    struct sigaction now;
    sigaction(SIGBUS, nullptr, &now);
    EXPECT_EQ(now.sa_handler, action.sa_handler);
  });
}

}  // namespace
}  // namespace rp::tools
