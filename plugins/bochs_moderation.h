// SPDX-License-Identifier: BSD-3-Clause
// bochs_moderation.h - when the switch is woken for what the guest sent.
#pragma once

#include <cstddef>

namespace rp::bochs {

/// A wake-up costs more than the frame that it is for, and most of what a guest sends while it
/// receives is acknowledgments. As long as many frames wait for the guest, the answer to what it
/// sends would wait behind them anyway; so some is collected first, as a card that moderates its
/// interrupts does. Whoever is told to wake the switch does so before the next call.
class Moderation {
 public:
  static constexpr std::size_t kBacklog = 16;  ///< frames: these are many

  /// So many frames wait for the guest.
  void saw(std::size_t waiting) noexcept { backlog_ = waiting >= kBacklog; }

  /// The guest sent a frame. True: wake the switch.
  bool sent() noexcept { return ++held_ >= kHeld || !backlog_ ? woken() : false; }

  /// Once a tick. True: wake the switch.
  bool ticked() noexcept {
    if (held_ == 0) return false;
    return !backlog_ || ++age_ >= kPatience ? woken() : false;
  }

 private:
  static constexpr unsigned kHeld = 8;       ///< frames
  static constexpr unsigned kPatience = 50;  ///< ticks

  bool woken() noexcept {
    held_ = age_ = 0;
    return true;
  }

  bool backlog_ = false;
  unsigned held_ = 0, age_ = 0;
};

}  // namespace rp::bochs
