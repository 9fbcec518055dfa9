// SPDX-License-Identifier: BSD-3-Clause
// nat_signal_test.cc - row T-NAT-13: hosts that close or reset while guests send; no signal
// escapes.
#include <gtest/gtest.h>
#include <sys/eventfd.h>

#include "backend/loop.h"
#include "tests/slirp/child.h"
#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

void default_sigpipe() {
  signal(SIGPIPE, SIG_DFL);
  sigset_t pipe;
  sigemptyset(&pipe);
  sigaddset(&pipe, SIGPIPE);
  sigprocmask(SIG_UNBLOCK, &pipe, nullptr);
}

enum class End { close, reset, shut_reading };

void end(Stream& host, End how) {
  if (how == End::close) host.close();
  if (how == End::reset) host.reset();
  if (how == End::shut_reading) shutdown(host.fd(), SHUT_RD);
}

/// Data is under way both ways, more than any buffer holds, when the host's end goes.
void host_goes_while_guest_sends(End how) {
  default_sigpipe();
  World w;
  Guest& g = w.add_guest();
  for (int round = 0; round < 10; ++round) {
    const Fd listener = tcp_listener();
    TcpConn& c = g.connect(kGateway, local_of(listener.get()).port());
    Stream host = accept_in(w, listener);
    ASSERT_TRUE(host);
    c.write(pattern(8 << 20));
    host.out = pattern(1 << 20);
    c.hold = round % 2 == 1;
    for (int i = 0; i < 20; ++i) {
      host.step();
      w.turn();
    }
    end(host, how);
    for (int i = 0; i < 40; ++i) {
      c.segment(sw::kTcpAck | sw::kTcpPsh, pattern(1000));
      w.turn();
    }
    c.abort();
    w.pass(5s);
  }
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
  g.messages.clear();
  g.ping(kGateway, 1, 1, text("alive"));
  EXPECT_TRUE(w.until([&] { return !g.messages.empty(); }));
}

TEST(NatSignals, T_NAT_13_HostCloses) {
  EXPECT_EQ(in_child([] { host_goes_while_guest_sends(End::close); }), 0);
}
TEST(NatSignals, T_NAT_13_HostResets) {
  EXPECT_EQ(in_child([] { host_goes_while_guest_sends(End::reset); }), 0);
}
TEST(NatSignals, T_NAT_13_HostStopsReading) {
  EXPECT_EQ(in_child([] { host_goes_while_guest_sends(End::shut_reading); }), 0);
}

/// A door whose guest lives in the test; touched only inside Loop::call().
class Door final : public sw::Port {
 public:
  Door() : bell_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  Guest guest{1, 1};

  void ring() noexcept {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = write(bell_.get(), &one, sizeof one);
  }
  int poll_fd() const noexcept override { return bell_.get(); }
  void receive(sw::Burst& burst, Instant) noexcept override {
    for (const Data& f : guest.outbox) {
      if (!burst.add(f)) break;
    }
    lent_ = static_cast<long>(burst.size());
  }
  void release() noexcept override {
    guest.outbox.erase(guest.outbox.begin(), guest.outbox.begin() + lent_);
    lent_ = 0;
  }
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    for (const sw::Frame* f : frames) {
      Data bytes(f->len);
      f->copy_to(bytes.data());
      arrived_.push_back(std::move(bytes));
    }
    return 0;
  }
  // What arrived may make the guest answer, which must not happen inside send().
  bool flush(Instant) noexcept override {
    for (const Data& f : arrived_) guest.take(f);
    arrived_.clear();
    return !guest.outbox.empty();
  }
  bool arm(Instant) noexcept override { return guest.outbox.empty(); }

 private:
  Fd bell_;
  std::vector<Data> arrived_;
  long lent_ = 0;
};

/// A guest behind a loop with a thread of its own, or one that this thread dispatches.
class LoopWorld {
 public:
  explicit LoopWorld(bool own_thread) : loop_({.own_thread = own_thread}), own_(own_thread) {
    loop_.add(std::make_unique<slirp::SlirpPort>(slirp::make_config({}), Log(), real_now()),
              "slirp");
    auto door = std::make_unique<Door>();
    door_ = door.get();
    loop_.add(std::move(door), "door");
  }
  /// Runs `fn` where the guest may be touched, then lets the frames out.
  template <typename Fn>
  void with(Fn&& fn) {
    loop_.call([&](sw::Switch&) {
      fn(door_->guest);
      door_->ring();
    });
    turn();
  }
  template <typename Done>
  bool until(Done&& done) {
    for (int i = 0; i < 3000; ++i) {
      bool yes = false;
      loop_.call([&](sw::Switch&) { yes = done(door_->guest); });
      if (yes) return true;
      turn();
    }
    return false;
  }

 private:
  void turn() {
    pollfd p{own_ ? -1 : loop_.fd(), POLLIN, 0};
    ::poll(&p, 1, 1);
    if (!own_) loop_.dispatch();
  }
  backend::Loop loop_;
  bool own_;
  Door* door_ = nullptr;
};

void host_goes_over_a_loop(bool own_thread) {
  default_sigpipe();
  LoopWorld w(own_thread);
  w.with([](Guest& g) { g.ask_lease(); });
  ASSERT_TRUE(w.until([](Guest& g) { return g.ip != 0; }));
  w.with([](Guest& g) { g.announce(); });
  for (int round = 0; round < 10; ++round) {
    const Fd listener = tcp_listener();
    TcpConn* c = nullptr;
    w.with([&](Guest& g) { c = &g.connect(kGateway, local_of(listener.get()).port()); });
    Stream host;
    ASSERT_TRUE(w.until([&](Guest&) { return static_cast<bool>(host = accept_on(listener)); }));
    w.with([&](Guest&) { c->write(pattern(1 << 20)); });
    if (round % 2) host.reset();
    host.close();
    for (int i = 0; i < 20; ++i)
      w.with([&](Guest&) { c->segment(sw::kTcpAck | sw::kTcpPsh, pattern(1000)); });
    w.with([&](Guest&) { c->abort(); });
  }
  w.with([](Guest& g) { g.ping(kGateway, 1, 1, text("alive")); });
  EXPECT_TRUE(w.until([](Guest& g) { return !g.messages.empty(); }));
}

TEST(NatSignals, T_NAT_13_OverALoopWithItsThread) {
  EXPECT_EQ(in_child([] { host_goes_over_a_loop(true); }), 0);
}
TEST(NatSignals, T_NAT_13_OverALoopThatTheHostRuns) {
  EXPECT_EQ(in_child([] { host_goes_over_a_loop(false); }), 0);
}

}  // namespace
}  // namespace rp::test
