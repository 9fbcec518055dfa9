// SPDX-License-Identifier: BSD-3-Clause
// mock_packed_driver.h - the guest side of one packed ring, for tests, fuzzers and benchmarks.
//
// As mock_driver.h: chain() or indirect() a list of buffers, publish(), reap(); or poke any word of
// the ring at any time. Every access to a shared word is atomic. The driver keeps its own books and
// never believes what it wrote before.
#pragma once

#include "backend/packed_ring.h"
#include "tests/backend/mock_driver.h"

namespace rp::backend {

inline void store_desc(vring_packed_desc* d, const vring_packed_desc& v) noexcept {
  store_relaxed(&d->addr, v.addr);
  store_relaxed(&d->len, v.len);
  store_relaxed(&d->id, v.id);
  store_relaxed(&d->flags, v.flags);
}
inline vring_packed_desc load_desc(const vring_packed_desc* d) noexcept {
  return {load_relaxed(&d->addr), load_relaxed(&d->len), load_relaxed(&d->id),
          load_relaxed(&d->flags)};
}

/// The three areas of a packed ring behind each other at `base`, which is page-aligned.
constexpr RingAddress contiguous_packed_ring(std::uint16_t size, std::uint64_t base) noexcept {
  const std::uint64_t events = base + size * sizeof(vring_packed_desc);
  return {size, base, events, events + 4};
}

/// A slot, and the wrap counter there; the first lap's is true.
struct PackedPlace {
  static constexpr std::uint16_t kAvail = 0x80, kUsed = 0x8000;

  std::uint16_t slot = 0;
  bool wrap = true;
  std::uint16_t available() const noexcept { return wrap ? kAvail : kUsed; }
  std::uint16_t used() const noexcept { return wrap ? kAvail | kUsed : 0; }
  std::uint16_t encoded() const noexcept {
    return static_cast<std::uint16_t>(slot | (wrap ? 0x8000 : 0));
  }
  bool operator==(const PackedPlace&) const = default;
};

class MockPackedDriver {
 public:
  static constexpr std::uint16_t kAvail = PackedPlace::kAvail, kUsed = PackedPlace::kUsed;
  static constexpr std::uint32_t kEnable = 0, kDisable = 1, kDesc = 2;

  using Place = PackedPlace;

  /// The ring's areas must lie in `memory`, which must outlive the driver. Its areas are zeroed.
  MockPackedDriver(const GuestMemory& memory, const RingAddress& where)
      : MockPackedDriver(memory, where, Place{}) {}
  /// As if all went round to `start` already.
  MockPackedDriver(const GuestMemory& memory, const RingAddress& where, Place start)
      : memory_(&memory), where_(where) {
    reset(start);
  }
  /// The same driver with the same books over a copy of its memory.
  MockPackedDriver(const MockPackedDriver& other, const GuestMemory& copy)
      : MockPackedDriver(other) {
    memory_ = &copy;
  }

  /// Empties the ring, as a driver does before it starts a device anew.
  void reset(Place start = {}) {
    for (std::uint16_t i = 0; i < where_.size; ++i) {
      // What lies ahead was used a lap ago.
      const Place stale{i, i < start.slot ? start.wrap : !start.wrap};
      store_desc(desc(i), {0, 0, 0, stale.used()});
    }
    set_driver_event(kEnable);
    store_full(word(where_.used), std::uint32_t{0});
    next_ = published_ = freed_ = start;
    taken_ = 0;
    pending_.clear();
    slots_.assign(where_.size, 0);
    free_.clear();
    for (std::uint16_t i = where_.size; i-- > 0;) free_.push_back(i);
  }

  // Honest.

  std::size_t free_descriptors() const noexcept { return where_.size - taken_; }
  /// Slots offered and not reaped.
  std::uint16_t in_flight() const noexcept { return taken_; }

  /// Offers a chain through the next slots; publish() makes it visible. Returns the buffer id.
  std::uint16_t chain(std::span<const Piece> pieces) {
    const std::uint16_t id = take_id(static_cast<std::uint16_t>(pieces.size()));
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const bool last = i + 1 == pieces.size();
      // 2.8.6: only the last one's id counts.
      put({pieces[i].address, pieces[i].len, last ? id : std::uint16_t{0xdead},
           static_cast<std::uint16_t>((pieces[i].writable ? VRING_DESC_F_WRITE : 0) |
                                      (last ? 0 : VRING_DESC_F_NEXT))},
          i == 0);
    }
    return id;
  }
  std::uint16_t chain(std::initializer_list<Piece> pieces) {
    return chain(std::span<const Piece>(pieces.begin(), pieces.size()));
  }

