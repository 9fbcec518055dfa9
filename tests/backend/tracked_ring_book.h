// SPDX-License-Identifier: BSD-3-Clause
// tracked_ring_book.h - devices that note what they have in hand step by step as the vhost-user
// specification ("Inflight I/O tracking") has it, complete in any order, and die at any store.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

#include "backend/inflight.h"
#include "backend/tracked_packed_ring.h"
#include "backend/tracked_split_ring.h"
#include "tests/backend/mock_packed_driver.h"

namespace rp::backend {

/// A chain that a device has in hand.
struct InHand {
  std::uint16_t id = 0, slots = 0;  ///< none: slots is 0
  std::uint64_t address = 0;        ///< of its first buffer
  std::uint16_t entry = 0;          ///< packed: where it is noted
};

class Book {
 public:
  struct Died {};
  /// Throws Died at the store after so many.
  void dies_after(std::size_t stores) noexcept { left_ = stores; }

 protected:
  template <typename T>
  void put(T* to, std::type_identity_t<T> v) {
    if (left_-- == 0) throw Died{};
    store_relaxed(to, v);
  }
  static InHand take_any(std::vector<InHand>& from, std::uint64_t dice) {
    const auto it = from.begin() + static_cast<std::ptrdiff_t>(dice % from.size());
    const InHand h = *it;
    from.erase(it);
    return h;
  }

  std::vector<InHand> in_hand_, batch_;
  std::uint64_t counter_ = 0;

 private:
  std::size_t left_ = SIZE_MAX;
};

class SplitBook : public Book {
 public:
  SplitBook(const GuestMemory& m, const RingAddress& where, std::uint8_t* region, std::uint16_t)
      : r_(reinterpret_cast<InflightSplit*>(region)) {
    ring_ = {reinterpret_cast<vring_desc*>(m.translate(where.desc, 1)),
             reinterpret_cast<std::uint16_t*>(m.translate(where.avail, 1)),
             m.translate(where.used, 1), where.size};
  }

  std::vector<InHand> reconnect() {
    used_ = *ring_.used_idx();
    if (r_->used_idx != used_) {
      std::uint16_t head = r_->last_batch_head;
      for (auto n = static_cast<std::uint16_t>(used_ - r_->used_idx); n > 0; --n) {
        put(&r_->desc()[head].inflight, 0);
        head = r_->desc()[head].next;
      }
      put(&r_->used_idx, used_);
    }
    std::vector<std::pair<std::uint64_t, std::uint16_t>> marked;
    for (std::uint16_t i = 0; i < ring_.size; ++i)
      if (r_->desc()[i].inflight) marked.emplace_back(r_->desc()[i].counter, i);
    std::sort(marked.begin(), marked.end());
    for (const auto& [counter, head] : marked) in_hand_.push_back(read(head));
    if (!marked.empty()) counter_ = marked.back().first + 1;
    avail_ = static_cast<std::uint16_t>(used_ + marked.size());
    return in_hand_;
  }
  InHand fetch() {
    if (avail_ == *ring_.avail_idx()) return {};
    const std::uint16_t head = *ring_.avail_ring(avail_++);
    in_hand_.push_back(read(head));
    put(&r_->desc()[head].counter, counter_++);
    put(&r_->desc()[head].inflight, 1);
    return in_hand_.back();
  }
  void complete_any(std::uint64_t dice) {
    if (in_hand_.empty()) return;
    const InHand h = take_any(in_hand_, dice);
    vring_used_elem* e = ring_.used_ring(static_cast<std::uint16_t>(used_ + batch_.size()));
    put(&e->id, std::uint32_t{h.id});
    put(&e->len, 5u);
    put(&r_->desc()[h.id].next, r_->last_batch_head);
    put(&r_->last_batch_head, h.id);
    batch_.push_back(h);
  }
  void publish() {
    used_ = static_cast<std::uint16_t>(used_ + batch_.size());
    put(ring_.used_idx(), used_);
    for (const InHand& h : batch_) put(&r_->desc()[h.id].inflight, 0);
    put(&r_->used_idx, used_);
    batch_.clear();
  }

 private:
  InHand read(std::uint16_t head) const {
    InHand h{head, 1, ring_.desc[head].addr};
    for (std::uint16_t i = head; ring_.desc[i].flags & VRING_DESC_F_NEXT; ++h.slots)
      i = ring_.desc[i].next;
    return h;
  }

  InflightSplit* r_;
  VringAreas ring_;
  std::uint16_t avail_ = 0, used_ = 0;
};

class PackedBook : public Book {
 public:
  PackedBook(const GuestMemory& m, const RingAddress& where, std::uint8_t* region,
             std::uint16_t entries)
      : r_(reinterpret_cast<InflightPacked*>(region)),
        place_(reinterpret_cast<InflightPacked::Place*>(&r_->place)),
        ring_(reinterpret_cast<vring_packed_desc*>(m.translate(where.desc, 1))),
        size_(where.size),
        entries_(entries) {}

