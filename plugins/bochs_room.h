// SPDX-License-Identifier: BSD-3-Clause
// bochs_room.h - guesses what a card of Bochs can take without losing it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "plugins/bochs_abi.h"
#include "plugins/bochs_segment.h"

namespace rp::bochs {

/// The guest's microseconds between two looks at the plug.
constexpr unsigned kTick = 200;

/// The NE2000 says that it is ready whenever it is on, and drops what its few kilobytes of memory
/// have no room for; how much the guest has taken out is not told. So we keep count: the frames in
/// the card are a queue, a TCP acknowledgment tells how far the guest has come, any other frame of
/// its own that it took one at least. A guest that says nothing for a while gets some all the same:
/// not everything is answered. The other cards say when they are full.
class Room {
 public:
  explicit Room(bool guessed) noexcept : guessed_(guessed) {}

  bool left() const noexcept { return filling_; }

  /// The card was given this frame.
  void take(std::span<const std::uint8_t> frame) noexcept {
    if (!guessed_) return;
    const auto bytes =
        static_cast<unsigned>((frame.size() + kOverhead + kPage - 1) / kPage * kPage);
    held_[(first_ + count_++) % held_.size()] = {bytes, segment_of(frame)};
    bytes_ += bytes;
    filling_ = bytes_ + kLargest <= kCapacity;
  }

  void guest_sent(std::span<const std::uint8_t> frame) noexcept {
    silent_ = 0;
    if (count_ == 0) return;
    const Segment reply = segment_of(frame);
    const unsigned n = acknowledged(reply);
    // Its own data may go out while it has taken nothing.
    if (n > 0 || !reply.has_data || !awaited(reply)) taken(std::max(n, 1u));
  }

  void ticked() noexcept {
    if (filling_ || ++silent_ < kSilence) return;
    silent_ = 0;
    while (!filling_) taken(1);
  }

 private:
  /// The card keeps a frame in pages of 256 bytes, with a header and its checksum. It has 16 KiB,
  /// of which a driver takes some for what it sends, and never fills the last page.
  static constexpr unsigned kPage = 256;
  static constexpr unsigned kOverhead = 8;
  static constexpr unsigned kLargest = (kMaxFrame + kOverhead + kPage - 1) / kPage * kPage;
  static constexpr unsigned kCapacity = 6 * kLargest;
  /// Largest frames that must fit before the card is filled again. A guest that finds two
  /// acknowledges both at once; fed one by one, it would spend a frame on each.
  static constexpr unsigned kRefill = 2;
  /// Ticks in which 10 Mbit/s, 1.25 bytes a microsecond, bring as much as the card holds.
  static constexpr unsigned kSilence = kCapacity * 4 / 5 / kTick;

  struct Held {
    unsigned bytes;
    Segment segment;
  };

  const Held& held(unsigned n) const noexcept { return held_[(first_ + n) % held_.size()]; }

  /// How many frames are out of the card, as the guest has acknowledged the last of them.
  unsigned acknowledged(const Segment& reply) const noexcept {
    unsigned n = count_;
    while (n > 0 && !held(n - 1).segment.acknowledged_by(reply)) --n;
    return n;
  }

  bool awaited(const Segment& reply) const noexcept {
    for (unsigned n = 0; n < count_; ++n)
      if (held(n).segment.answered_by(reply)) return true;
    return false;
  }

  void taken(unsigned frames) noexcept {
    for (frames = std::min(frames, count_); frames > 0; --frames) {
      bytes_ -= held(0).bytes;
      first_ = (first_ + 1) % held_.size();
      --count_;
    }
    if (bytes_ + kRefill * kLargest <= kCapacity) filling_ = true;
  }

  bool guessed_;
  bool filling_ = true;
  unsigned bytes_ = 0, count_ = 0, silent_ = 0;
  std::size_t first_ = 0;
  std::array<Held, kCapacity / kPage> held_{};
};

}  // namespace rp::bochs
