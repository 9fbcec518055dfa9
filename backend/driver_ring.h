// SPDX-License-Identifier: BSD-3-Clause
// driver_ring.h - the driver end of one split virtqueue whose device completes in order.
//
// Every chain is one descriptor, and descriptor i carries the i-th buffer modulo the ring's size,
// which is what VIRTIO_F_IN_ORDER allows (virtio 1.2, 2.7.9). The device may be another process:
// what it writes is read once and checked, and a device that lies breaks the ring for good.
// One thread at a time.
#pragma once

#include <cstdint>

#include "backend/vring.h"

namespace rp::backend {

class DriverRing {
 public:
  /// The areas are zeroed memory that the device end has been told of.
  explicit DriverRing(const VringAreas& areas) noexcept : ring_(areas) {}

  std::uint16_t free_slots() const noexcept {
    return static_cast<std::uint16_t>(ring_.size - static_cast<std::uint16_t>(next_ - freed_));
  }
  /// Adds a buffer, not yet visible to the device. Call only with free_slots() > 0.
  void add(std::uint64_t address, std::uint32_t len, bool writable) noexcept;
  /// Makes added buffers visible. True: the device asked for a kick.
  bool publish() noexcept;

  /// A completed buffer waits.
  bool has_used() noexcept { return !broken_ && (seen_used_ != freed_ || refresh()); }
  /// Completed buffers that wait, as far as one load can tell.
  std::uint16_t used_count() noexcept {
    if (broken_) return 0;
    refresh();
    return static_cast<std::uint16_t>(seen_used_ - freed_);
  }
  /// The bytes written to the n-th completed buffer. False: none, or the device lied.
  bool peek_used(std::uint16_t n, std::uint32_t& written) noexcept;
  /// Frees the slots of the first n completed buffers.
  void pop_used(std::uint16_t n) noexcept { freed_ = static_cast<std::uint16_t>(freed_ + n); }

  /// Asks to be notified of the next completion after those popped. False: there is one already.
  bool rearm() noexcept;
  /// Wants no notification for the next 65,535 completions.
  void disarm() noexcept;
  bool broken() const noexcept { return broken_; }
  /// The device wrote what it never may; the ring is broken for good.
  void fail() noexcept { broken_ = true; }

 private:
  bool refresh() noexcept;

  VringAreas ring_;
  std::uint16_t next_ = 0, published_ = 0;  ///< buffers added; buffers made visible
  std::uint16_t freed_ = 0, seen_used_ = 0;
  bool broken_ = false;
};

}  // namespace rp::backend
