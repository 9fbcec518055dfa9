// SPDX-License-Identifier: BSD-3-Clause
// packed_ring.h - the device end of one packed virtqueue (virtio 1.2, 2.8).
//
//      descriptor ring (both write)        driver event (driver writes)   device event (we write)
//      {addr len id flags} x N             off_wrap flags                 off_wrap flags
//
// Driver and device go round one ring. Whose a slot is, its AVAIL and USED flags tell, compared
// with a wrap counter that flips each time round (2.8.1): AVAIL = counter, USED = not the counter
// means available; both = the counter means used. Barrier pairs, whose other ends are in the
// driver:
//   [E] a chain's first flags, release, written last - acquire (pop)
//   [F] a batch's first used flags, release, written last (publish) - acquire
//   [G] driver event store; fence; used flags load - used flags store; fence; event load (publish)
//   [H] device event store; fence; flags load (enable_notifications)
//       - available flags store; fence; device event load
//
// A batch of completions stays in a private journal until publish(), because a used descriptor is
// written over an available one. With a PackedState the journal and the position lie in memory that
// outlives the process: publish() first records that the batch will be done, then does it. After a
// SIGKILL at any store recover() does the rest of a recorded batch, so that each chain completes
// once: those recorded are never popped again, the others are still on the ring. recover() alone
// reads what a device wrote into shared memory; it compares that, and follows none of it.
#pragma once

#include <array>
#include <cassert>
#include <optional>

#include "backend/device_ring.h"

namespace rp::backend {

/// 2.8.1: a place in the ring and the wrap counter there.
struct PackedCursor {
  static constexpr std::uint16_t kAvail = 1 << VRING_PACKED_DESC_F_AVAIL;
  static constexpr std::uint16_t kUsed = 1 << VRING_PACKED_DESC_F_USED;

  std::uint16_t index;
  bool wrap;

  void advance(std::uint16_t slots, std::uint16_t size) noexcept {
    index = static_cast<std::uint16_t>(index + slots);
    if (index >= size) {
      index = static_cast<std::uint16_t>(index - size);
      wrap = !wrap;
    }
  }
  void retreat(std::uint16_t slots, std::uint16_t size) noexcept {
    if (index < slots) {
      index = static_cast<std::uint16_t>(index + size);
      wrap = !wrap;
    }
    index = static_cast<std::uint16_t>(index - slots);
  }
  bool available(std::uint16_t flags) const noexcept {
    return (flags & (kAvail | kUsed)) == (wrap ? kAvail : kUsed);
  }
  bool used(std::uint16_t flags) const noexcept {
    return (flags & (kAvail | kUsed)) == used_flags();
  }
  std::uint16_t used_flags() const noexcept { return wrap ? kAvail | kUsed : 0; }
  /// As in event suppression structures (2.8.14) and vhost-user: the index in bits 0-14.
  std::uint16_t encoded() const noexcept {
    return static_cast<std::uint16_t>(index | (wrap ? 1 << VRING_PACKED_EVENT_F_WRAP_CTR : 0));
  }
  static PackedCursor decoded(std::uint32_t v) noexcept {
    return {static_cast<std::uint16_t>(v & 0x7fff), (v >> VRING_PACKED_EVENT_F_WRAP_CTR & 1) != 0};
  }
  /// Slots from here forward to `to`, modulo two times round.
  unsigned distance(const PackedCursor& to, std::uint16_t size) const noexcept {
    const int d = to.lap(size) - lap(size);
    return static_cast<unsigned>(d < 0 ? d + 2 * size : d);
  }

 private:
  int lap(std::uint16_t size) const noexcept { return index + (wrap ? 0 : size); }
};

/// A completion that is not yet on the ring.
struct PackedUsed {
  std::uint32_t len;
  std::uint16_t id, slots;
};

/// What another process needs to go on with a ring whose device was killed. All zero: nothing.
/// Only the owner of the ring writes it; its memory is ours, no driver's.
struct PackedState {
  static constexpr std::uint32_t kMagic = 0x52505131;  ///< changes with the layout

