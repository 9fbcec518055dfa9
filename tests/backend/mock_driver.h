// SPDX-License-Identifier: BSD-3-Clause
// mock_driver.h - the guest side of one split ring, for tests, fuzzers and benchmarks.
//
// Honest use: chain() or indirect() a list of buffers, publish(), reap(). Hostile use: poke any
// word of the ring at any time; every access to a shared word is atomic, so that a thread may do it
// while the device works. The driver keeps its own books and never believes what it wrote before.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "backend/guest_memory.h"
#include "backend/plug_memory.h"
#include "backend/vring.h"
#include "base/error.h"
#include "base/fd.h"

namespace rp::backend {

/// A memfd of `size` bytes. Throws Error.
inline Fd make_memfd(std::size_t size) {
  Fd fd(memfd_create("rp-mock", MFD_CLOEXEC));
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(size)) != 0) throw_errno("mock memory", errno);
  return fd;
}

/// Adds a region of fresh, zeroed shared memory. Throws Error.
inline void add_region(GuestMemory& memory, std::uint64_t address, std::size_t size) {
  const Fd fd = make_memfd(size);
  memory.add(address, Mapping(fd.get(), size));
}

/// The three areas of a ring of `size` packed behind each other at `base`, which is page-aligned.
constexpr RingAddress contiguous_ring(std::uint16_t size, std::uint64_t base) noexcept {
  const std::uint64_t avail = base + desc_bytes(size);
  return {size, base, avail, (avail + avail_bytes(size) + 3) & ~std::uint64_t{3}};
}

/// One buffer as the driver describes it.
struct Piece {
  std::uint64_t address;
  std::uint32_t len;
  bool writable = false;
};

class MockDriver {
 public:
  /// The ring's areas must lie in `memory`, which must outlive the driver. Its areas are zeroed.
  MockDriver(const GuestMemory& memory, const RingAddress& where, std::uint16_t start = 0)
      : memory_(&memory), where_(where) {
    find_areas();
    reset(start);
  }
  /// The same driver with the same books over a copy of its memory.
  MockDriver(const MockDriver& other, const GuestMemory& copy) : MockDriver(other) {
    memory_ = &copy;
    find_areas();
  }

  /// Empties the ring, as a driver does before it starts a device anew.
  void reset(std::uint16_t start = 0) {
    for (std::uint16_t i = 0; i < ring_.size; ++i) {
      store_desc(&ring_.desc[i], {});
      store_relaxed(ring_.avail_ring(i), std::uint16_t{0});
    }
    store_relaxed(ring_.avail_flags(), std::uint16_t{0});
    store_relaxed(ring_.used_event(), std::uint16_t{0});
    store_relaxed(ring_.avail_event(), std::uint16_t{0});
    store_relaxed(ring_.avail_idx(), start);
    store_relaxed(ring_.used_idx(), start);
    next_ = published_ = freed_ = start;
    chain_.assign(ring_.size, {});
    free_.clear();
    for (std::uint16_t i = ring_.size; i-- > 0;) free_.push_back(i);
  }

  // Honest.

  std::size_t free_descriptors() const noexcept { return free_.size(); }
  /// Chains offered and not reaped.
  std::uint16_t in_flight() const noexcept { return static_cast<std::uint16_t>(next_ - freed_); }

