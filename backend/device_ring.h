// SPDX-License-Identifier: BSD-3-Clause
// device_ring.h - what the device ends of split and packed virtqueues share.
//
// Invariants of both: every word that the driver can write is read once, into private memory, and
// checked there; nothing that we wrote to shared memory is read back. A driver that breaks the
// rules breaks its own ring: `broken` is sticky and set in one function, fail(). Each chain
// completes once, in the order in which it was popped (VIRTIO_F_IN_ORDER, virtio 1.2, 6).
// One thread. A ring knows no sockets: who kicks and calls is the port's business.
#pragma once

#include <cstdint>
#include <span>

#include "backend/guest_memory.h"
#include "backend/vring.h"

namespace rp::backend {

/// What a driver did wrong; the first fault stays.
enum class RingFault : std::uint8_t {
  none,
  avail_jump,  ///< more made available than the ring holds (2.7.6, 2.8.1)
  head_range,  ///< a head, next index or buffer id outside the table
  loop,        ///< a chain longer than the ring (2.7.5.3, 2.8.6)
  address,     ///< a buffer not wholly inside one region, or of length 0
  direction,   ///< a readable buffer where only writable ones belong, or the reverse
  indirect,    ///< an indirect table where none was negotiated, nested, or misshapen (2.7.5.3.1)
  too_big,     ///< more bytes than any frame can have
  wrap,        ///< a chain runs into a slot that was not made available (2.8.6)
  count
};
const char* ring_fault_name(RingFault f) noexcept;

struct Segment {
  std::uint8_t* data;
  std::uint32_t len;
};

/// Addresses as the driver knows them. Of a packed ring (2.8), `avail` is the driver event
/// suppression area and `used` the device's.
struct RingAddress {
  std::uint16_t size;
  std::uint64_t desc, avail, used;
};

enum class Direction : std::uint8_t { from_driver, to_driver };

struct RingFeatures {
  bool event_idx = false, indirect = false;
};

/// A popped chain, for complete() and unpop().
struct Chain {
  std::uint16_t id;     ///< split: the head's index; packed: the buffer id
  std::uint16_t slots;  ///< entries of the ring that it takes up: split 1, packed its descriptors
};

/// The checks that a buffer of either ring passes, and the ring's fault.
class DeviceRing {
 public:
  bool broken() const noexcept { return fault_ != RingFault::none; }
  RingFault fault() const noexcept { return fault_; }
  /// Marks the ring broken; the first reason stays.
  void fail(RingFault why) noexcept {
    if (fault_ == RingFault::none) fault_ = why;
  }

 protected:
  DeviceRing(const GuestMemory& memory, Direction direction, RingFeatures features) noexcept
      : memory_(memory), direction_(direction), features_(features) {}
  ~DeviceRing() = default;

  /// Adds a checked buffer to `out`, which holds `n`. False: a fault, or no room (no fault then).
  bool add_segment(std::uint64_t address, std::uint32_t len, bool writable, std::span<Segment> out,
                   int& n, std::uint64_t& bytes) noexcept {
    if (writable != (direction_ == Direction::to_driver)) {
      fail(RingFault::direction);
      return false;
    }
    std::uint8_t* p = memory_.translate(address, len);
    if (!p) {
      fail(RingFault::address);
      return false;
    }
    bytes += len;
    if (bytes > kMaxChainBytes) {
      fail(RingFault::too_big);
      return false;
    }
    if (static_cast<std::size_t>(n) == out.size()) return false;  // not the driver's fault
    out[static_cast<std::size_t>(n++)] = {p, len};
    return true;
  }

  /// The pointer to one area of the ring. Throws Error when it is misaligned or not in the memory.
  std::uint8_t* area(std::uint64_t address, std::uint64_t len, unsigned align,
                     const char* what) const;

  const GuestMemory& memory_;
  const Direction direction_;
  const RingFeatures features_;

 private:
  /// No chain carries more than a frame and its header; what claims more is a fault (2.7.5: a chain
  /// has fewer than 2^32 bytes).
  static constexpr std::uint64_t kMaxChainBytes = std::uint64_t{1} << 20;

  RingFault fault_ = RingFault::none;
};

}  // namespace rp::backend
