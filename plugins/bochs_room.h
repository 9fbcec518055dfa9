// SPDX-License-Identifier: BSD-3-Clause
// bochs_room.h - guesses what a card of Bochs can take without losing it.
#pragma once

#include <algorithm>
#include <cstddef>

#include "plugins/bochs_abi.h"

namespace rp::bochs {

/// The guest's microseconds between two looks at the plug.
constexpr unsigned kTick = 100;

/// The NE2000 says that it is ready whenever it is on, and drops what its few kilobytes of memory
/// have no room for; how much the guest has taken out is not told. A frame that the guest sends
/// hints at one taken, as TCP acknowledges; when it is silent, the time that the line would take is
/// waited. The other cards say when they are full.
class Room {
 public:
  explicit Room(bool guessed) : guessed_(guessed) {}
  bool left() const { return bytes_ > 0; }
  void take(std::size_t length) {
    if (guessed_) bytes_ -= static_cast<int>(length);
  }
  void guest_sent() {
    bytes_ = std::min(bytes_ + static_cast<int>(kMaxFrame), kCapacity);
    silent_ = 0;
  }
  void ticked() {
    if (left() || ++silent_ < kSilence) return;
    bytes_ = kCapacity;
    silent_ = 0;
  }

 private:
  static constexpr int kCapacity = 8192;
  /// Ticks in which 10 Mbit/s, 1.25 bytes a microsecond, bring that much.
  static constexpr unsigned kSilence = kCapacity * 4 / 5 / kTick;

  bool guessed_;
  int bytes_ = kCapacity;
  unsigned silent_ = 0;
};

}  // namespace rp::bochs
