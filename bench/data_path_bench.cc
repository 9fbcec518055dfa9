// SPDX-License-Identifier: BSD-3-Clause
// data_path_bench.cc - frames/s and ns/frame of the ring, the switch, and plug to plug.
//
// items_per_second are frames/s, "per frame" is the time each took. Sizes: 60 B, 1514 B and 64 KiB.
#include <benchmark/benchmark.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "api/ringplug.h"
#include "backend/plug.h"
#include "backend/ring_port.h"
#include "switch/checksum.h"
#include "switch/switch.h"

namespace {

using namespace rp;

constexpr std::size_t kBatch = 32;

std::vector<std::uint8_t> frame(std::size_t size, std::uint8_t dst, std::uint8_t src) {
  std::vector<std::uint8_t> f(size, 0x5a);
  const std::uint8_t header[] = {2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 0x88, 0xb5};
  std::copy(std::begin(header), std::end(header), f.begin());
  return f;
}

void report(benchmark::State& state, std::size_t frames) {
  state.SetItemsProcessed(static_cast<std::int64_t>(frames));
  state.SetBytesProcessed(static_cast<std::int64_t>(frames) * state.range(0));
  state.counters["per frame"] = benchmark::Counter(
      static_cast<double>(frames), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void sizes(benchmark::internal::Benchmark* b) {
  b->Arg(60)->Arg(1514)->Arg(65549);
}

/// Lends the same frames again and again, and swallows what it gets.
class SourceSink final : public sw::Port {
 public:
  using Frames = std::vector<std::vector<std::uint8_t>>;
  explicit SourceSink(std::vector<std::uint8_t> f) : frames_{std::move(f)} {}
  SourceSink(Frames frames, sw::Offloads can) : frames_(std::move(frames)), can_(can) {}
  std::size_t swallowed = 0;
  int poll_fd() const noexcept override { return -1; }
  sw::Offloads offloads() const noexcept override { return can_; }
  void receive(sw::Burst& burst, Instant) noexcept override {
    for (std::size_t i = 0; burst.add(frames_[i]); i = i + 1 == frames_.size() ? 0 : i + 1) {
    }
  }
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    swallowed += frames.size();
    return 0;
  }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return true; }

 private:
  Frames frames_;
  sw::Offloads can_;
};

/// Classify and deliver alone: no bytes are copied but each frame's head.
void BM_Switch(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  sw::Switch s;
  const auto a = s.add(std::make_unique<SourceSink>(frame(size, 2, 1)), "a");
  const auto b = s.add(std::make_unique<SourceSink>(frame(size, 1, 2)), "b");
  s.turn(a, 1s);
  s.turn(b, 1s);
  std::size_t frames = 0;
  for (auto _ : state) {
    frames += s.turn(a, 1s);
    s.flush(1s, [](sw::PortId) {});
  }
  report(state, frames);
}
BENCHMARK(BM_Switch)->Apply(sizes);

/// A burst of TCP segments of `flows` flows in turn, as one sender hands them over; DF is set.
SourceSink::Frames segments(std::size_t size, std::size_t flows) {
  SourceSink::Frames out;
  for (std::size_t i = 0; i < sw::Burst::kFrames; ++i) {
    auto f = frame(size, 2, 1);
    sw::Ipv4Header ip{0x45,
                      0,
                      Be16(static_cast<std::uint16_t>(size - 14)),
                      {},
                      Be16(0x4000),
                      64,
                      sw::kProtoTcp,
                      {},
                      Be32(0x0a000001),
                      Be32(0x0a000002)};
    ip.checksum.set(sw::checksum_finish(
        sw::checksum_add(0, {reinterpret_cast<const std::uint8_t*>(&ip), sizeof ip})));
    sw::TcpHeader tcp{};
    tcp.sport.set(static_cast<std::uint16_t>(1024 + i % flows));
    tcp.seq.set(static_cast<std::uint32_t>(i / flows * (size - 54)));
    tcp.data_offset = 0x50;
    tcp.flags = sw::kTcpAck;
    const std::span<std::uint8_t> bytes(f);
    write_at(bytes, 12, Be16(sw::kEtherIpv4));
    write_at(bytes, 14, ip);
    write_at(bytes, 34, tcp);
    const auto length = static_cast<std::uint32_t>(size - 34);
    tcp.checksum.set(sw::checksum_finish(
        sw::checksum_add(sw::pseudo_sum(ip, sw::kProtoTcp, length), bytes.subspan(34))));
    write_at(bytes, 34, tcp);
    out.push_back(std::move(f));
  }
  return out;
}

void towards_tso(benchmark::State& state, SourceSink::Frames frames) {
  constexpr sw::Offloads kTso{.csum = true, .tso4 = true, .tso6 = true};
  const auto size = frames[0].size();
  sw::Switch s;
  const auto a = s.add(std::make_unique<SourceSink>(std::move(frames), sw::Offloads{}), "a");
  auto sink = std::make_unique<SourceSink>(SourceSink::Frames{frame(size, 1, 2)}, kTso);
  const SourceSink& to = *sink;
  const auto b = s.add(std::move(sink), "b");
  s.turn(a, 1s);
  s.turn(b, 1s);
  std::size_t count = 0;
  const std::size_t before = to.swallowed;
  for (auto _ : state) {
    count += s.turn(a, 1s);
    s.flush(1s, [](sw::PortId) {});
  }
  report(state, count);
  state.counters["merged into one"] =
      static_cast<double>(count) / static_cast<double>(to.swallowed - before);
}

/// What a port that takes TSO costs those whose frames can't be merged.
void BM_SwitchToTso(benchmark::State& state) {
  towards_tso(state, {frame(static_cast<std::size_t>(state.range(0)), 2, 1)});
}
BENCHMARK(BM_SwitchToTso)->Apply(sizes);

/// Segments of so many flows in turn, their checksums verified in software.
void BM_SwitchSegments(benchmark::State& state) {
  const auto flows = static_cast<std::size_t>(state.range(1));
  towards_tso(state, segments(static_cast<std::size_t>(state.range(0)), flows));
}
BENCHMARK(BM_SwitchSegments)->ArgsProduct({{60, 1514}, {1, 4, 16}});

/// Both ends of one ring on one thread: in by the driver, lent to the switch, and completed.
void BM_Ring(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  auto memory = backend::PlugMemory::create();
  backend::RingPort port(memory.duplicate(), {});
  backend::Plug plug(std::move(memory));
  const auto f = frame(size, 2, 1);
  auto burst = std::make_unique<sw::Burst>();
  std::size_t frames = 0;
  const std::size_t batch = size > 4096 ? 8 : kBatch;
  for (auto _ : state) {
    for (std::size_t i = 0; i < batch; ++i) plug.send(f, {});
    plug.kick();
    burst->clear();
    port.receive(*burst, 1s);
    frames += burst->size();
    port.release();
  }
  report(state, frames);
}
BENCHMARK(BM_Ring)->Apply(sizes);

/// Two plugs on one switch on one thread: two copies a frame (in and out), ring to ring one.
void BM_RingSwitchRing(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  sw::Switch s;
  auto ma = backend::PlugMemory::create();
  auto mb = backend::PlugMemory::create();
  const auto a = s.add(std::make_unique<backend::RingPort>(ma.duplicate(), sw::Offloads{}), "a");
  const auto b = s.add(std::make_unique<backend::RingPort>(mb.duplicate(), sw::Offloads{}), "b");
  backend::Plug pa(std::move(ma)), pb(std::move(mb));
  const auto back = frame(60, 1, 2);
  pb.send(back, {});
  pb.kick();
  s.turn(b, 1s);
  s.flush(1s, [](sw::PortId) {});
  const auto f = frame(size, 2, 1);
  const std::size_t batch = size > 4096 ? 8 : kBatch;
  std::size_t frames = 0;
  std::array<backend::Plug::Received, 64> got;
  for (auto _ : state) {
    for (std::size_t i = 0; i < batch; ++i) pa.send(f, {});
    pa.kick();
    s.turn(a, 1s);
    s.flush(1s, [](sw::PortId) {});
    while (const std::size_t n = pb.peek(got)) {
      pb.release(n);
      frames += n;
    }
  }
  report(state, frames);
}
BENCHMARK(BM_RingSwitchRing)->Apply(sizes);

/// Through the C ABI: a sender thread, the switch's thread, and this one, which receives in
/// batches.
void BM_PlugToPlug(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  rp_error err = RP_ERROR_INIT;
  rp_switch* sw = nullptr;
  rp_plug *a = nullptr, *b = nullptr;
  if (rp_switch_new(nullptr, &sw, &err) || rp_plug_join(sw, nullptr, &a, &err) ||
      rp_plug_join(sw, nullptr, &b, &err)) {
    state.SkipWithError(err.message);
    return;
  }
  auto hello = frame(60, 1, 2);
  rp_plug_send(b, hello.data(), hello.size());
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    auto f = frame(size, 2, 1);
    std::vector<rp_frame> batch(kBatch, rp_frame{f.data(), f.size(), {}});
    while (!stop.load(std::memory_order_relaxed)) {
      if (rp_plug_send_batch(a, batch.data(), batch.size()) == 0) std::this_thread::yield();
    }
  });
  std::vector<std::uint8_t> space(kBatch * RP_MAX_FRAME);
  std::vector<rp_frame> batch(kBatch);
  std::size_t frames = 0;
  pollfd readable{rp_plug_fd(b), POLLIN, 0};
  for (auto _ : state) {
    for (std::size_t i = 0; i < kBatch; ++i)
      batch[i] = {space.data() + i * RP_MAX_FRAME, RP_MAX_FRAME, {}};
    const std::size_t n = rp_plug_recv_batch(b, batch.data(), kBatch);
    if (n == 0) poll(&readable, 1, 100);
    frames += n;
  }
  stop = true;
  sender.join();
  report(state, frames);
  rp_plug_close(a);
  rp_plug_close(b);
  rp_switch_free(sw);
}
BENCHMARK(BM_PlugToPlug)->Apply(sizes)->UseRealTime();

