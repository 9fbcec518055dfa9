// SPDX-License-Identifier: BSD-3-Clause
// split_ring.cc - walking chains, completing them, and when to notify.
#include "backend/split_ring.h"

#include <string>

#include "base/error.h"

namespace rp::backend {

SplitRing::SplitRing(const GuestMemory& memory, const RingAddress& where, Direction direction,
                     RingFeatures features, std::uint32_t start)
    : DeviceRing(memory, direction, features),
      next_avail_(static_cast<std::uint16_t>(start)),
      seen_avail_(next_avail_),
      next_used_(next_avail_),
      published_used_(next_avail_) {
  const std::uint16_t n = where.size;
  if (n == 0 || (n & (n - 1)) != 0 || n > kMaxQueueSize)
    throw Error(Errc::invalid, "a queue's size is a power of two from 1 to " +
                                   std::to_string(kMaxQueueSize) + ", not " + std::to_string(n));
  // Alignments: virtio 1.2, 2.7.
  ring_.desc =
      reinterpret_cast<vring_desc*>(area(where.desc, desc_bytes(n), 16, "descriptor table"));
  ring_.avail =
      reinterpret_cast<std::uint16_t*>(area(where.avail, avail_bytes(n), 2, "available ring"));
  ring_.used = area(where.used, used_bytes(n), 4, "used ring");
  ring_.size = n;
}

bool SplitRing::refresh() noexcept {
  seen_avail_ = load_acquire(ring_.avail_idx());  // pairs with [A]
  if (static_cast<std::uint16_t>(seen_avail_ - next_avail_) > ring_.size) {
    fail(RingFault::avail_jump);
    return false;
  }
  return seen_avail_ != next_avail_;
}

int SplitRing::walk(vring_desc d, std::span<Segment> out, std::uint64_t& bytes) noexcept {
  // 2.7.5.3.1: an indirect descriptor stands alone; a driver never chains to or from it.
  if (d.flags & VRING_DESC_F_INDIRECT) return walk_indirect(d, out, bytes);
  int n = 0;
  for (unsigned count = 1;; ++count) {
    if (d.flags & VRING_DESC_F_INDIRECT) {
      fail(RingFault::indirect);
      return 0;
    }
    if (!add_segment(d.addr, d.len, d.flags & VRING_DESC_F_WRITE, out, n, bytes)) return 0;
    if (!(d.flags & VRING_DESC_F_NEXT)) return n;
    if (d.next >= ring_.size) {
      fail(RingFault::head_range);
      return 0;
    }
    if (count == ring_.size) {
      fail(RingFault::loop);
      return 0;
    }
    d = load_desc(&ring_.desc[d.next]);
  }
}

int SplitRing::walk_indirect(const vring_desc& table, std::span<Segment> out,
                             std::uint64_t& bytes) noexcept {
  const std::uint32_t entries = table.len / sizeof(vring_desc);
  const auto* entry = reinterpret_cast<const vring_desc*>(memory_.translate(table.addr, table.len));
  // Where it lies for us counts: a region need not be as aligned for us as for the driver.
  if (!features_.indirect || (table.flags & VRING_DESC_F_NEXT) || !entry ||
      reinterpret_cast<std::uintptr_t>(entry) % alignof(vring_desc) != 0 ||
      table.len % sizeof(vring_desc) != 0 || entries > ring_.size) {
    fail(RingFault::indirect);
    return 0;
  }
  int n = 0;
  std::uint32_t i = 0;
  for (std::uint32_t count = 0; count < entries; ++count) {
    const vring_desc d = load_desc(&entry[i]);
    if (d.flags & VRING_DESC_F_INDIRECT) break;
    if (!add_segment(d.addr, d.len, d.flags & VRING_DESC_F_WRITE, out, n, bytes)) return 0;
    if (!(d.flags & VRING_DESC_F_NEXT)) return n;
    if (d.next >= entries) break;
    i = d.next;
  }
  fail(RingFault::indirect);
  return 0;
}

bool SplitRing::publish() noexcept {
  const std::uint16_t old = published_used_;
  if (old == next_used_) return false;
  published_used_ = next_used_;
  store_full(ring_.used_idx(), next_used_);  // pairs with [B]
  memory_.wrote(ring_.used, used_bytes(ring_.size));
  // pairs with [C]
  if (features_.event_idx) return event_passed(load_full(ring_.used_event()), next_used_, old);
  return !(load_full(ring_.avail_flags()) & VRING_AVAIL_F_NO_INTERRUPT);
}

bool SplitRing::enable_notifications() noexcept {
  if (broken()) return true;
  if (features_.event_idx)
    store_full(ring_.avail_event(), next_avail_);  // pairs with [D]
  else
    store_full(ring_.used_flags(), std::uint16_t{0});
  memory_.wrote(ring_.used, used_bytes(ring_.size));
  return load_full(ring_.avail_idx()) == next_avail_;
}

void SplitRing::disable_notifications() noexcept {
  // With event_idx the event index simply stays behind.
  if (features_.event_idx) return;
  store_relaxed(ring_.used_flags(), std::uint16_t{VRING_USED_F_NO_NOTIFY});
  memory_.wrote(ring_.used, used_bytes(ring_.size));
}

}  // namespace rp::backend
