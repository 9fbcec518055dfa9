// SPDX-License-Identifier: BSD-3-Clause
// device_ring.cc - walking chains, completing them, and when to notify.
#include "backend/device_ring.h"

#include "base/error.h"

namespace rp::backend {
namespace {

/// No chain carries more than a frame and its header; what claims more is a fault (2.7.5: a chain
/// has fewer than 2^32 bytes).
constexpr std::uint64_t kMaxChainBytes = std::uint64_t{1} << 20;

constexpr const char* kFaultNames[] = {"none",    "avail-jump", "head-range", "loop",
                                       "address", "direction",  "indirect",   "too-big"};
static_assert(std::size(kFaultNames) == static_cast<std::size_t>(RingFault::count));

template <typename T>
T* area(const GuestMemory& memory, std::uint64_t address, std::uint64_t len, unsigned align,
        const char* what) {
  std::uint8_t* p = address % align == 0 ? memory.translate(address, len) : nullptr;
  if (!p || reinterpret_cast<std::uintptr_t>(p) % align != 0)
    throw Error(Errc::invalid,
                std::string("the ") + what + " is misaligned or not wholly in shared memory");
  return reinterpret_cast<T*>(p);
}

}  // namespace

const char* ring_fault_name(RingFault f) noexcept {
  return kFaultNames[static_cast<int>(f)];
}

DeviceRing::DeviceRing(const GuestMemory& memory, const RingAddress& where, Direction direction,
                       Features features, std::uint16_t start)
    : memory_(memory),
      direction_(direction),
      features_(features),
      next_avail_(start),
      seen_avail_(start),
      next_used_(start),
      published_used_(start) {
  const std::uint16_t n = where.size;
  if (n == 0 || (n & (n - 1)) != 0 || n > kMaxQueueSize)
    throw Error(Errc::invalid, "a queue's size is a power of two from 1 to " +
                                   std::to_string(kMaxQueueSize) + ", not " + std::to_string(n));
  // Alignments: virtio 1.2, 2.7.
  ring_.desc = area<vring_desc>(memory, where.desc, desc_bytes(n), 16, "descriptor table");
  ring_.avail = area<std::uint16_t>(memory, where.avail, avail_bytes(n), 2, "available ring");
  ring_.used = area<std::uint8_t>(memory, where.used, used_bytes(n), 4, "used ring");
  ring_.size = n;
}

bool DeviceRing::refresh() noexcept {
  seen_avail_ = load_acquire(ring_.avail_idx());  // pairs with [A]
  if (static_cast<std::uint16_t>(seen_avail_ - next_avail_) > ring_.size) {
    fail(RingFault::avail_jump);
    return false;
  }
  return seen_avail_ != next_avail_;
}

int DeviceRing::pop(std::span<Segment> out, std::uint16_t& head, std::uint32_t& bytes) noexcept {
  if (broken()) return 0;
  if (seen_avail_ == next_avail_ && !refresh()) return 0;
  head = load_relaxed(ring_.avail_ring(next_avail_));
  if (head >= ring_.size) {
    fail(RingFault::head_range);
    return 0;
  }
  std::uint64_t total = 0;
  const int n = walk(head, out, total);
  if (n <= 0) return broken() ? 0 : -1;
  bytes = static_cast<std::uint32_t>(total);
  ++next_avail_;
  return n;
}

bool DeviceRing::add_segment(const vring_desc& d, std::span<Segment> out, int& n,
                             std::uint64_t& bytes) {
  const bool writable = d.flags & VRING_DESC_F_WRITE;
  if (writable != (direction_ == Direction::to_driver)) {
    fail(RingFault::direction);
    return false;
  }
  std::uint8_t* p = memory_.translate(d.addr, d.len);
  if (!p) {
    fail(RingFault::address);
    return false;
  }
  bytes += d.len;
  if (bytes > kMaxChainBytes) {
    fail(RingFault::too_big);
    return false;
  }
  if (static_cast<std::size_t>(n) == out.size()) return false;  // not the driver's fault
  out[static_cast<std::size_t>(n++)] = {p, d.len};
  return true;
}

int DeviceRing::walk(std::uint16_t head, std::span<Segment> out, std::uint64_t& bytes) noexcept {
  int n = 0;
  std::uint16_t i = head;
  for (unsigned count = 0; count < ring_.size; ++count) {
    const vring_desc d = load_desc(&ring_.desc[i]);
    if (d.flags & VRING_DESC_F_INDIRECT) {
      // 2.7.5.3.1: an indirect descriptor stands alone; a driver never chains to or from it.
      if (!features_.indirect || count != 0 || (d.flags & VRING_DESC_F_NEXT)) {
        fail(RingFault::indirect);
        return 0;
      }
      return walk_indirect(d, out, bytes);
    }
    if (!add_segment(d, out, n, bytes)) return 0;
    if (!(d.flags & VRING_DESC_F_NEXT)) return n;
    if (d.next >= ring_.size) {
      fail(RingFault::head_range);
      return 0;
    }
    i = d.next;
  }
  fail(RingFault::loop);
  return 0;
}

int DeviceRing::walk_indirect(const vring_desc& table, std::span<Segment> out,
                              std::uint64_t& bytes) noexcept {
  const std::uint32_t entries = table.len / sizeof(vring_desc);
  const auto* entry = reinterpret_cast<const vring_desc*>(memory_.translate(table.addr, table.len));
  // Where it lies for us counts: a region need not be as aligned for us as for the driver.
  if (!entry || reinterpret_cast<std::uintptr_t>(entry) % alignof(vring_desc) != 0 ||
      table.len % sizeof(vring_desc) != 0 || entries > ring_.size) {
    fail(RingFault::indirect);
    return 0;
  }
  int n = 0;
  std::uint32_t i = 0;
  for (std::uint32_t count = 0; count < entries; ++count) {
    const vring_desc d = load_desc(&entry[i]);
    if (d.flags & VRING_DESC_F_INDIRECT) break;
    if (!add_segment(d, out, n, bytes)) return 0;
    if (!(d.flags & VRING_DESC_F_NEXT)) return n;
    if (d.next >= entries) break;
    i = d.next;
  }
  fail(RingFault::indirect);
  return 0;
}

void DeviceRing::complete(std::uint16_t head, std::uint32_t written) noexcept {
  vring_used_elem* e = ring_.used_ring(next_used_++);
  store_relaxed(&e->id, std::uint32_t{head});
  store_relaxed(&e->len, written);
}

bool DeviceRing::publish() noexcept {
  const std::uint16_t old = published_used_;
  if (old == next_used_) return false;
  published_used_ = next_used_;
  store_full(ring_.used_idx(), next_used_);  // pairs with [B]
  // pairs with [C]
  if (features_.event_idx) return event_passed(load_full(ring_.used_event()), next_used_, old);
  return !(load_full(ring_.avail_flags()) & VRING_AVAIL_F_NO_INTERRUPT);
}

bool DeviceRing::enable_notifications() noexcept {
  if (broken()) return true;
  if (features_.event_idx)
    store_full(ring_.avail_event(), next_avail_);  // pairs with [D]
  else
    store_full(ring_.used_flags(), std::uint16_t{0});
  return load_full(ring_.avail_idx()) == next_avail_;
}

void DeviceRing::disable_notifications() noexcept {
  // With event_idx the event index simply stays behind.
  if (!features_.event_idx)
    store_relaxed(ring_.used_flags(), std::uint16_t{VRING_USED_F_NO_NOTIFY});
}

}  // namespace rp::backend
