// SPDX-License-Identifier: BSD-3-Clause
// tracked_split_ring.h - a split ring whose device notes what it has in hand.
//
// A chain is marked before it is served, and the mark goes once the driver has the chain back. The
// batch under way is a list, so that a successor that finds the used index ahead of `used_idx`
// clears the marks that we had no time for. It serves first what is still marked, in the order of
// the counters, and goes on with the available ring behind that. A predecessor may have completed
// out of order; we never do.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "backend/inflight.h"
#include "backend/split_ring.h"

namespace rp::backend {

class TrackedSplitRing : public SplitRing {
 public:
  /// As SplitRing; also throws Error when the region was made for a smaller ring or says what it
  /// can't. `start` counts only for a region in which nothing was noted yet.
  TrackedSplitRing(const GuestMemory& memory, const RingAddress& where, Direction direction,
                   RingFeatures features, std::uint32_t start, const InflightRegion& region);

  int pop(std::span<Segment> out, Chain& chain, std::uint32_t& bytes) noexcept;
  void unpop(const Chain& chain) noexcept;
  void complete(const Chain& chain, std::uint32_t written) noexcept;
  bool publish() noexcept;
  bool enable_notifications() noexcept {
    return SplitRing::enable_notifications() && (broken() || popped_again_ == again_.size());
  }
  bool has_work() noexcept {
    return !broken() && (popped_again_ < again_.size() || SplitRing::has_work());
  }
  /// The front end stops the ring: with nothing in hand the region says nothing any more, so that
  /// a driver that starts anew is not taken for this one.
  void retire() noexcept;

 private:
  void recover();

  InflightSplit* const region_;
  const std::uint16_t entries_;
  std::uint64_t counter_ = 0;
  std::uint16_t batch_head_ = 0;
  std::uint16_t in_hand_ = 0;  ///< chains not given back to the driver
  std::uint16_t batch_n_ = 0;
  std::array<std::uint16_t, kMaxQueueSize> batch_;
  std::vector<std::uint16_t> again_;  ///< heads that a predecessor had in hand
  std::size_t popped_again_ = 0;
  std::size_t again_open_ = 0, open_ = 0;  ///< popped and not completed: of those; of the others
};

}  // namespace rp::backend
