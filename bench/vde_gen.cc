// SPDX-License-Identifier: BSD-3-Clause
// vde_gen.cc - frames from one client of a VDE switch to another one: one at a time, or many.
//
// One frame at a time is the same frame and the same loop as virtio_user_gen's. Many: one thread
// sends what the switch takes, or at a rate, and another one receives. Prints one line of JSON.
#include <fcntl.h>
#include <poll.h>

#include <atomic>
#include <memory>
#include <thread>

#include "bench/options.h"
#include "bench/probe.h"

extern "C" {
#include <libvdeplug.h>
}

namespace {

using namespace rp::bench;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

struct Options {
  const char* url = nullptr;
  std::size_t size = 64;
  double seconds = 2;
  std::uint64_t interval_us = 100;
  bool flood = false;
  double rate = 0;          ///< frames a second; 0: as many as go
  bool broadcasts = false;  ///< one frame in 64 is for everybody
  std::size_t stuck = 0;    ///< more clients, which never take a frame
  pid_t back_end = 0;
};

struct Hangup {
  void operator()(VDECONN* conn) const { ::vde_close(conn); }
};
using Connection = std::unique_ptr<VDECONN, Hangup>;

Connection connect(const Options& o) {
  vde_open_args args{};
  std::string url = o.url, description = "ringplug benchmark";
  Connection conn(::vde_open(url.data(), description.data(), &args));
  if (!conn) fail("no VDE switch at " + url);
  return conn;
}

/// A client of the switch; sends its own frame, and expects the other client's.
class Client {
 public:
  Client(const Options& o, unsigned id)
      : conn_(connect(o)),
        fd_(::vde_datafd(conn_.get())),
        broadcasts_(o.broadcasts),
        to_(kMacs[1 - id]),
        frame_(make_frame(o.size, id)),
        expected_(make_frame(o.size, 1 - id)) {
    ::fcntl(fd_, F_SETFL, ::fcntl(fd_, F_GETFL) | O_NONBLOCK);
  }

  std::uint64_t errors = 0;

  bool send(const Stamp& stamp) {
    const Mac& to = broadcasts_ && stamp.seq % 64 == 1 ? kEverybody : to_;
    std::copy(to.begin(), to.end(), frame_.begin());
    std::memcpy(&frame_[kEthernet], &stamp, sizeof stamp);
    return ::vde_send(conn_.get(), frame_.data(), frame_.size(), 0) > 0;
  }

  /// Waits until the switch takes the frame.
  bool send_patiently(const Stamp& stamp) {
    while (!send(stamp)) {
      if (errno != EAGAIN) return false;
      pollfd p{fd_, POLLOUT, 0};
      ::poll(&p, 1, 100);
    }
    return true;
  }
  bool wait(int ms) const {
    pollfd p{fd_, POLLIN, 0};
    return ::poll(&p, 1, ms) == 1;
  }

  std::optional<Stamp> receive() {
    std::uint8_t got[2048];
    const ssize_t n = ::vde_recv(conn_.get(), got, sizeof got, 0);
    if (n <= 1) return std::nullopt;  // libvdeplug says 1 for what is not a frame
    if (static_cast<std::size_t>(n) != expected_.size()) {
      ++errors;
      return std::nullopt;
    }
    Stamp stamp;
    std::memcpy(&stamp, got + kEthernet, sizeof stamp);
    std::memcpy(&expected_[kEthernet], &stamp, sizeof stamp);
    const std::size_t from = got[0] == 0xff ? 6 : 0;  // a broadcast has an address of its own
    errors += std::memcmp(got + from, &expected_[from], expected_.size() - from) != 0;
    return stamp;
  }

 private:
  static constexpr Mac kEverybody{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

  Connection conn_;
  int fd_;
  bool broadcasts_;
  Mac to_;
  std::vector<std::uint8_t> frame_, expected_;
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

void latency(const Options& o) {
  Client a(o, 0), b(o, 1);
  until_frames_pass(a, b);
  const auto send = [&](const Stamp& s) { (void)a.send(s); };
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
  std::uint64_t sent = 0, received = 0, disordered = 0;
};

/// Both sleep when there is nothing to do, as programs on a VDE switch do: the sender when the
/// switch takes no more, or until its next few frames are due, the receiver until a frame comes.
Counted exchange(Client& a, Client& b, double rate, double seconds) {
  constexpr std::uint64_t kTick = 1'000'000;
  Counted c;
  std::atomic<bool> over = false;
  std::thread receiver([&] {
    std::uint64_t last = 0;
    // What is under way still counts when the sender is done, for as long as something comes.
    for (bool ended = false; b.wait(20) || !ended; ended = over) {
      while (const auto came = b.receive()) {
        ++c.received;
        c.disordered += came->seq <= last;
        last = came->seq;
      }
    }
  });
  const std::uint64_t start = now_ns(), end = start + static_cast<std::uint64_t>(seconds * 1e9);
  for (std::uint64_t now = start; now < end; now = now_ns()) {
    const auto due =
        rate == 0
            ? c.sent + 64
            : static_cast<std::uint64_t>(static_cast<double>(now - start + kTick) / 1e9 * rate);
    while (c.sent < due && a.send_patiently({.seq = c.sent + 1})) ++c.sent;
    if (rate == 0) continue;
    const timespec next{0, kTick};
    ::nanosleep(&next, nullptr);
  }
  over = true;
  receiver.join();
  return c;
}

void flood(const Options& o) {
  std::vector<Connection> stuck(o.stuck);
  for (Connection& s : stuck) s = connect(o);
  Client a(o, 0), b(o, 1);
  until_frames_pass(a, b);
  exchange(a, b, o.rate, 0.3);
  const Account account(o.back_end, Account::Own::sharing_a_core);
  const std::uint64_t start = now_ns();
  const Counted c = exchange(a, b, o.rate, o.seconds);
  const double took = static_cast<double>(now_ns() - start) / 1e9 - 0.02;
  std::printf("{");
  account.print();
  std::printf(", \"tx\": %" PRIu64 ", \"rx\": %" PRIu64 ", \"rx_per_s\": %.0f, \"lost\": %" PRIu64
              ", \"errors\": %" PRIu64 "}\n",
              c.sent, c.received, static_cast<double>(c.received) / took, c.sent - c.received,
              a.errors + b.errors + c.disordered);
}

constexpr char kUsage[] =
    "usage: vde_gen --url SWITCH [--size N] [--seconds S] [--cpu-of PID] "
    "[--interval-us N | --flood [--rate FRAMES_PER_SECOND] [--broadcasts] [--stuck CLIENTS]]";

Options parse(int argc, char** argv) {
  Options o;
  parse_options(argc, argv,
                {{"url", &o.url},
                 {"size", &o.size},
                 {"seconds", &o.seconds},
                 {"interval-us", &o.interval_us},
                 {"cpu-of", &o.back_end},
                 {"flood", &o.flood},
                 {"rate", &o.rate},
                 {"broadcasts", &o.broadcasts},
                 {"stuck", &o.stuck}},
                kUsage);
  if (o.url == nullptr) fail(kUsage);
  if (o.size < kEthernet + sizeof(Stamp) || o.size > 1514) fail("--size is 38 to 1514");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const Options o = parse(argc, argv);
    o.flood ? flood(o) : latency(o);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "vde_gen: %s\n", e.what());
    return 1;
  }
  return 0;
}
