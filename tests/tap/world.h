// SPDX-License-Identifier: BSD-3-Clause
// world.h - a switch with a host device and a port that the test feeds.
#pragma once

#include <poll.h>

#include <map>

#include "switch/switch.h"
#include "tests/switch/fake_port.h"
#include "tests/tap/network.h"

namespace rp::test {

struct World {
  explicit World(std::unique_ptr<sw::Port> device) : port(device.get()) {
    auto fake = std::make_unique<FakePort>();
    guest = fake.get();
    guest->can = {true, true, true, true, true};
    guest_id = sw.add(std::move(fake), "guest");
    id = sw.add(std::move(device), "device");
  }

  /// One turn of both, as the loop would.
  void turn() {
    sw.turn(guest_id, 0ns);
    if (sw.turn(id, 0ns) == 0) {
      std::string name;
      port->accept(name);
    }
    sw.flush(0ns, [](sw::PortId) {});
  }
  /// Turns until `done`, sleeping on the device's descriptor in between. False: it never was.
  template <typename Done>
  bool until(Done&& done, int most = 500) {
    for (int i = 0; i < most; ++i) {
      turn();
      if (done()) return true;
      pollfd p{port->poll_fd(), POLLIN, 0};
      poll(&p, 1, 20);
    }
    return false;
  }
  void send(Bytes frame, sw::Offload offload = {}) {
    guest->inbound.emplace_back(std::move(frame), offload);
    turn();
  }
  std::uint64_t counter(const std::string& wanted) {
    std::uint64_t found = 0;
    sw.report([&](sw::PortId p, const std::string&, std::string_view name, std::uint64_t value) {
      if (p == id && name == wanted) found = value;
    });
    return found;
  }
  /// Frames of this ethertype that came from the device.
  std::vector<Bytes> came(std::uint16_t type = 0x88b5) const {
    std::vector<Bytes> out;
    for (const auto& [b, offload] : guest->sent)
      if (b.size() > 13 && b[12] * 256 + b[13] == type) out.push_back(b);
    return out;
  }

  sw::Switch sw;
  FakePort* guest;
  sw::Port* port;
  sw::PortId guest_id, id;
};

}  // namespace rp::test
