// SPDX-License-Identifier: BSD-3-Clause
// poll_set_test.cc - the epoll set that follows libslirp's wishes, and its timer.
#include "slirp/poll_set.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <sys/socket.h>
#include <time.h>

#include <array>
#include <deque>

namespace rp::slirp {
namespace {

struct Pair {
  Pair() {
    std::array<int, 2> fds{-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()), 0);
    a.reset(fds[0]);
    b.reset(fds[1]);
  }
  void say() const { EXPECT_EQ(send(b.get(), "x", 1, MSG_NOSIGNAL), 1); }
  bool drain() const {
    char c;
    return recv(a.get(), &c, 1, MSG_DONTWAIT) == 1;
  }
  Fd a, b;
};

bool readable(const PollSet& s) {
  pollfd p{s.fd(), POLLIN, 0};
  return poll(&p, 1, 0) == 1;
}

Instant real_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

TEST(PollSet, ReportsWhatIsReady) {
  PollSet s;
  Pair p, q;
  s.begin();
  const int i = s.add(p.a.get(), SLIRP_POLL_IN), j = s.add(q.a.get(), SLIRP_POLL_IN);
  ASSERT_GE(i, 0);
  EXPECT_FALSE(readable(s));
  EXPECT_EQ(s.poll(), 0);
  p.say();
  EXPECT_TRUE(readable(s));
  EXPECT_EQ(s.poll(), 1);
  EXPECT_EQ(s.revents(i), SLIRP_POLL_IN);
  EXPECT_EQ(s.revents(j), 0);
  s.clear();
  EXPECT_EQ(s.revents(i), 0);
}

TEST(PollSet, WhatIsNotNamedAgainIsGone) {
  PollSet s;
  Pair p, q;
  s.begin();
  s.add(p.a.get(), SLIRP_POLL_IN);
  s.add(q.a.get(), SLIRP_POLL_IN);
  s.begin();
  s.add(q.a.get(), SLIRP_POLL_IN);
  p.say();
  EXPECT_EQ(s.poll(), 0);
  s.shed();
  EXPECT_FALSE(readable(s));
  q.say();
  EXPECT_EQ(s.poll(), 1);
}

TEST(PollSet, WhatIsAskedForAgainIsFound) {
  PollSet s;
  Pair p;
  const auto round = [&](int events) {
    s.begin();
    const int i = s.add(p.a.get(), events);
    return i;
  };
  p.say();
  const int i = round(SLIRP_POLL_IN | SLIRP_POLL_OUT);
  s.poll();
  EXPECT_EQ(s.revents(i), SLIRP_POLL_IN | SLIRP_POLL_OUT);
  for (const bool sleep : {false, true}) {
    round(SLIRP_POLL_OUT);
    EXPECT_EQ(s.poll(), 1);
    EXPECT_EQ(s.revents(i), SLIRP_POLL_OUT);
    round(0);
    EXPECT_EQ(s.poll(), 0);
    EXPECT_EQ(s.revents(i), 0);
    if (sleep) s.shed();
    EXPECT_EQ(readable(s), !sleep);
    round(SLIRP_POLL_IN);
    EXPECT_TRUE(readable(s));
    EXPECT_EQ(s.poll(), 1);
    EXPECT_EQ(s.revents(i), SLIRP_POLL_IN);
  }
}

TEST(PollSet, ShedsOnlyWhatNobodyAsksFor) {
  PollSet s;
  Pair p;
  s.begin();
  s.add(p.a.get(), SLIRP_POLL_IN | SLIRP_POLL_OUT);
  s.begin();
  const int i = s.add(p.a.get(), SLIRP_POLL_IN);
  EXPECT_EQ(s.poll(), 0);
  s.shed();
  EXPECT_FALSE(readable(s));
  p.say();
  EXPECT_EQ(s.poll(), 1);
  EXPECT_EQ(s.revents(i), SLIRP_POLL_IN);
}

TEST(PollSet, ManyThatNobodyAsksForHideNoOther) {
  PollSet s;
  std::deque<Pair> others(600);
  Pair p;
  s.begin();
  for (const Pair& o : others) {
    s.add(o.a.get(), SLIRP_POLL_IN);
    o.say();
  }
  s.begin();
  const int i = s.add(p.a.get(), SLIRP_POLL_IN);
  p.say();
  EXPECT_EQ(s.poll(), 1);
  EXPECT_EQ(s.revents(i), SLIRP_POLL_IN);
}

TEST(PollSet, WhatBecomesReadyUnaskedWakesNobody) {
  PollSet s;
  Pair p, q;
  for (int round = 0; round < 3; ++round) {
    s.begin();
    s.add(p.a.get(), SLIRP_POLL_IN);
    s.add(q.a.get(), SLIRP_POLL_OUT);
    s.begin();
    s.add(q.a.get(), SLIRP_POLL_IN);
    EXPECT_EQ(s.poll(), 0);
    s.shed();
    p.say();
    EXPECT_FALSE(readable(s)) << round;
    EXPECT_TRUE(p.drain());
  }
  q.say();
  EXPECT_EQ(s.poll(), 1);
}

TEST(PollSet, AHangUpThatNobodyAsksForLetsSleep) {
  PollSet s;
  Pair p;
  s.begin();
  s.add(p.a.get(), SLIRP_POLL_IN);
  s.begin();
  p.b.reset();
  EXPECT_EQ(s.poll(), 0);
  s.shed();
  EXPECT_FALSE(readable(s));
}

TEST(PollSet, ChangesEvents) {
  PollSet s;
  Pair p;
  p.say();
  s.begin();
  const int i = s.add(p.a.get(), SLIRP_POLL_OUT);
  s.poll();
  EXPECT_EQ(s.revents(i), SLIRP_POLL_OUT);
  s.begin();
  s.add(p.a.get(), SLIRP_POLL_IN | SLIRP_POLL_OUT);
  s.poll();
  EXPECT_EQ(s.revents(i), SLIRP_POLL_IN | SLIRP_POLL_OUT);
}

TEST(PollSet, ReportsHangups) {
  PollSet s;
  Pair p;
  s.begin();
  const int i = s.add(p.a.get(), SLIRP_POLL_IN);
  p.b.reset();
  s.poll();
  EXPECT_TRUE(s.revents(i) & SLIRP_POLL_HUP);
}

TEST(PollSet, ANumberUsedAgainIsWatchedAnew) {
  PollSet s;
  for (int round = 0; round < 3; ++round) {
    Pair p;
    const int number = p.a.get();
    s.drop(number);
    s.begin();
    const int i = s.add(number, SLIRP_POLL_IN);
    p.say();
    EXPECT_EQ(s.poll(), 1) << round;
    EXPECT_EQ(s.revents(i), SLIRP_POLL_IN);
    if (round == 0) s.drop(number);  // the other rounds close without a word
  }
}

TEST(PollSet, RefusesNonsense) {
  PollSet s;
  Pair p;
  s.begin();
  EXPECT_EQ(s.add(-1, SLIRP_POLL_IN), -1);
  EXPECT_EQ(s.add(p.a.get(), 0), -1);
  EXPECT_EQ(s.add(99'999, SLIRP_POLL_IN), -1);
  EXPECT_EQ(s.revents(-1), 0);
  EXPECT_EQ(s.revents(1'000'000), 0);
  s.drop(-1);
  s.drop(99'998);
}

TEST(PollSet, TimerInThePastIsDueNow) {
  PollSet s;
  EXPECT_FALSE(readable(s));
  s.set_timer(Instant(1));
  EXPECT_TRUE(readable(s));
  EXPECT_EQ(s.poll(), 1);
  EXPECT_FALSE(readable(s));
}

TEST(PollSet, TimerCanBeTakenBackAndSetAgain) {
  PollSet s;
  s.set_timer(real_now() + std::chrono::hours(1));
  EXPECT_FALSE(readable(s));
  s.set_timer(Instant(1));
  s.set_timer(Instant::max());
  EXPECT_FALSE(readable(s));
  s.set_timer(Instant(1));
  EXPECT_EQ(s.poll(), 1);
  s.set_timer(Instant(1));  // the same time, but the first one is over
  EXPECT_EQ(s.poll(), 1);
}

}  // namespace
}  // namespace rp::slirp
