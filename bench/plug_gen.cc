// SPDX-License-Identifier: BSD-3-Clause
// plug_gen.cc - frames from one plug on a switch to another one: one at a time, or in batches.
//
// The same frames, the same latency loop and the same line of JSON as vde_gen. One thread sends and
// receives in turn, so that what is measured is one core's worth of plugs against one of switch.

#include "api/ringplug.h"
#include "bench/options.h"
#include "bench/probe.h"

namespace {

using namespace rp::bench;

constexpr std::size_t kBatch = 64;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

struct Options {
  const char* locator = nullptr;
  std::size_t size = 64;
  double seconds = 2;
  std::uint64_t interval_us = 100;
  bool flood = false;
  std::size_t crowd = 0;    ///< more plugs, idle while we measure
  bool broadcasts = false;  ///< the first frame of each batch is for everybody
  std::size_t stuck = 0;    ///< more plugs, which never take a frame
  pid_t back_end = 0;
};

/// A plug; sends its own frame, and expects the other plug's.
class Client {
 public:
  Client(const Options& o, unsigned id)
      : frame_(make_frame(o.size, id)), broadcast_(frame_), expected_(make_frame(o.size, 1 - id)) {
    rp_error err = RP_ERROR_INIT;
    if (rp_plug_open(o.locator, nullptr, &plug_, &err) != RP_OK) fail(err.message);
    for (std::size_t i = 0; i < kBatch; ++i) {
      out_[i] = {frame_.data(), frame_.size(), {}};
      in_[i].data = buffers_[i].data();
    }
    if (o.broadcasts) {
      std::fill_n(broadcast_.begin(), 6, std::uint8_t{0xff});
      out_[0].data = broadcast_.data();
    }
  }
  ~Client() { rp_plug_close(plug_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  std::uint64_t errors = 0;

  void send(const Stamp& stamp) {
    std::memcpy(&frame_[kEthernet], &stamp, sizeof stamp);
    rp_plug_send(plug_, frame_.data(), frame_.size());
  }
  std::optional<Stamp> receive() {
    if (rp_plug_recv(plug_, buffers_[0].data(), buffers_[0].size()) !=
        static_cast<ssize_t>(frame_.size()))
      return std::nullopt;
    return check(buffers_[0].data());
  }

  std::size_t send_batch() { return rp_plug_send_batch(plug_, out_.data(), kBatch); }
  std::size_t receive_batch() {
    for (rp_frame& f : in_) f.length = buffers_[0].size();
    const std::size_t n = rp_plug_recv_batch(plug_, in_.data(), kBatch);
    for (std::size_t i = 0; i < n; ++i) errors += in_[i].length != frame_.size();
    if (n > 0) check(buffers_[n - 1].data());
    return n;
  }

 private:
  Stamp check(const std::uint8_t* got) {
    Stamp stamp;
    std::memcpy(&stamp, got + kEthernet, sizeof stamp);
    std::memcpy(&expected_[kEthernet], &stamp, sizeof stamp);
    const std::size_t from = got[0] == 0xff ? 6 : 0;  // a broadcast has an address of its own
    errors += std::memcmp(got + from, expected_.data() + from, expected_.size() - from) != 0;
    return stamp;
  }

  rp_plug* plug_ = nullptr;
  std::vector<std::uint8_t> frame_, broadcast_, expected_;
  std::array<std::array<std::uint8_t, 2048>, kBatch> buffers_;
  std::array<rp_frame, kBatch> out_{}, in_{};
};

void until_frames_pass(Client& a, Client& b) {
  const std::uint64_t start = now_ns();
  for (unsigned from_a = 0, from_b = 0; from_a < 8 || from_b < 8;) {
    const std::uint64_t sent = now_ns();
    if (sent - start > 10'000'000'000) fail("no frames pass both ways within 10 s");
    a.send({.sent_ns = sent});
    b.send({.sent_ns = sent});
    while (now_ns() - sent < 1'000'000) {
      from_a += b.receive().has_value();
      from_b += a.receive().has_value();
    }
  }
}

/// Plugs that are there, and take nothing.
class Idle {
 public:
  Idle(const char* locator, std::size_t n) : plugs_(n) {
    rp_error err = RP_ERROR_INIT;
    for (rp_plug*& plug : plugs_)
      if (rp_plug_open(locator, nullptr, &plug, &err) != RP_OK) fail(err.message);
  }
  ~Idle() {
    for (rp_plug* p : plugs_) rp_plug_close(p);
  }
  Idle(const Idle&) = delete;
  Idle& operator=(const Idle&) = delete;

  std::size_t size() const { return plugs_.size(); }
  rp_plug* operator[](std::size_t i) const { return plugs_[i]; }

 private:
  std::vector<rp_plug*> plugs_;
};

/// Has the switch know kStations addresses, each plug's share.
void learn_stations(const Idle& crowd) {
  constexpr std::size_t kStations = 60000;
  if (crowd.size() == 0) return;
  for (std::size_t n = 0; n < kStations; ++n) {
    auto frame = make_frame(60, 0);
    frame[6] = 6;
    std::memcpy(&frame[8], &n, 4);
    // A frame to itself: it is learned, and goes nowhere.
    std::copy_n(&frame[6], 6, &frame[0]);
    rp_plug* const plug = crowd[n % crowd.size()];
    while (rp_plug_send(plug, frame.data(), frame.size()) == RP_ERESOURCES) ::usleep(100);
  }
  ::usleep(500000);
}

void latency(const Options& o) {
  const Idle crowd(o.locator, o.crowd);
  learn_stations(crowd);
  Client a(o, 0), b(o, 1);
  until_frames_pass(a, b);
  const auto send = [&](const Stamp& s) { a.send(s); };
  const auto receive = [&] { return b.receive(); };
  measure_latency(0.3, o.interval_us * 1000, send, receive);
  const Account account(o.back_end);
  Latencies found = measure_latency(o.seconds, o.interval_us * 1000, send, receive);
  std::printf("{");
  account.print();
  std::printf(", ");
  found.print();
  std::printf(", \"errors\": %" PRIu64 "}\n", a.errors + b.errors);
}

struct Counted {
  std::uint64_t sent = 0, received = 0;
};

Counted exchange(Client& a, Client& b, double seconds) {
  Counted c;
  const std::uint64_t end = now_ns() + static_cast<std::uint64_t>(seconds * 1e9);
  std::uint64_t now = 0;
  do {
    for (int i = 0; i < 16; ++i) {
      c.sent += a.send_batch();
      c.received += b.receive_batch();
    }
    now = now_ns();
  } while (now < end);
  // What is under way still counts, for as long as something comes.
  for (std::uint64_t last = now; now_ns() - last < 20'000'000;) {
    const std::size_t n = b.receive_batch();
    if (n == 0) continue;
    c.received += n;
    last = now_ns();
  }
  return c;
}

void flood(const Options& o) {
  const Idle crowd(o.locator, o.crowd), stuck(o.locator, o.stuck);
  learn_stations(crowd);
  Client a(o, 0), b(o, 1);
  until_frames_pass(a, b);
  exchange(a, b, 0.3);
  const Account account(o.back_end);
  const Counted c = exchange(a, b, o.seconds);
  std::printf("{");
  account.print();
  std::printf(", \"tx\": %" PRIu64 ", \"rx\": %" PRIu64 ", \"rx_per_s\": %.0f, \"lost\": %" PRIu64
              ", \"errors\": %" PRIu64 "}\n",
              c.sent, c.received, static_cast<double>(c.received) / o.seconds, c.sent - c.received,
              a.errors + b.errors);
}

constexpr char kUsage[] =
    "usage: plug_gen --plug LOCATOR [--size N] [--seconds S] [--cpu-of PID] "
    "[--interval-us N | --flood] [--crowd PLUGS] [--broadcasts] [--stuck PLUGS]";

Options parse(int argc, char** argv) {
  Options o;
  parse_options(argc, argv,
                {{"plug", &o.locator},
                 {"size", &o.size},
                 {"seconds", &o.seconds},
                 {"interval-us", &o.interval_us},
                 {"cpu-of", &o.back_end},
                 {"flood", &o.flood},
                 {"crowd", &o.crowd},
                 {"broadcasts", &o.broadcasts},
                 {"stuck", &o.stuck}},
                kUsage);
  if (o.locator == nullptr) fail(kUsage);
  if (o.size < kEthernet + sizeof(Stamp) || o.size > 1514) fail("--size is 38 to 1514");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options o = parse(argc, argv);
    o.flood ? flood(o) : latency(o);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "plug_gen: %s\n", e.what());
    return 1;
  }
  return 0;
}
