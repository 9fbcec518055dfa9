// SPDX-License-Identifier: BSD-3-Clause
// switch_net.h - a switch on its own thread, for tests of doors and uplinks.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "backend/loop.h"
#include "base/log.h"
#include "tests/sockets/vde_client.h"

namespace rp::test {

/// A switch whose ports, counters and log a test looks at.
class SwitchNet {
 public:
  rp::Log log() { return rp::Log(keep, this); }
  void add(std::unique_ptr<sw::Port> port, const std::string& name) {
    loop.add(std::move(port), name);
  }
  std::vector<std::string> ports() {
    std::vector<std::string> names;
    loop.call([&](sw::Switch& s) {
      s.each_port([&](sw::PortId id) { names.emplace_back(s.name(id)); });
    });
    return names;
  }
  bool has_ports(std::size_t n) {
    return soon([&] { return ports().size() == n; });
  }
  std::uint64_t counter(const std::string& name, const std::string& port = {}) {
    std::uint64_t sum = 0;
    loop.call([&](sw::Switch& s) {
      s.report([&](sw::PortId, const std::string& p, std::string_view n, std::uint64_t v) {
        if (n == name && (port.empty() || p == port)) sum += v;
      });
    });
    return sum;
  }
  bool link(const std::string& port) {
    bool up = false;
    loop.call([&](sw::Switch& s) {
      s.each_port([&](sw::PortId id) {
        if (s.name(id) == port) up = s.port(id)->link_up();
      });
    });
    return up;
  }
  std::string logged() {
    const std::lock_guard lock(mutex_);
    return log_;
  }

 private:
  static void keep(void* self, int, const char* sentence) {
    auto& net = *static_cast<SwitchNet*>(self);
    const std::lock_guard lock(net.mutex_);
    net.log_ += std::string(sentence) + "\n";
  }
  std::mutex mutex_;
  std::string log_;

 public:
  backend::Loop loop{backend::Loop::Options{}};
};

}  // namespace rp::test
