// SPDX-License-Identifier: BSD-3-Clause
// null_port.h - a port that swallows what it gets and never says anything.
#pragma once

#include "switch/port.h"

namespace rp::backend {

class NullPort final : public sw::Port {
 public:
  int poll_fd() const noexcept override { return -1; }
  sw::Offloads offloads() const noexcept override { return {true, true, true, true, true}; }
  void receive(sw::Burst&, Instant) noexcept override {}
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const>, Instant) noexcept override { return 0; }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return true; }
};

}  // namespace rp::backend
