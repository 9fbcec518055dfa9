// SPDX-License-Identifier: BSD-3-Clause
// faults_test.cc - each call of the kernel may fail, be interrupted or do a part; clocks may jump.
#include <gtest/gtest.h>
#include <sys/epoll.h>

#include <random>
#include <thread>

#include "backend/vhost_user/inflight.h"
#include "base/error.h"
#include "sockets/datagram_socket.h"
#include "tests/api/handles.h"
#include "tests/api/process_state.h"
#include "tests/hostile/faults.h"
#include "tests/hostile/refused_opens.h"
#include "tests/sockets/stream_peer.h"

namespace rp {
namespace {

using test::Bytes;
using test::ethernet;

// What an open asks for may be refused at any point.

class EachCallOf : public testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(Faults, EachCallOf, testing::Values("null", "slirp", "stream::1"),
                         [](const auto& i) {
                           const std::string locator = i.param;
                           return locator.substr(0, locator.find(':'));
                         });

TEST_P(EachCallOf, AnOpenMayFail) {
  EXPECT_GE(test::refused_opens(GetParam(), test::fail_call, test::failed), 3u);
}

TEST_P(EachCallOf, AnOpenMayRunOutOfMemory) {
  EXPECT_GE(test::refused_opens(GetParam(), test::fail_allocation, test::allocation_failed), 10u);
}

TEST(EachCall, OfAnInflightRegionMayFail) {
  const process_state before = process_state_now();
  backend::vhost_user::InflightDescription d{0, 0, 2, 16, 0};
  test::fail_call(1);
  EXPECT_THROW(backend::vhost_user::make_inflight(d), Error);
  EXPECT_TRUE(test::failed());
  EXPECT_EQ(process_state_now().descriptors, before.descriptors);
  const Fd fd = backend::vhost_user::make_inflight(d);
  test::fail_call(1);
  EXPECT_THROW(backend::vhost_user::InflightArea(fd.get(), d), Error);
  EXPECT_TRUE(test::failed());
  const backend::vhost_user::InflightArea area(fd.get(), d);
  EXPECT_TRUE(area.region(0, true));
}

// Data calls that are interrupted, find no room, or do a part.

struct Sender {
  std::vector<sw::Frame> frames;
  std::vector<sw::Part> parts;
  std::vector<const sw::Frame*> list;
  std::vector<Bytes> bytes;

