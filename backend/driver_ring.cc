// SPDX-License-Identifier: BSD-3-Clause
// driver_ring.cc - adding buffers and taking them back in order.
#include "backend/driver_ring.h"

namespace rp::backend {

void DriverRing::add(std::uint64_t address, std::uint32_t len, bool writable) noexcept {
  const auto slot = static_cast<std::uint16_t>(next_ & (ring_.size - 1));
  store_desc(&ring_.desc[slot],
             {address, len, static_cast<std::uint16_t>(writable ? VRING_DESC_F_WRITE : 0), 0});
  store_relaxed(ring_.avail_ring(next_), slot);
  ++next_;
}

bool DriverRing::publish() noexcept {
  const std::uint16_t old = published_;
  if (old == next_) return false;
  published_ = next_;
  store_full(ring_.avail_idx(), next_);                             // pairs with [A]
  return event_passed(load_full(ring_.avail_event()), next_, old);  // pairs with [D]
}

bool DriverRing::refresh() noexcept {
  const std::uint16_t used = load_acquire(ring_.used_idx());  // pairs with [B]
  if (static_cast<std::uint16_t>(used - freed_) > static_cast<std::uint16_t>(published_ - freed_))
    broken_ = true;
  else
    seen_used_ = used;
  return !broken_ && seen_used_ != freed_;
}

bool DriverRing::peek_used(std::uint16_t n, std::uint32_t& written) noexcept {
  if (broken_ || static_cast<std::uint16_t>(seen_used_ - freed_) <= n) return false;
  const auto i = static_cast<std::uint16_t>(freed_ + n);
  const vring_used_elem* e = ring_.used_ring(i);
  const std::uint32_t id = load_relaxed(&e->id);
  written = load_relaxed(&e->len);
  if (id != static_cast<std::uint16_t>(i & (ring_.size - 1))) broken_ = true;
  return !broken_;
}

void DriverRing::disarm() noexcept {
  store_relaxed(ring_.used_event(), static_cast<std::uint16_t>(freed_ - 1));
}

bool DriverRing::rearm() noexcept {
  store_full(ring_.used_event(), freed_);  // pairs with [C]
  return load_full(ring_.used_idx()) == freed_;
}

}  // namespace rp::backend