  /// Links the pieces through free descriptors and offers the chain; publish() makes it visible.
  /// Throws std::out_of_range: there are fewer.
  std::uint16_t chain(std::span<const Piece> pieces) {
    std::vector<std::uint16_t> taken = take(pieces.size());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      set_desc(taken[i], describe(pieces[i], last ? 0 : taken[i + 1], !last));
    }
    const std::uint16_t head = taken.front();
    chain_[head] = std::move(taken);
    offer(head);
    return head;
  }
  std::uint16_t chain(std::initializer_list<Piece> pieces) {
    return chain(std::span<const Piece>(pieces.begin(), pieces.size()));
  }

  /// The same through an indirect table at `table`.
  std::uint16_t indirect(std::span<const Piece> pieces, std::uint64_t table) {
    auto* entry = at<vring_desc>(table);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      const auto next = static_cast<std::uint16_t>(last ? 0 : i + 1);
      store_desc(&entry[i], describe(pieces[i], next, !last));
    }
    return indirect(table, static_cast<std::uint32_t>(desc_bytes(pieces.size())));
  }
  /// Offers a table that the caller wrote, of `bytes` bytes.
  std::uint16_t indirect(std::uint64_t table, std::uint32_t bytes, std::uint16_t flags = 0) {
    const std::uint16_t head = take(1).front();
    set_desc(head, {table, bytes, static_cast<std::uint16_t>(VRING_DESC_F_INDIRECT | flags), 0});
    chain_[head] = {head};
    offer(head);
    return head;
  }

  /// Makes what was offered visible. True: the device asked for a kick.
  bool publish(bool event_idx = true) {
    const std::uint16_t old = published_;
    published_ = next_;
    store_full(ring_.avail_idx(), next_);
    if (event_idx) return event_passed(load_full(ring_.avail_event()), next_, old);
    return !(load_full(ring_.used_flags()) & VRING_USED_F_NO_NOTIFY);
  }

  struct Used {
    std::uint32_t id, len;
  };
  /// Takes the next completion and frees its descriptors. False: there is none.
  bool reap(Used& out) {
    if (load_acquire(ring_.used_idx()) == freed_) return false;
    const vring_used_elem* e = ring_.used_ring(freed_++);
    out = {load_relaxed(&e->id), load_relaxed(&e->len)};
    if (out.id < ring_.size) {
      free_.insert(free_.end(), chain_[out.id].rbegin(), chain_[out.id].rend());
      chain_[out.id].clear();
    }
    return true;
  }

  // Hostile.

  /// Puts a head on the available ring, whatever it is.
  void offer(std::uint16_t head) { store_relaxed(ring_.avail_ring(next_++), head); }
  void set_desc(std::uint16_t i, const vring_desc& d) { store_desc(&ring_.desc[i], d); }
  void set_avail_idx(std::uint16_t v) { store_full(ring_.avail_idx(), v); }
  void set_used_event(std::uint16_t v) { store_full(ring_.used_event(), v); }
  void set_avail_flags(std::uint16_t v) { store_full(ring_.avail_flags(), v); }
  /// Fills the whole used area with one byte, two bytes at a time.
  void scribble_used(std::uint8_t with) {
    const auto word = static_cast<std::uint16_t>(with * 0x0101);
    auto* p = reinterpret_cast<std::uint16_t*>(ring_.used);
    for (std::size_t i = 0; i < used_bytes(ring_.size) / 2; ++i) store_relaxed(p + i, word);
  }

  std::uint16_t next() const noexcept { return next_; }
  std::uint16_t used_idx() const noexcept { return load_acquire(ring_.used_idx()); }
  const VringAreas& areas() const noexcept { return ring_; }
  const RingAddress& where() const noexcept { return where_; }
  const GuestMemory& memory() const noexcept { return *memory_; }

  template <typename T>
  T* at(std::uint64_t address) const {
    std::uint8_t* p = memory_->translate(address, 1);
    if (!p) throw Error(Errc::invalid, "the mock driver's own address is not in its memory");
    return reinterpret_cast<T*>(p);
  }
  void write(std::uint64_t address, std::span<const std::uint8_t> bytes) const {
    std::memcpy(at<std::uint8_t>(address), bytes.data(), bytes.size());
  }

 private:
  std::vector<std::uint16_t> take(std::size_t n) {
    if (n > free_.size()) throw std::out_of_range("descriptors");
    const std::vector<std::uint16_t> taken(free_.end() - static_cast<std::ptrdiff_t>(n),
                                           free_.end());
    free_.resize(free_.size() - n);
    return taken;
  }
  static vring_desc describe(const Piece& p, std::uint16_t next, bool more) noexcept {
    const int flags = (p.writable ? VRING_DESC_F_WRITE : 0) | (more ? VRING_DESC_F_NEXT : 0);
    return {p.address, p.len, static_cast<std::uint16_t>(flags), next};
  }

  void find_areas() {
    ring_.desc = at<vring_desc>(where_.desc);
    ring_.avail = at<std::uint16_t>(where_.avail);
    ring_.used = at<std::uint8_t>(where_.used);
    ring_.size = where_.size;
  }

  const GuestMemory* memory_;
  RingAddress where_;
  VringAreas ring_;
  std::uint16_t next_ = 0, published_ = 0, freed_ = 0;
  std::vector<std::uint16_t> free_;
  std::vector<std::vector<std::uint16_t>> chain_;  ///< by head: its descriptors, while in flight
};

}  // namespace rp::backend
