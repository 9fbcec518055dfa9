// SPDX-License-Identifier: BSD-3-Clause
// switch_fixture.h - a switch whose ports are fake.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "switch/switch.h"
#include "tests/switch/fake_port.h"

namespace rp::test {

class SwitchFixture : public ::testing::Test {
 protected:
  FakePort& add(sw::Offloads can = {}) {
    FakePort& p = add(sw::PortPolicy{});
    p.can = can;
    return p;
  }
  FakePort& add(const sw::PortPolicy& policy) {
    auto port = std::make_unique<FakePort>();
    FakePort& p = *port;
    ids.push_back(sw.add(std::move(port), "p" + std::to_string(ids.size()), policy));
    ports.push_back(&p);
    return p;
  }
  void configure(std::size_t port, const sw::PortPolicy& policy) {
    sw.set_policy(sw.number(ids[port]), policy);
  }
  void send(std::size_t port, Bytes frame, sw::Offload offload = {}) {
    ports[port]->inbound.emplace_back(std::move(frame), offload);
    run();
  }
  void run() {
    for (sw::PortId id : ids) {
      while (sw.turn(id, now) > 0) {
      }
    }
    sw.flush(now, [](sw::PortId) {});
  }
  std::uint64_t counter(std::size_t port, std::string_view name) {
    std::uint64_t found = ~std::uint64_t{0};
    sw.report([&](sw::PortId id, const std::string&, std::string_view n, std::uint64_t v) {
      if (id == ids[port] && n == name) found = v;
    });
    return found;
  }

  sw::Switch sw;
  std::vector<FakePort*> ports;
  std::vector<sw::PortId> ids;
  Instant now = std::chrono::seconds(1);
};

}  // namespace rp::test
