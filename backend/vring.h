// SPDX-License-Identifier: BSD-3-Clause
// vring.h - the split virtqueue's memory layout (virtio 1.2, 2.7) and how both ends touch it.
//
//        descriptor table        available ring (driver writes)     used ring (device writes)
//      [addr len flags next] x N   flags idx ring[N] used_event    flags idx {id len}[N]
//      avail_event
//
// Slots between used.idx and avail.idx belong to the device, the others to the driver. An index is
// published by a release store and read by an acquire load; each end keeps its own copies and
// never reads back what it wrote. Barrier pairs:
//   [A] avail.idx release (driver_ring publish)   - acquire (split_ring pop)
//   [B] used.idx release (split_ring publish)    - acquire (driver_ring)
//   [C] used_event store; fence; used.idx load (driver_ring rearm)
//       - used.idx store; fence; used_event load (split_ring publish)
//   [D] avail_event store; fence; avail.idx load (split_ring enable_notifications)
//       - avail.idx store; fence; avail_event load (driver_ring publish)
#pragma once

#define VIRTIO_RING_NO_LEGACY  // its helpers are not C++
#include <linux/virtio_ring.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace rp::backend {

/// virtio 1.2, 2.7: at most 32768; ours is what a burst's parts can hold.
inline constexpr std::uint16_t kMaxQueueSize = 1024;

inline constexpr std::size_t desc_bytes(std::size_t n) noexcept {
  return n * sizeof(vring_desc);
}
inline constexpr std::size_t avail_bytes(std::size_t n) noexcept {
  return 2 * (n + 3);
}
inline constexpr std::size_t used_bytes(std::size_t n) noexcept {
  return 6 + n * sizeof(vring_used_elem);
}

/// virtio is little-endian; so is every host that ringplug builds on.
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

/// One access to a word that the other side may be writing. The word is aligned.
template <typename T>
T load_relaxed(const T* p) noexcept {
  return std::atomic_ref<T>(*const_cast<T*>(p)).load(std::memory_order_relaxed);
}
template <typename T>
T load_acquire(const T* p) noexcept {
  return std::atomic_ref<T>(*const_cast<T*>(p)).load(std::memory_order_acquire);
}
template <typename T>
void store_relaxed(T* p, T v) noexcept {
  std::atomic_ref<T>(*p).store(v, std::memory_order_relaxed);
}
template <typename T>
void store_release(T* p, T v) noexcept {
  std::atomic_ref<T>(*p).store(v, std::memory_order_release);
}
/// A store that every thread orders before this thread's next load. TSan knows no fences, so both
/// sides of pairs [C] and [D] use sequentially consistent accesses, which cost the same here.
template <typename T>
void store_full(T* p, T v) noexcept {
  std::atomic_ref<T>(*p).store(v, std::memory_order_seq_cst);
}
template <typename T>
T load_full(const T* p) noexcept {
  return std::atomic_ref<T>(*const_cast<T*>(p)).load(std::memory_order_seq_cst);
}

/// A descriptor read once, word by word, into private memory.
inline vring_desc load_desc(const vring_desc* d) noexcept {
  return {load_relaxed(&d->addr), load_relaxed(&d->len), load_relaxed(&d->flags),
          load_relaxed(&d->next)};
}
inline void store_desc(vring_desc* d, const vring_desc& v) noexcept {
  store_relaxed(&d->addr, v.addr);
  store_relaxed(&d->len, v.len);
  store_relaxed(&d->flags, v.flags);
  store_relaxed(&d->next, v.next);
}

/// Pointers to one ring's three areas.
struct VringAreas {
  vring_desc* desc = nullptr;
  std::uint16_t* avail = nullptr;  ///< flags, idx, ring[n], used_event
  std::uint8_t* used = nullptr;    ///< flags, idx, elem[n], avail_event
  std::uint16_t size = 0;          ///< a power of two

  std::uint16_t* avail_flags() const noexcept { return avail; }
  std::uint16_t* avail_idx() const noexcept { return avail + 1; }
  std::uint16_t* avail_ring(std::uint16_t i) const noexcept { return avail + 2 + (i & (size - 1)); }
  std::uint16_t* used_event() const noexcept { return avail + 2 + size; }
  std::uint16_t* used_flags() const noexcept { return reinterpret_cast<std::uint16_t*>(used); }
  std::uint16_t* used_idx() const noexcept { return reinterpret_cast<std::uint16_t*>(used) + 1; }
  vring_used_elem* used_ring(std::uint16_t i) const noexcept {
    return reinterpret_cast<vring_used_elem*>(used + 4) + (i & (size - 1));
  }
  std::uint16_t* avail_event() const noexcept {
    return reinterpret_cast<std::uint16_t*>(used + 4 + size * sizeof(vring_used_elem));
  }
};

/// virtio 1.2, 2.7.10: whether an index that went from `old` to `now` passed `event`.
inline bool event_passed(std::uint16_t event, std::uint16_t now, std::uint16_t old) noexcept {
  return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - old);
}

}  // namespace rp::backend