  /// A batch of completions, and the ring after it. The last slot that it took is the last one
  /// that the driver comes round to again, so what lies there tells whether this is still the ring.
  struct Batch {
    std::uint64_t addr;      ///< in that slot
    std::uint32_t position;  ///< after the batch
    std::uint16_t id;        ///< of its last buffer, which is in that slot too
    std::uint16_t count;     ///< completions; 0: the ring was started, and none was done yet
  };

  std::uint32_t magic;
  std::uint16_t begun, done;  ///< number of the batch last begun, last done; modulo 2^16
  std::uint64_t key;
  Batch batch[2];  ///< by number modulo 2
  std::uint64_t unused[2];
  PackedUsed journal[kMaxQueueSize];
};
static_assert(offsetof(PackedState, journal) == 64);

class PackedRing : public DeviceRing {
 public:
  /// position() of a ring that its driver has just set up (2.8.1).
  static constexpr std::uint32_t kFresh = 0x80008000;

  /// Throws Error when the geometry is wrong: size 0 or above kMaxQueueSize, an area misaligned or
  /// outside the memory; or when `start` is no position. `memory` must outlive the ring. The ring
  /// goes on from the used half of `start`: what its predecessor popped and did not complete is
  /// popped again.
  PackedRing(const GuestMemory& memory, const RingAddress& where, Direction direction,
             RingFeatures features, std::uint32_t start = kFresh);
  PackedRing(const PackedRing&) = delete;
  PackedRing& operator=(const PackedRing&) = delete;

  /// From now on leaves in `state` what recover() needs. `state` outlives the ring; `key` is what
  /// recover() will be given. Call before the first pop().
  void record(PackedState& state, std::uint64_t key) noexcept;
  /// Where to go on with a ring whose device was killed, after doing what it had begun. None: the
  /// state is not of this ring, or the driver has set the ring up anew since. A notification may
  /// have been lost with the process, so the driver is owed one. Call once the driver of `where` is
  /// known, with no other device on the ring.
  static std::optional<std::uint32_t> recover(const GuestMemory& memory, const RingAddress& where,
                                              PackedState& state, std::uint64_t key) noexcept;

  /// Takes the next chain apart into `out`. Returns the number of segments; 0: there is none (or
  /// the ring is broken); -1: the chain needs more room than `out` has and stays where it is.
  int pop(std::span<Segment> out, Chain& chain, std::uint32_t& bytes) noexcept {
    return fetch<false>(out, chain, bytes, nullptr);
  }
  /// Gives the last popped chain back. As often as pop() went.
  void unpop(const Chain& chain) noexcept {
    avail_.retreat(chain.slots, size_);
    in_flight_ = static_cast<std::uint16_t>(in_flight_ - chain.slots);
  }

  /// Puts the chain popped longest ago into the next batch. `written`: bytes written to its
  /// buffers.
  void complete(const Chain& chain, std::uint32_t written) noexcept {
    assert(count_ < size_);
    journal_[count_++] = {written, chain.id, chain.slots};
    completed_ = static_cast<std::uint16_t>(completed_ + chain.slots);
  }
  /// Makes completions visible, all at once. True: the driver asked to be notified of them.
  bool publish() noexcept;
  /// The used index that the driver sees, with the wrap counter in bit 15.
  std::uint16_t published() const noexcept { return used_.encoded(); }

  /// Asks for a kick on the next buffer. False: there is one already.
  bool enable_notifications() noexcept;
  void disable_notifications() noexcept;

  /// Something to pop, as far as one load can tell.
  bool has_work() noexcept {
    return !broken() && avail_.available(load_acquire(&desc_[avail_.index].flags));
  }

  /// vhost-user's base of a packed ring: next available index in bits 0-14, its wrap counter in bit
  /// 15, next used index in bits 16-30, its wrap counter in bit 31. Equal halves: nothing in
  /// flight.
  std::uint32_t position() const noexcept {
    return avail_.encoded() | std::uint32_t{used_.encoded()} << 16;
  }

 protected:
  using Descriptor = vring_packed_desc;