  std::vector<InHand> reconnect() {
    InflightPacked::Entry* desc = r_->desc();
    if (place_->used_idx != place_->old_used_idx || place_->used_wrap != place_->old_used_wrap) {
      const PackedCursor old{place_->old_used_idx, place_->old_used_wrap != 0};
      if (!old.available(ring_[old.index].flags)) {
        put(&r_->old_free_head, r_->free_head);
        put(&place_->old_used_idx, place_->used_idx);
        put(&place_->old_used_wrap, place_->used_wrap);
      }
    }
    put(&r_->free_head, r_->old_free_head);
    put(&place_->used_idx, place_->old_used_idx);
    put(&place_->used_wrap, place_->old_used_wrap);
    std::uint16_t i = r_->free_head;
    for (unsigned n = 0; i < entries_ && n < entries_; ++n, i = desc[i].next)
      put(&desc[i].inflight, 0);
    std::vector<std::pair<std::uint64_t, std::uint16_t>> marked;
    for (i = 0; i < entries_; ++i)
      if (desc[i].inflight) marked.emplace_back(desc[i].counter, i);
    std::sort(marked.begin(), marked.end());
    avail_ = used_ = {place_->used_idx, place_->used_wrap != 0};
    for (const auto& [counter, head] : marked) {
      in_hand_.push_back({desc[desc[head].last].id, desc[head].num, desc[head].addr, head});
      avail_.advance(desc[head].num, size_);
    }
    if (!marked.empty()) counter_ = marked.back().first + 1;
    return in_hand_;
  }
  InHand fetch() {
    if (!avail_.available(ring_[avail_.index].flags)) return {};
    InflightPacked::Entry* desc = r_->desc();
    const std::uint16_t head = r_->old_free_head;
    InHand h{0, 0, ring_[avail_.index].addr, head};
    put(&desc[head].num, 0);
    put(&desc[head].counter, counter_++);
    put(&desc[head].inflight, 1);
    for (bool more = true; more;) {
      const vring_packed_desc d = ring_[avail_.index];
      avail_.advance(1, size_);
      more = d.flags & VRING_DESC_F_NEXT;
      const std::uint16_t to = r_->free_head;
      if (!more) put(&desc[head].last, to);
      put(&desc[head].num, ++h.slots);
      put(&desc[to].addr, std::uint64_t{d.addr});
      put(&desc[to].len, std::uint32_t{d.len});
      put(&desc[to].flags, std::uint16_t{d.flags});
      put(&desc[to].id, std::uint16_t{d.id});
      put(&r_->free_head, desc[to].next);
      h.id = d.id;
    }
    put(&r_->old_free_head, r_->free_head);
    in_hand_.push_back(h);
    return h;
  }
  void complete_any(std::uint64_t dice) {
    if (in_hand_.empty()) return;
    const InHand h = take_any(in_hand_, dice);
    put(&r_->desc()[r_->desc()[h.entry].last].next, r_->free_head);
    put(&r_->free_head, h.entry);
    batch_.push_back(h);
  }
  void publish() {
    if (batch_.empty()) return;
    std::vector<PackedCursor> at;
    for (const InHand& h : batch_) {
      at.push_back(used_);
      used_.advance(h.slots, size_);
    }
    put(&place_->used_idx, used_.index);
    put(&place_->used_wrap, std::uint8_t{used_.wrap});
    // The first one last: a driver sees none before it.
    for (std::size_t i = batch_.size(); i-- > 0;) {
      put(&ring_[at[i].index].id, batch_[i].id);
      put(&ring_[at[i].index].len, 5u);
      put(&ring_[at[i].index].flags, at[i].used_flags());
    }
    for (const InHand& h : batch_) put(&r_->desc()[h.entry].inflight, 0);
    put(&r_->old_free_head, r_->free_head);
    put(&place_->old_used_idx, used_.index);
    put(&place_->old_used_wrap, std::uint8_t{used_.wrap});
    batch_.clear();
  }

 private:
  InflightPacked* r_;
  InflightPacked::Place* place_;
  vring_packed_desc* ring_;
  const std::uint16_t size_, entries_;
  PackedCursor avail_{}, used_{};
};

struct SplitSide {
  using Driver = MockDriver;
  using Ring = TrackedSplitRing;
  using Book = SplitBook;
  static constexpr bool kPacked = false;
  static RingAddress where(std::uint16_t size, std::uint64_t at) {
    return contiguous_ring(size, at);
  }
};
struct PackedSide {
  using Driver = MockPackedDriver;
  using Ring = TrackedPackedRing;
  using Book = PackedBook;
  static constexpr bool kPacked = true;
  static RingAddress where(std::uint16_t size, std::uint64_t at) {
    return contiguous_packed_ring(size, at);
  }
};

}  // namespace rp::backend
