// SPDX-License-Identifier: BSD-3-Clause
// event_signal_test.cc - signals arrive, once each, and never wait for room.
#include "base/event_signal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <thread>
#include <vector>

namespace rp {
namespace {

std::uint64_t taken(const Fd& fd) {
  std::uint64_t n = 0;
  return ::read(fd.get(), &n, sizeof n) == sizeof n ? n : 0;
}

TEST(EventSignalTest, EachCounts) {
  EventSignal signal;
  const Fd a(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), b(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  // More than the kernel keeps results of.
  for (int i = 0; i < 10'000; ++i) {
    signal.signal(a.get());
    if (i % 4 == 0) signal.signal(b.get());
  }
  EXPECT_EQ(taken(a), 10'000u);
  EXPECT_EQ(taken(b), 2'500u);
  pollfd p{a.get(), POLLIN, 0};
  EXPECT_EQ(poll(&p, 1, 0), 0);
  signal.signal(a.get());
  EXPECT_EQ(poll(&p, 1, 0), 1);
}

TEST(EventSignalTest, ThreadsShareOne) {
  const auto signal = EventSignal::shared();
  EXPECT_EQ(EventSignal::shared(), signal);
  constexpr std::uint64_t kEach = 20'000;
  std::vector<std::thread> threads;
  std::array<Fd, 4> fds;
  for (Fd& fd : fds) {
    fd.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    threads.emplace_back([&signal, &fd] {
      for (std::uint64_t i = 0; i < kEach; ++i) signal->signal(fd.get());
    });
  }
  for (std::thread& t : threads) t.join();
  for (const Fd& fd : fds) EXPECT_EQ(taken(fd), kEach);
}

TEST(EventSignalTest, T_VU_7_AFullCounterThatBlocks) {
  EventSignal signal;
  if (!signal.never_blocks()) GTEST_SKIP() << "no asynchronous I/O here";
  const Fd full(eventfd(0, EFD_CLOEXEC));
  const std::uint64_t most = ~std::uint64_t{0} - 1;
  ASSERT_EQ(::write(full.get(), &most, sizeof most), 8);
  for (int i = 0; i < 1000; ++i) signal.signal(full.get());
  EXPECT_GE(taken(full), most);
}

TEST(EventSignalTest, WithoutAsynchronousIoItWrites) {
  // No descriptor is left for what it needs.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const Fd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  const rlimit few{static_cast<rlim_t>(fd.get()) + 1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  EventSignal signal;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(signal.never_blocks());
  signal.signal(fd.get());
  EXPECT_EQ(taken(fd), 1u);
}

}  // namespace
}  // namespace rp