/// One frame there and back, each side asleep until it comes.
void BM_PlugRoundTrip(benchmark::State& state) {
  const auto size = static_cast<std::size_t>(state.range(0));
  rp_error err = RP_ERROR_INIT;
  rp_switch* sw = nullptr;
  rp_plug *a = nullptr, *b = nullptr;
  if (rp_switch_new(nullptr, &sw, &err) || rp_plug_join(sw, nullptr, &a, &err) ||
      rp_plug_join(sw, nullptr, &b, &err)) {
    state.SkipWithError(err.message);
    return;
  }
  std::atomic<bool> stop{false};
  const auto wait = [](rp_plug* p, std::vector<std::uint8_t>& to) {
    pollfd readable{rp_plug_fd(p), POLLIN, 0};
    return poll(&readable, 1, 100) > 0 && rp_plug_recv(p, to.data(), to.size()) > 0;
  };
  std::thread echo([&] {
    std::vector<std::uint8_t> got(RP_MAX_FRAME);
    auto f = frame(size, 1, 2);
    while (!stop) {
      if (wait(b, got)) rp_plug_send(b, f.data(), f.size());
    }
  });
  std::vector<std::uint8_t> got(RP_MAX_FRAME);
  auto f = frame(size, 2, 1);
  std::size_t frames = 0;
  for (auto _ : state) {
    rp_plug_send(a, f.data(), f.size());
    frames += wait(a, got);
  }
  stop = true;
  echo.join();
  report(state, frames);
  rp_plug_close(a);
  rp_plug_close(b);
  rp_switch_free(sw);
}
BENCHMARK(BM_PlugRoundTrip)->Arg(60)->UseRealTime();

/// From a locator's text to a plug that works, and its close; the median is of the open alone.
void BM_PlugOpen(benchmark::State& state) {
  std::vector<double> seconds;
  for (auto _ : state) {
    rp_error err = RP_ERROR_INIT;
    rp_plug* plug = nullptr;
    const auto start = std::chrono::steady_clock::now();
    if (rp_plug_open("slirp", nullptr, &plug, &err) != 0) {
      state.SkipWithError(err.message);
      return;
    }
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    rp_plug_close(plug);
  }
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<long>(seconds.size() / 2),
                   seconds.end());
  state.counters["median open, s"] = seconds[seconds.size() / 2];
}
BENCHMARK(BM_PlugOpen)->Iterations(200)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
