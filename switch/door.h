// SPDX-License-Identifier: BSD-3-Clause
// door.h - a port that only lets others in: it has no link, no frames and no number.
#pragma once

#include "switch/port.h"

namespace rp::sw {

/// What is left for a door to say: its descriptor, receive() for each turn, accept() and report().
class Door : public Port {
 public:
  bool link_up() const noexcept override { return false; }
  bool sleeps() const noexcept override { return true; }
  Claim claim() const noexcept override { return {.number = Claim::kNoNumber}; }
  void release() noexcept override {}
  std::size_t send(std::span<const Frame* const> frames, Instant) noexcept override {
    return frames.size();
  }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return true; }
  std::string describe() const override { return "listening"; }
};

}  // namespace rp::sw
