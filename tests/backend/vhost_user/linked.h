// SPDX-License-Identifier: BSD-3-Clause
// linked.h - a switch with a door, and plugs that come in through it, all in the test's process.
#pragma once

#include <dirent.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backend/loop.h"
#include "backend/plug.h"
#include "backend/vhost_user/door.h"
#include "backend/vhost_user/link.h"
#include "base/error.h"
#include "tests/backend/frames.h"
#include "tests/base/runtime.h"
#include "tests/base/soon.h"

namespace rp::backend {

using test::soon;

inline constexpr sw::Offloads kAllOffloads{true, true, true, true, true};

inline bool readable(int fd, int timeout_ms = 0) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, timeout_ms) == 1;
}

inline Log quiet() {
  return Log([](void*, int, const char*) {}, nullptr);
}

/// A switch that others join.
struct Hall {
  explicit Hall(const std::string& name = "lan0", bool on_demand = false) : loop({}) {
    door = loop.add(std::make_unique<vhost_user::Door>(name, on_demand), "door");
  }
  std::vector<std::string> ports() {
    std::vector<std::string> names;
    loop.call([&](sw::Switch& s) {
      s.each_port([&](sw::PortId id) { names.emplace_back(s.name(id)); });
    });
    return names;
  }
  /// By "port/counter"; those of ports with one name are added up.
  std::map<std::string, std::uint64_t> counters() {
    std::map<std::string, std::uint64_t> all;
    loop.call([&](sw::Switch& s) {
      s.report([&](sw::PortId, const std::string& port, std::string_view name, std::uint64_t n) {
        all[port + "/" + std::string(name)] += n;
      });
    });
    return all;
  }
  Loop loop;
  sw::PortId door;
};

/// A plug in such a switch.
struct LinkedPlug {
  explicit LinkedPlug(sw::Offloads can = kAllOffloads, const std::string& name = "lan0")
      : plug(PlugMemory::create()), link(name, plug, can, quiet()) {}
  bool send(std::span<const std::uint8_t> frame, const sw::Offload& o = {}) {
    const bool sent = plug.send(frame, o);
    plug.kick();
    return sent;
  }
  std::vector<Bytes> take(std::size_t n = sw::Burst::kFrames) {
    Plug::Received r[sw::Burst::kFrames];
    std::vector<Bytes> out;
    const std::size_t got = plug.peek({r, n});
    for (std::size_t i = 0; i < got; ++i) out.emplace_back(r[i].bytes.begin(), r[i].bytes.end());
    plug.release(got);
    return out;
  }
  /// The next frame; empty: none comes within 20 s.
  Bytes next() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < end) {
      if (!readable(plug.fd(), 20'000)) break;
      // A switch that came back may have woken us without a frame.
      if (const auto got = take(1); !got.empty()) return got[0];
    }
    return {};
  }
  Plug plug;
  vhost_user::Link link;
};

/// A frame of `size` bytes or 60 from station `from` to all, with its number and a pattern that
/// follows from that.
inline Bytes to_all(std::uint8_t from, std::size_t size, std::uint32_t number) {
  Bytes b = pattern(std::max<std::size_t>(size, 60), number);
  const std::uint8_t header[] = {255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, from, 0x88, 0xb5};
  std::copy(std::begin(header), std::end(header), b.begin());
  std::memcpy(b.data() + sizeof header, &number, sizeof number);
  return b;
}
inline std::uint32_t number_of(std::span<const std::uint8_t> frame) {
  std::uint32_t number = 0;
  if (frame.size() >= 18) std::memcpy(&number, frame.data() + 14, sizeof number);
  return number;
}
/// It is a whole to_all() of its number.
inline bool intact(std::span<const std::uint8_t> frame) {
  return frame.size() >= 60 && same(to_all(frame[11], frame.size(), number_of(frame)), frame);
}

/// How often threads whose names start so have gone to sleep, in all.
inline std::uint64_t sleeps_of(const std::string& name) {
  const auto read = [](const std::string& path) {
    std::string text(4096, 0);
    FILE* f = fopen(path.c_str(), "re");
    text.resize(f ? fread(text.data(), 1, text.size(), f) : 0);
    if (f) fclose(f);
    return text;
  };
  std::uint64_t sum = 0;
  DIR* tasks = opendir("/proc/self/task");
  while (const dirent* d = readdir(tasks)) {
    const std::string folder = std::string("/proc/self/task/") + d->d_name;
    if (d->d_name[0] == '.' || read(folder + "/comm").rfind(name, 0) != 0) continue;
    const std::string status = read(folder + "/status");
    const std::string key = "\nvoluntary_ctxt_switches:";
    const auto at = status.find(key);
    if (at != status.npos) sum += std::stoull(status.substr(at + key.size()));
  }
  closedir(tasks);
  return sum;
}

}  // namespace rp::backend
