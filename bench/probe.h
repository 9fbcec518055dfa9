// SPDX-License-Identifier: BSD-3-Clause
// probe.h - what the traffic generators share: the frame they send, the latency loop, CPU accounts.
#pragma once

#include <arpa/inet.h>
#include <dirent.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace rp::bench {

using Mac = std::array<std::uint8_t, 6>;
inline constexpr Mac kMacs[2] = {{2, 0, 0, 0, 0, 0xa}, {2, 0, 0, 0, 0, 0xb}};
inline constexpr std::size_t kEthernet = 14;

/// What makes one frame differ from the next.
struct Stamp {
  std::uint64_t magic = 0x52494e47504c5547;
  std::uint64_t seq = 0;
  std::uint64_t sent_ns = 0;
};

/// A frame from one of the two MACs to the other. Each byte after the header tells its offset.
inline std::vector<std::uint8_t> make_frame(std::size_t size, unsigned from) {
  std::vector<std::uint8_t> f(size);
  for (std::size_t i = 0; i < size; ++i) f[i] = static_cast<std::uint8_t>(i);
  std::copy(kMacs[1 - from].begin(), kMacs[1 - from].end(), f.begin());
  std::copy(kMacs[from].begin(), kMacs[from].end(), f.begin() + 6);
  f[12] = 0x88;  // the EtherType for local experiments
  f[13] = 0xb5;
  return f;
}

inline std::uint64_t now_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(t.tv_nsec);
}

/// How long the process's threads stood ready without a core, which is what disturbs a sample.
inline double delayed_seconds(pid_t pid) {
  const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* dir = ::opendir(tasks.c_str());
  if (dir == nullptr) return 0;
  std::uint64_t total = 0;
  while (const dirent* entry = ::readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    FILE* f = std::fopen((tasks + "/" + entry->d_name + "/schedstat").c_str(), "re");
    if (f == nullptr) continue;
    std::uint64_t delay = 0;
    if (std::fscanf(f, "%*u %" SCNu64, &delay) == 1) total += delay;
    std::fclose(f);
  }
  ::closedir(dir);
  return static_cast<double>(total) / 1e9;
}

/// Counts the back end's CPU time, and the disturbance of both sides, from its making on.
class Account {
 public:
  enum class Own {
    one_thread,
    sharing_a_core  ///< our threads wait for each other then, so the back end alone is looked at
  };

  explicit Account(pid_t back_end, Own own = Own::one_thread)
      : pid_(back_end), own_(own), cpu_(cpu()), delayed_(delayed()) {}

  /// Prints `"cpu_s": 1.2, "delayed_s": 0.1` of the time since.
  void print() const {
    if (pid_ != 0) std::printf("\"cpu_s\": %.6f, ", cpu() - cpu_);
    std::printf("\"delayed_s\": %.6f", delayed() - delayed_);
  }

 private:
  double cpu() const {
    clockid_t clock{};
    timespec t{};
    if (pid_ == 0) return 0;
    if (::clock_getcpuclockid(pid_, &clock) != 0 || ::clock_gettime(clock, &t) != 0)
      throw std::runtime_error("the back end is gone");
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
  }
  double delayed() const {
    return (own_ == Own::one_thread ? delayed_seconds(::getpid()) : 0) +
           (pid_ != 0 ? delayed_seconds(pid_) : 0);
  }

  pid_t pid_;
  Own own_;
  double cpu_, delayed_;
};

struct Latencies {
  std::vector<std::uint64_t> ns;
  std::uint64_t lost = 0;

  /// Prints `"frames": 10, "lost": 0, "p50_us": 1.2, "p99_us": 3.4`.
  void print() {
    if (ns.empty()) throw std::runtime_error("no frame came");
    const auto percentile = [this](std::size_t p) {
      const auto at = ns.begin() + static_cast<std::ptrdiff_t>((ns.size() - 1) * p / 100);
      std::nth_element(ns.begin(), at, ns.end());
      return static_cast<double>(*at) / 1000;
    };
    std::printf("\"frames\": %zu, \"lost\": %" PRIu64 ", \"p50_us\": %.3f, \"p99_us\": %.3f",
                ns.size(), lost, percentile(50), percentile(99));
  }
};

/// One frame in flight at a time, and not more than one each `interval_ns`.
///
/// `send(stamp)` hands a frame over, `receive()` returns the stamp of one that came, if any. The
/// receiver never sleeps: what is measured is the way through the back end alone.
template <class Send, class Receive>
Latencies measure_latency(double seconds, std::uint64_t interval_ns, Send send, Receive receive) {
  constexpr std::uint64_t kLost = 100'000'000;
  Latencies found;
  found.ns.reserve(1 << 21);
  Stamp stamp;
  std::uint64_t now = now_ns();
  const std::uint64_t end = now + static_cast<std::uint64_t>(seconds * 1e9);
  while (now < end) {
    stamp.seq = stamp.sent_ns = now_ns();  // one that never comes again
    send(stamp);
    std::optional<Stamp> came;
    do {
      came = receive();
      now = now_ns();
    } while ((!came || came->seq != stamp.seq) && now - stamp.sent_ns < kLost);
    if (came)
      found.ns.push_back(now - came->sent_ns);
    else
      ++found.lost;
    while (now - stamp.sent_ns < interval_ns) now = now_ns();
  }
  return found;
}

}  // namespace rp::bench
