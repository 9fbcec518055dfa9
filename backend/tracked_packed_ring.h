// SPDX-License-Identifier: BSD-3-Clause
// tracked_packed_ring.h - a packed ring whose device notes what it has in hand.
//
// A used descriptor is written over an available one, so each descriptor is copied to an entry of
// the region when its chain is popped. Entries are taken from a free list, in ring order, and given
// back when the driver has its chain back. Whatever is under way can be told from what is done by
// the pairs free_head/old_free_head and used_idx/old_used_idx: the new ones are written before the
// ring is, the old ones after it. A successor goes on from where the ring says that it was, serves
// first what is still marked, in the order of the counters, and makes a new free list of the rest.
#pragma once

#include <array>
#include <vector>

#include "backend/inflight.h"
#include "backend/packed_ring.h"

namespace rp::backend {

class TrackedPackedRing : public PackedRing {
 public:
  /// As PackedRing; also throws Error when the region was made for a smaller ring or says what it
  /// can't. `start` counts only for a region in which nothing was noted yet.
  TrackedPackedRing(const GuestMemory& memory, const RingAddress& where, Direction direction,
                    RingFeatures features, std::uint32_t start, const InflightRegion& region);

  int pop(std::span<Segment> out, Chain& chain, std::uint32_t& bytes) noexcept;
  void unpop(const Chain& chain) noexcept;
  void complete(const Chain& chain, std::uint32_t written) noexcept;
  bool publish() noexcept;
  bool enable_notifications() noexcept {
    return PackedRing::enable_notifications() && (broken() || popped_again_ == again_.size());
  }
  bool has_work() noexcept {
    return !broken() && (popped_again_ < again_.size() || PackedRing::has_work());
  }
  /// The front end stops the ring: with nothing in hand the region says nothing any more, so that
  /// a driver that starts anew is not taken for this one.
  void retire() noexcept;

 private:
  using Entry = InflightPacked::Entry;
  /// A chain in hand: its entries are linked from `head` to `last`.
  struct Noted {
    std::uint16_t head, last;
  };
  /// One that a predecessor had in hand; its descriptors are a private copy.
  struct Again {
    std::size_t first;
    std::uint16_t slots;
  };

  void clear();
  void recover();
  PackedCursor settle_last_batch();
  void release_free_list() noexcept;
  void collect_marked(PackedCursor used);
  void make_free_list(std::span<const bool> taken) noexcept;
  void note(const Chain& chain) noexcept;
  void store_place(const PackedCursor& used, const PackedCursor& old) noexcept;

  InflightPacked* const region_;
  const std::uint16_t entries_;
  std::uint64_t counter_ = 0;
  std::uint16_t free_head_ = 0;
  std::array<std::uint16_t, kMaxQueueSize> next_;  ///< what the region's links are
  std::array<vring_packed_desc, kMaxQueueSize> fetched_;
  std::array<Noted, kMaxQueueSize> in_hand_;  ///< a queue: oldest at in_hand_first_
  std::size_t in_hand_first_ = 0, in_hand_n_ = 0;
  std::size_t batch_n_ = 0;  ///< of those, completed and not published
  std::vector<Again> again_;
  std::vector<vring_packed_desc> again_desc_;
  std::size_t popped_again_ = 0;
  std::size_t again_open_ = 0, open_ = 0;  ///< popped and not completed: of those; of the others
};

}  // namespace rp::backend