  /// pop() that leaves the chain's descriptors, as they were read, in `copy`, which has room for a
  /// ring of them.
  template <bool kCopy>
  int fetch(std::span<Segment> out, Chain& chain, std::uint32_t& bytes, Descriptor* copy) noexcept;
  /// Takes apart a chain of which only these copies are left, popped by a device before this one.
  int take(std::span<const Descriptor> copies, std::span<Segment> out, Chain& chain,
           std::uint32_t& bytes) noexcept;
  std::uint16_t size() const noexcept { return size_; }
  PackedCursor used() const noexcept { return used_; }
  /// used(), once what is complete will be published.
  PackedCursor used_after_batch() const noexcept {
    PackedCursor c = used_;
    c.advance(completed_, size_);
    return c;
  }
  /// What a device before this one left there: a driver's word as any other.
  std::uint16_t flags_in_memory(std::uint16_t slot) const noexcept {
    return load_acquire(&desc_[slot].flags);
  }
  /// Before the first pop(): so many slots are in flight from `used` to `avail`.
  void go_on(PackedCursor avail, PackedCursor used, std::uint16_t in_flight) noexcept {
    avail_ = avail;
    used_ = used;
    in_flight_ = in_flight;
  }

 private:
  /// The rest of a descriptor whose flags were read first, each word once.
  static Descriptor load_rest(const Descriptor& d, std::uint16_t flags) noexcept {
    return {load_relaxed(&d.addr), load_relaxed(&d.len), load_relaxed(&d.id), flags};
  }
  /// Takes apart what begins with `d` and is more than one descriptor. Leaves the one with the
  /// buffer id in `d`. `copy`: see fetch().
  template <bool kCopy>
  int walk(Descriptor& d, std::uint16_t& slots, std::span<Segment> out, std::uint64_t& bytes,
           Descriptor* copy) noexcept;
  int walk_indirect(const Descriptor& table, std::span<Segment> out, std::uint64_t& bytes) noexcept;
  void begin_batch() noexcept;
  bool wants_notification(const PackedCursor& from, unsigned slots) const noexcept;

  const RingAddress where_;
  Descriptor* desc_;
  std::uint32_t *driver_event_, *device_event_;  ///< off_wrap in the low half, flags in the high
  const std::uint16_t size_;
  std::uint16_t in_flight_ = 0;  ///< slots popped and not published
  std::uint16_t completed_ = 0;  ///< of those, slots of what is in the journal
  std::uint16_t count_ = 0;      ///< completions in the journal
  PackedCursor avail_, used_;    ///< next to pop; next to publish
  bool quiet_ = false;           ///< the driver knows that we want no kick
  PackedUsed* journal_;
  PackedState* state_ = nullptr;
  std::array<PackedUsed, kMaxQueueSize> own_;
};

// Inline, as most frames are one descriptor: a call costs as much as the rest of it.
template <bool kCopy>
inline int PackedRing::fetch(std::span<Segment> out, Chain& chain, std::uint32_t& bytes,
                             [[maybe_unused]] Descriptor* copy) noexcept {
  if (broken()) return 0;
  const Descriptor& first = desc_[avail_.index];
  const std::uint16_t flags = load_acquire(&first.flags);  // pairs with [E]
  if (!avail_.available(flags)) return 0;
  if (in_flight_ == size_) {  // the driver made available what it had not got back
    fail(RingFault::avail_jump);
    return 0;
  }
  Descriptor d = load_rest(first, flags);
  if constexpr (kCopy) copy[0] = d;
  std::uint64_t total = 0;
  std::uint16_t slots = 1;
  int n = 0;
  if (flags & (VRING_DESC_F_NEXT | VRING_DESC_F_INDIRECT)) [[unlikely]]
    n = walk<kCopy>(d, slots, out, total, copy);
  else
    add_segment(d.addr, d.len, flags & VRING_DESC_F_WRITE, out, n, total);
  if (n == 0) return broken() ? 0 : -1;
  if (d.id >= size_) {
    fail(RingFault::head_range);
    return 0;
  }
  bytes = static_cast<std::uint32_t>(total);
  chain = {d.id, slots};
  avail_.advance(slots, size_);
  in_flight_ = static_cast<std::uint16_t>(in_flight_ + slots);
  return n;
}

}  // namespace rp::backend