  explicit Sender(std::mt19937& random) : frames(1 + random() % 40), parts(frames.size()) {
    for (std::size_t i = 0; i < frames.size(); ++i)
      bytes.push_back(ethernet(random(), random(), 14 + random() % 1500));
    for (std::size_t i = 0; i < frames.size(); ++i) {
      sw::make_frame(frames[i], parts[i], bytes[i]);
      list.push_back(&frames[i]);
    }
  }
};

std::vector<Bytes> bytes_of(sw::Burst& burst) {
  std::vector<Bytes> all;
  for (const sw::Frame& f : burst.frames()) {
    all.emplace_back(f.len);
    f.copy_to(all.back().data());
  }
  return all;
}

class Disturbed : public testing::TestWithParam<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Faults, Disturbed, testing::Values(1u, 10u, 50u),
                         testing::PrintToStringParamName());

TEST_P(Disturbed, AStreamLosesNothingThatItTook) {
  std::mt19937 random(GetParam());
  const Fd epolls[2] = {Fd(epoll_create1(EPOLL_CLOEXEC)), Fd(epoll_create1(EPOLL_CLOEXEC))};
  auto [one, other] = test::stream_pair();
  sockets::StreamSocket from(epolls[0].get(), {}), to(epolls[1].get(), {});
  ASSERT_TRUE(from.open(std::move(one)));
  ASSERT_TRUE(to.open(std::move(other)));
  auto burst = std::make_unique<sw::Burst>();
  std::vector<Bytes> taken, got;
  const auto receive = [&] {
    burst->clear();
    to.receive(*burst);
    for (Bytes& b : bytes_of(*burst)) got.push_back(std::move(b));
    sw::Burst nothing;
    from.receive(nothing);  // and what waits goes on
  };
  test::disturb(GetParam(), 5);
  for (int i = 0; i < 500; ++i) {
    const Sender s(random);
    const std::size_t refused = from.send(s.list);
    taken.insert(taken.end(), s.bytes.begin(),
                 s.bytes.end() - static_cast<std::ptrdiff_t>(refused));
    for (int k = 0; k < 4; ++k) receive();
  }
  for (int i = 0; i < 100'000 && got.size() < taken.size(); ++i) receive();
  EXPECT_GT(test::disturbed(), 10u);
  EXPECT_EQ(got.size(), taken.size());
  EXPECT_EQ(got, taken);
  EXPECT_FALSE(from.ended() || to.ended());
}

TEST_P(Disturbed, ADatagramSocketCountsWhatItLoses) {
  std::mt19937 random(GetParam());
  const Fd epolls[2] = {Fd(epoll_create1(EPOLL_CLOEXEC)), Fd(epoll_create1(EPOLL_CLOEXEC))};
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  const auto buffers = std::make_shared<sockets::DatagramBuffers>();
  constexpr auto kAll = sockets::DatagramSocket::Watched::all;
  sockets::DatagramSocket from(Fd{fds[0]}, epolls[0].get(), kAll, buffers, {});
  sockets::DatagramSocket to(Fd{fds[1]}, epolls[1].get(), kAll,
                             std::make_shared<sockets::DatagramBuffers>(), {});
  auto burst = std::make_unique<sw::Burst>();
  std::vector<Bytes> taken, got;
  Instant now{};
  const auto counter = [&](std::string_view name) {
    std::uint64_t sum = 0;
    from.report([&](std::string_view n, std::uint64_t v) { sum += n == name ? v : 0; });
    return sum;
  };
  const auto receive = [&] {
    burst->clear();
    to.receive(*burst, now += 7us);
    for (Bytes& b : bytes_of(*burst)) got.push_back(std::move(b));
    to.release();
    burst->clear();
    from.receive(*burst, now);  // and what waits goes on
    from.release();
  };
  test::disturb(GetParam(), 6);
  for (int i = 0; i < 500; ++i) {
    const Sender s(random);
    const std::size_t refused = from.send(s.list);
    taken.insert(taken.end(), s.bytes.begin(),
                 s.bytes.end() - static_cast<std::ptrdiff_t>(refused));
    for (int k = 0; k < 4; ++k) receive();
  }
  for (int i = 0; i < 100'000 && got.size() + counter("drop.unsent") < taken.size(); ++i) receive();
  EXPECT_GT(test::disturbed(), 10u);
  EXPECT_EQ(got.size() + counter("drop.unsent"), taken.size());
  EXPECT_EQ(counter("socket.waiting"), 0u);
  // Those that came are as they were, in their order.
  auto next = taken.begin();
  for (const Bytes& b : got) {
    next = std::find(next, taken.end(), b);
    ASSERT_NE(next, taken.end());
    ++next;
  }
  EXPECT_FALSE(from.closed() || to.closed());
}

// Clocks.

struct ClocksRight {
  ~ClocksRight() { test::shift_clocks(0, 0); }
};

TEST(Clocks, AJumpStopsNoFrame) {
  const ClocksRight after;
  const auto sw = test::new_switch();
  const auto one = test::join(sw), other = test::join(sw);
  constexpr std::int64_t kHour = 3600, kYear = 365 * 24 * kHour;
  std::uint8_t mark = 0, buffer[100];
  for (const auto& [monotonic, realtime] :
       {std::pair{0l, 0l}, {kHour, 0l}, {kHour, kYear}, {2 * kHour, -kYear}, {2 * kHour, kYear}}) {
    test::shift_clocks(monotonic, realtime);
    for (int i = 0; i < 10; ++i) {
      const auto frame = test::broadcast(1, ++mark);
      ASSERT_EQ(rp_plug_send(one.get(), frame.data(), frame.size()), ssize_t{60});
      ASSERT_TRUE(test::readable(rp_plug_fd(other.get()), 20'000)) << monotonic << ' ' << realtime;
      ASSERT_EQ(rp_plug_recv(other.get(), buffer, sizeof buffer), 60);
      EXPECT_EQ(buffer[14], mark);
      EXPECT_EQ(rp_plug_recv(other.get(), buffer, sizeof buffer), 0);
    }
  }
  // Only what the monotonic clock says makes an address old.
  test::shift_clocks(2 * kHour, -kYear);
  EXPECT_EQ(test::addresses_of(sw).size(), 1u);
  test::shift_clocks(3 * kHour, -kYear);
  const auto left = test::addresses_of(sw);
  EXPECT_TRUE(left.empty()) << "an hour is longer than any address is kept";
}

}  // namespace
}  // namespace rp
