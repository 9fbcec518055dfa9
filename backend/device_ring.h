// SPDX-License-Identifier: BSD-3-Clause
// device_ring.h - the device end of one split virtqueue, against a driver that is never trusted.
//
// Invariants: every word that the driver can write is read once, into private memory, and checked
// there; nothing that we wrote to shared memory is read back. A driver that breaks the rules breaks
// its own ring: `broken` is sticky and set in one function, fail(). Each chain completes once.
// One thread. The ring knows no sockets: who kicks and calls is the port's business.
#pragma once

#include <cstdint>
#include <span>

#include "backend/guest_memory.h"
#include "backend/vring.h"

namespace rp::backend {

/// What a driver did wrong; the first fault stays.
enum class RingFault : std::uint8_t {
  none,
  avail_jump,  ///< avail.idx ran more than the ring's size ahead (2.7.6)
  head_range,  ///< a head or next index outside the table
  loop,        ///< a chain longer than the ring (2.7.5.3)
  address,     ///< a buffer not wholly inside one region, or of length 0
  direction,   ///< a readable buffer where only writable ones belong, or the reverse
  indirect,    ///< an indirect table where none was negotiated, nested, or misshapen (2.7.5.3.1)
  too_big,     ///< more bytes than any frame can have
  count
};
const char* ring_fault_name(RingFault f) noexcept;

struct Segment {
  std::uint8_t* data;
  std::uint32_t len;
};

/// Addresses as the driver knows them.
struct RingAddress {
  std::uint16_t size;
  std::uint64_t desc, avail, used;
};

class DeviceRing {
 public:
  enum class Direction : std::uint8_t { from_driver, to_driver };
  struct Features {
    bool event_idx = false, indirect = false;
  };

  /// Throws Error when the geometry is wrong: size 0, not a power of two or above kMaxQueueSize,
  /// an area misaligned or outside the memory. `memory` must outlive the ring.
  DeviceRing(const GuestMemory& memory, const RingAddress& where, Direction direction,
             Features features, std::uint16_t start = 0);

  /// Takes the next chain apart into `out`. Returns the number of segments; 0: there is none (or
  /// the ring is broken); -1: the chain needs more room than `out` has and stays where it is.
  /// `head` names the chain for complete().
  int pop(std::span<Segment> out, std::uint16_t& head, std::uint32_t& bytes) noexcept;
  /// Gives the last popped chain back to the avail ring. As often as pop() went.
  void unpop() noexcept { --next_avail_; }

  /// Puts a chain on the used ring, not yet visible. `written`: bytes written to its buffers.
  void complete(std::uint16_t head, std::uint32_t written) noexcept;
  /// Makes completions visible. True: the driver asked to be notified of them.
  bool publish() noexcept;
  /// The used index that the driver sees.
  std::uint16_t published() const noexcept { return published_used_; }

  /// Asks for a kick on the next buffer. False: there is one already.
  bool enable_notifications() noexcept;
  void disable_notifications() noexcept;

  /// Something to pop, as far as one load can tell.
  bool has_work() noexcept { return !broken() && load_acquire(ring_.avail_idx()) != next_avail_; }

  bool broken() const noexcept { return fault_ != RingFault::none; }
  RingFault fault() const noexcept { return fault_; }
  /// Marks the ring broken; the first reason stays.
  void fail(RingFault why) noexcept {
    if (fault_ == RingFault::none) fault_ = why;
  }

 private:
  bool refresh() noexcept;
  bool add_segment(const vring_desc& d, std::span<Segment> out, int& n, std::uint64_t& bytes);
  int walk(std::uint16_t head, std::span<Segment> out, std::uint64_t& bytes) noexcept;
  int walk_indirect(const vring_desc& table, std::span<Segment> out, std::uint64_t& bytes) noexcept;

  const GuestMemory& memory_;
  VringAreas ring_;
  Direction direction_;
  Features features_;
  RingFault fault_ = RingFault::none;
  std::uint16_t next_avail_, seen_avail_;  ///< next to pop; the driver's idx as last read
  std::uint16_t next_used_, published_used_;
};

}  // namespace rp::backend