  /// The same through an indirect table at `table`.
  std::uint16_t indirect(std::span<const Piece> pieces, std::uint64_t table) {
    auto* entry = at<vring_packed_desc>(table);
    for (const Piece& p : pieces)
      store_desc(entry++, {p.address, p.len, 0xdead,
                           static_cast<std::uint16_t>(p.writable ? VRING_DESC_F_WRITE : 0)});
    return indirect(table, static_cast<std::uint32_t>(pieces.size() * sizeof *entry));
  }
  /// Offers a table that the caller wrote, of `bytes` bytes.
  std::uint16_t indirect(std::uint64_t table, std::uint32_t bytes, std::uint16_t flags = 0) {
    const std::uint16_t id = take_id(1);
    put({table, bytes, id, static_cast<std::uint16_t>(VRING_DESC_F_INDIRECT | flags)}, true);
    return id;
  }

  /// Makes what was offered visible, the first chain last. True: the device asked for a kick.
  bool publish(bool event_idx = true) {
    const Place old = published_;
    published_ = next_;
    while (!pending_.empty()) {
      store_full(&desc(pending_.back().slot)->flags, pending_.back().flags);
      pending_.pop_back();
    }
    const std::uint32_t event = load_full(word(where_.used));
    if ((event >> 16) != kDesc || !event_idx) return (event >> 16) != kDisable;
    for (Place p = old; p != published_; step(p)) {
      if (p.encoded() == (event & 0xffff)) return true;
    }
    return false;
  }

  using Used = MockDriver::Used;
  /// Takes the next completion and frees its slots. False: there is none.
  bool reap(Used& out) {
    vring_packed_desc* d = desc(freed_.slot);
    const std::uint16_t flags = load_acquire(&d->flags);
    if ((flags & (kAvail | kUsed)) != freed_.used()) return false;
    out = {load_relaxed(&d->id), load_relaxed(&d->len)};
    if (out.id >= where_.size || slots_[out.id] == 0) return true;  // the caller will see
    for (std::uint16_t i = 0; i < slots_[out.id]; ++i) step(freed_);
    taken_ = static_cast<std::uint16_t>(taken_ - slots_[out.id]);
    slots_[out.id] = 0;
    free_.push_back(static_cast<std::uint16_t>(out.id));
    return true;
  }
  /// A completion waits; ordered after set_driver_event().
  bool used_waits() const {
    return (load_full(&desc(freed_.slot)->flags) & (kAvail | kUsed)) == freed_.used();
  }

  // Hostile.

  /// Puts a descriptor into the next slot, flags completed with those that make it available.
  /// A chain's head becomes visible with publish(), the rest at once.
  void put(vring_packed_desc d, bool head = true) {
    const auto flags = static_cast<std::uint16_t>(d.flags | next_.available());
    d.flags = head ? load_relaxed(&desc(next_.slot)->flags) : flags;
    store_desc(desc(next_.slot), d);
    if (head) pending_.push_back({next_.slot, flags});
    step(next_);
  }
  /// Writes a descriptor as it is.
  void set_desc(std::uint16_t i, const vring_packed_desc& d) { store_desc(desc(i), d); }
  /// 2.8.14.
  void set_driver_event(std::uint32_t flags, std::uint16_t off_wrap = 0) {
    store_full(word(where_.avail), off_wrap | flags << 16);
  }
  std::uint32_t device_event() const { return load_full(word(where_.used)); }

  Place next() const noexcept { return next_; }
  /// Where the next completion is due.
  Place freed() const noexcept { return freed_; }
  void step(Place& p) const noexcept {
    if (++p.slot == where_.size) p = {0, !p.wrap};
  }
  vring_packed_desc* desc(std::uint16_t i) const { return at<vring_packed_desc>(where_.desc) + i; }
  const RingAddress& where() const noexcept { return where_; }

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
  struct Head {
    std::uint16_t slot, flags;
  };
  std::uint32_t* word(std::uint64_t address) const { return at<std::uint32_t>(address); }
  std::uint16_t take_id(std::uint16_t slots) {
    const std::uint16_t id = free_.back();
    free_.pop_back();
    slots_[id] = slots;
    taken_ = static_cast<std::uint16_t>(taken_ + slots);
    return id;
  }

  const GuestMemory* memory_;
  RingAddress where_;
  Place next_, published_, freed_;
  std::uint16_t taken_ = 0;           ///< slots offered and not reaped
  std::vector<Head> pending_;         ///< chains whose first flags are not written yet
  std::vector<std::uint16_t> slots_;  ///< by id: slots of its chain, while in flight
  std::vector<std::uint16_t> free_;   ///< ids
};

}  // namespace rp::backend
