// SPDX-License-Identifier: BSD-3-Clause
// nat_world.h - some guests on one SlirpPort under a fake clock, with real sockets on the host's
// side.
//
// The clock starts at the real one, as the port's timer descriptor is a real one, and then only
// goes as the test says: 1 ms a quiet turn, or advance(). Every loop is bounded by turns.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <time.h>

#include <map>

#include "base/signal_guard.h"
#include "slirp/slirp_port.h"
#include "switch/offload.h"
#include "tests/slirp/host.h"
#include "tests/slirp/mini_guest.h"

namespace rp::test {

inline constexpr std::uint32_t kGateway = ip4(10, 0, 2, 2), kDns = ip4(10, 0, 2, 3);
inline constexpr std::uint32_t kFar = ip4(192, 0, 2, 1);

using Options = std::initializer_list<std::pair<std::string, std::string>>;

inline Instant real_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

class World {
 public:
  static constexpr int kTurns = 4000;

  explicit World(Options options = {}, Instant start = real_now())
      : now(start), port(slirp::make_config(options), Log(take_log, this), start) {
    burst_->on_hand_over([this] {
      handed_over += burst_->size();
      take_burst();
    });
  }

  Instant now;
  std::vector<std::string> log;
  std::deque<Guest> guests;
  std::size_t handed_over = 0;  ///< frames that came without a copy
  std::size_t long_lent = 0;    ///< frames of 16 KiB or more that did not
  std::size_t vouched = 0;      ///< frames whose checksum a guest need not look at
  std::size_t to_be_cut = 0;    ///< frames that came as long segments

 private:  // constructed with `log` in place
  static void take_log(void* opaque, int, const char* sentence) {
    static_cast<World*>(opaque)->log.emplace_back(sentence);
  }

 public:
  slirp::SlirpPort port;

  /// A guest that has its lease and is known to the gateway.
  Guest& add_guest() {
    Guest& g = add_silent_guest();
    g.ask_lease();
    until([&] { return g.ip != 0; });
    g.announce();
    settle();
    return g;
  }
  /// A guest that has sent nothing.
  Guest& add_silent_guest() {
    const auto n = static_cast<std::uint8_t>(guests.size() + 1);
    return guests.emplace_back(sw::PortId{n}, n);
  }

  /// Runs turns until `done` says so. False: the turns ran out.
  template <typename Done>
  bool until(Done&& done, int turns = kTurns) {
    for (int i = 0; i < turns; ++i) {
      if (done()) return true;
      turn();
    }
    return done();
  }
  /// Runs until nothing has happened for some turns.
  void settle() {
    int quiet = 0;
    for (int i = 0; i < kTurns && quiet < 8; ++i) quiet = turn() ? 0 : quiet + 1;
  }
  void advance(Instant by) { now += by; }
  /// Lets fake time pass as an idle loop would see it, `step` at a time.
  void pass(Instant time, Instant step = 500ms) {
    for (Instant t{}; t < time; t += step) {
      advance(step);
      turn();
    }
    settle();
  }

  /// True: frames moved.
  bool turn() {
    const SignalsBlocked no_signals;
    bool moved = send_all();
    for (int i = 0; i < 64 && receive_all(); ++i) moved = true;
    if (moved || !port.arm(now)) return moved;
    pollfd p{port.poll_fd(), POLLIN, 0};
    ::poll(&p, 1, 1);
    port.disarm();
    now += 1ms;
    return false;
  }

  /// One burst each way, whatever else waits.
  void exchange() {
    const SignalsBlocked no_signals;
    send_all();
    receive_all();
  }

  std::uint64_t counter(std::string_view name) const {
    std::uint64_t found = ~std::uint64_t{0};
    port.report([&](std::string_view n, std::uint64_t v) {
      if (n == name) found = v;
    });
    return found;
  }

  /// Sends one frame past every outbox.
  void inject(sw::PortId from, const Data& frame, const sw::Offload& offload = {}) {
    const SignalsBlocked no_signals;
    inject_unguarded(from, frame, offload);
  }

 private:
  void inject_unguarded(sw::PortId from, const Data& frame, const sw::Offload& offload = {}) {
    sw::Frame f;
    sw::Part part;
    sw::make_frame(f, part, frame);
    f.ingress = from;
    f.offload = offload;
    const sw::Frame* one = &f;
    port.send({&one, 1}, now);
  }
  bool send_all() {
    bool sent = false;
    for (Guest& g : guests) {
      for (; !g.outbox.empty(); g.outbox.pop_front()) {
        inject_unguarded(g.port, g.outbox.front());
        sent = true;
      }
    }
    if (sent) port.flush(now);
    return sent;
  }
  bool receive_all() {
    frames_.clear();
    port.receive(*burst_, now);
    for (const sw::Frame& f : burst_->frames()) long_lent += f.len >= 16384;
    take_burst();
    port.release();
    for (const Data& f : frames_) deliver(f);
    send_all();
    return !frames_.empty();
  }
  void take_burst() {
    for (sw::Frame& f : burst_->frames()) {
      ASSERT_TRUE(sw::check_offload(f));
      if (f.offload.flags & VIRTIO_NET_HDR_F_DATA_VALID) ++vouched;
      if (f.offload.is_gso()) ++to_be_cut;
      segmenter_.finish(f, {}, [&](const sw::Frame& whole) {
        frames_.emplace_back(whole.len);
        whole.copy_to(frames_.back().data());
      });
    }
    burst_->clear();
  }
  void deliver(const Data& frame) {
    const auto dst = *read_at<sw::Mac>(frame, 0);
    for (Guest& g : guests) {
      if (dst.is_group() || dst == g.mac) g.take(frame);
    }
  }

  std::unique_ptr<sw::Burst> burst_ = std::make_unique<sw::Burst>();
  sw::Segmenter segmenter_;
  std::vector<Data> frames_;  ///< of the turn
};

/// The host's end of a connection that a guest makes to a listener on the host.
inline Stream accept_in(World& w, const Fd& listener, Address* peer = nullptr) {
  Stream s;
  w.until([&] { return static_cast<bool>(s = accept_on(listener, peer)); });
  return s;
}

}  // namespace rp::test
