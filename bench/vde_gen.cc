// SPDX-License-Identifier: BSD-3-Clause
// vde_gen.cc - one frame's latency from one client of a VDE switch to another one.
//
// The same frames and the same loop as virtio_user_gen's; prints one line of JSON.
#include <fcntl.h>
#include <getopt.h>

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
  pid_t back_end = 0;
};

/// A client of the switch; sends its own frame, and expects the other client's.
class Client {
 public:
  Client(const Options& o, unsigned id)
      : frame_(make_frame(o.size, id)), expected_(make_frame(o.size, 1 - id)) {
    vde_open_args args{};
    std::string url = o.url, description = "ringplug benchmark";
    conn_ = ::vde_open(url.data(), description.data(), &args);
    if (conn_ == nullptr) fail("no VDE switch at " + url);
    const int fd = ::vde_datafd(conn_);
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  }
  ~Client() { ::vde_close(conn_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  std::uint64_t errors = 0;

  void send(const Stamp& stamp) {
    std::memcpy(&frame_[kEthernet], &stamp, sizeof stamp);
    ::vde_send(conn_, frame_.data(), frame_.size(), 0);
  }

  std::optional<Stamp> receive() {
    std::uint8_t got[2048];
    const ssize_t n = ::vde_recv(conn_, got, sizeof got, 0);
    if (n <= 1) return std::nullopt;  // libvdeplug says 1 for what is not a frame
    if (static_cast<std::size_t>(n) != expected_.size()) {
      ++errors;
      return std::nullopt;
    }
    Stamp stamp;
    std::memcpy(&stamp, got + kEthernet, sizeof stamp);
    std::memcpy(&expected_[kEthernet], &stamp, sizeof stamp);
    errors += std::memcmp(got, expected_.data(), expected_.size()) != 0;
    return stamp;
  }

 private:
  VDECONN* conn_;
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

constexpr char kUsage[] =
    "usage: vde_gen --url SWITCH [--size N] [--seconds S] [--interval-us N] [--cpu-of PID]";

Options parse(int argc, char** argv) {
  Options o;
  const option longs[] = {{"url", 1, nullptr, 'v'},     {"size", 1, nullptr, 's'},
                          {"seconds", 1, nullptr, 't'}, {"interval-us", 1, nullptr, 'i'},
                          {"cpu-of", 1, nullptr, 'u'},  {nullptr, 0, nullptr, 0}};
  for (int c; (c = ::getopt_long(argc, argv, "", longs, nullptr)) != -1;) {
    const auto number = [] { return std::strtoul(optarg, nullptr, 10); };
    switch (c) {
      case 'v':
        o.url = optarg;
        break;
      case 's':
        o.size = number();
        break;
      case 't':
        o.seconds = std::strtod(optarg, nullptr);
        break;
      case 'i':
        o.interval_us = number();
        break;
      case 'u':
        o.back_end = static_cast<pid_t>(number());
        break;
      default:
        fail(kUsage);
    }
  }
  if (o.url == nullptr || optind != argc) fail(kUsage);
  if (o.size < kEthernet + sizeof(Stamp) || o.size > 1514) fail("--size is 38 to 1514");
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    latency(parse(argc, argv));
  } catch (const std::exception& e) {
    std::fprintf(stderr, "vde_gen: %s\n", e.what());
    return 1;
  }
  return 0;
}
