// SPDX-License-Identifier: BSD-3-Clause
// inflight.h - where the chains that a device has in hand are noted, for whoever comes after it.
//
// Source: vhost-user specification, "Inflight I/O tracking". A front end keeps the memory while its
// back ends come and go, so that what lies there is believed as little as a ring: it is read once,
// when a ring starts, and only written from then on. A thread that is killed leaves its stores in
// program order, which is all the order that the steps of the specification need (inflight_step).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace rp::backend {

/// One queue's part of the memory, and for how many descriptors it was made. Null: none.
struct InflightRegion {
  std::uint8_t* data = nullptr;  ///< aligned to 8
  std::uint16_t entries = 0;
  explicit operator bool() const noexcept { return data != nullptr; }
};

inline constexpr std::uint16_t kInflightVersion = 1;  ///< 0: nothing was noted yet

/// QueueRegionSplit.
struct InflightSplit {
  struct Entry {  ///< by head index
    std::uint8_t inflight, padding[5];
    std::uint16_t next;  ///< in the list of the last batch
    std::uint64_t counter;
  };
  std::uint64_t features;
  std::uint16_t version, desc_num;
  std::uint16_t last_batch_head, used_idx;

  Entry* desc() noexcept { return reinterpret_cast<Entry*>(this + 1); }
};
static_assert(sizeof(InflightSplit) == 16 && sizeof(InflightSplit::Entry) == 16);

/// QueueRegionPacked.
struct InflightPacked {
  struct Entry {
    std::uint8_t inflight, padding;
    std::uint16_t next;       ///< of the chain, or of the free list
    std::uint16_t last, num;  ///< of the chain that begins here
    std::uint64_t counter;
    std::uint16_t id, flags;
    std::uint32_t len;
    std::uint64_t addr;
  };
  /// What changes in one store.
  struct Place {
    std::uint16_t used_idx, old_used_idx;
    std::uint8_t used_wrap, old_used_wrap, padding[2];
  };
  std::uint64_t features;
  std::uint16_t version, desc_num;
  std::uint16_t free_head, old_free_head;
  std::uint64_t place;  ///< a Place
  std::uint64_t padding;

  Entry* desc() noexcept { return reinterpret_cast<Entry*>(this + 1); }
};
static_assert(sizeof(InflightPacked) == 32 && sizeof(InflightPacked::Entry) == 32);
static_assert(sizeof(InflightPacked::Place) == 8 && offsetof(InflightPacked, place) == 16);
static_assert(offsetof(InflightSplit, version) == offsetof(InflightPacked, version));

/// Bytes of one queue's region, as every back end counts them.
constexpr std::size_t inflight_bytes(bool packed, std::size_t entries) noexcept {
  constexpr std::size_t kAlign = 64;
  const std::size_t n = packed ? sizeof(InflightPacked) + entries * sizeof(InflightPacked::Entry)
                               : sizeof(InflightSplit) + entries * sizeof(InflightSplit::Entry);
  return (n + kAlign - 1) / kAlign * kAlign;
}

/// Keeps the compiler from moving a store across.
inline void inflight_step() noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace rp::backend
