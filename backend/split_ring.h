// SPDX-License-Identifier: BSD-3-Clause
// split_ring.h - the device end of one split virtqueue (virtio 1.2, 2.7).
#pragma once

#include "backend/device_ring.h"

namespace rp::backend {

class SplitRing : public DeviceRing {
 public:
  /// position() of a ring that its driver has just set up (2.7).
  static constexpr std::uint32_t kFresh = 0;

  /// Throws Error when the geometry is wrong: size 0, not a power of two or above kMaxQueueSize,
  /// an area misaligned or outside the memory. `memory` must outlive the ring. `start`: position()
  /// of the ring that this one goes on from.
  SplitRing(const GuestMemory& memory, const RingAddress& where, Direction direction,
            RingFeatures features, std::uint32_t start = kFresh);

  /// Takes the next chain apart into `out`. Returns the number of segments; 0: there is none (or
  /// the ring is broken); -1: the chain needs more room than `out` has and stays where it is.
  int pop(std::span<Segment> out, Chain& chain, std::uint32_t& bytes) noexcept;
  /// Gives the last popped chain back to the avail ring. As often as pop() went.
  void unpop(const Chain&) noexcept { --next_avail_; }

  /// Puts a chain on the used ring, not yet visible. `written`: bytes written to its buffers.
  void complete(const Chain& chain, std::uint32_t written) noexcept {
    vring_used_elem* e = ring_.used_ring(next_used_++);
    store_relaxed(&e->id, std::uint32_t{chain.id});
    store_relaxed(&e->len, written);
  }
  /// Makes completions visible. True: the driver asked to be notified of them.
  bool publish() noexcept;
  /// The used index that the driver sees.
  std::uint16_t published() const noexcept { return published_used_; }

  /// Asks for a kick on the next buffer. False: there is one already.
  bool enable_notifications() noexcept;
  void disable_notifications() noexcept;

  /// Something to pop, as far as one load can tell.
  bool has_work() noexcept { return !broken() && load_acquire(ring_.avail_idx()) != next_avail_; }

  /// Where to go on after completing all that was popped: the next available index.
  std::uint32_t position() const noexcept { return next_avail_; }

 protected:
  /// Takes apart the chain that begins at `head`, as pop() does.
  int take(std::uint16_t head, std::span<Segment> out, Chain& chain, std::uint32_t& bytes) noexcept;
  std::uint16_t size() const noexcept { return ring_.size; }
  /// Where a device before this one was: a driver's word as any other.
  std::uint16_t used_in_memory() const noexcept { return load_acquire(ring_.used_idx()); }
  /// Before the first pop().
  void go_on(std::uint16_t next_avail, std::uint16_t next_used) noexcept {
    next_avail_ = seen_avail_ = next_avail;
    next_used_ = published_used_ = next_used;
  }

 private:
  bool refresh() noexcept;
  /// Takes apart what begins with `d` and is more than one descriptor.
  int walk(vring_desc d, std::span<Segment> out, std::uint64_t& bytes) noexcept;
  int walk_indirect(const vring_desc& table, std::span<Segment> out, std::uint64_t& bytes) noexcept;

  VringAreas ring_;
  std::uint16_t next_avail_, seen_avail_;  ///< next to pop; the driver's idx as last read
  std::uint16_t next_used_, published_used_;
};

// Inline, as most frames are one descriptor: a call costs as much as the rest of it.
inline int SplitRing::pop(std::span<Segment> out, Chain& chain, std::uint32_t& bytes) noexcept {
  if (broken()) return 0;
  if (seen_avail_ == next_avail_ && !refresh()) return 0;
  const int n = take(load_relaxed(ring_.avail_ring(next_avail_)), out, chain, bytes);
  if (n > 0) ++next_avail_;
  return n;
}

inline int SplitRing::take(std::uint16_t head, std::span<Segment> out, Chain& chain,
                           std::uint32_t& bytes) noexcept {
  if (head >= ring_.size) {
    fail(RingFault::head_range);
    return 0;
  }
  const vring_desc d = load_desc(&ring_.desc[head]);
  std::uint64_t total = 0;
  int n = 0;
  if (d.flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) [[unlikely]]
    n = walk(d, out, total);
  else
    add_segment(d.addr, d.len, d.flags & VRING_DESC_F_WRITE, out, n, total);
  if (n == 0) return broken() ? 0 : -1;
  bytes = static_cast<std::uint32_t>(total);
  chain = {head, 1};
  return n;
}

}  // namespace rp::backend
