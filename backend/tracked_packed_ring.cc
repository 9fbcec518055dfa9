// SPDX-License-Identifier: BSD-3-Clause
// tracked_packed_ring.cc - the entries of a packed ring's chains, and what they tell after a crash.
#include "backend/tracked_packed_ring.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace rp::backend {

TrackedPackedRing::TrackedPackedRing(const GuestMemory& memory, const RingAddress& where,
                                     Direction direction, RingFeatures features,
                                     std::uint32_t start, const InflightRegion& region)
    : PackedRing(memory, where, direction, features, start),
      region_(reinterpret_cast<InflightPacked*>(region.data)),
      entries_(region.entries) {
  if (where.size > entries_)
    throw Error(Errc::invalid, "the inflight region was made for a smaller ring");
  switch (load_relaxed(&region_->version)) {
    case 0:
      clear();
      break;
    case kInflightVersion:
      recover();
      break;
    default:
      throw Error(Errc::invalid, "an inflight region of another version");
  }
}

void TrackedPackedRing::store_place(const PackedCursor& used, const PackedCursor& old) noexcept {
  const InflightPacked::Place p{used.index, old.index, used.wrap, old.wrap, {}};
  store_relaxed(&region_->place, std::bit_cast<std::uint64_t>(p));
}

void TrackedPackedRing::clear() {
  store_relaxed(&region_->features, std::uint64_t{0});
  store_relaxed(&region_->desc_num, entries_);
  for (std::uint16_t i = 0; i < entries_; ++i)
    store_relaxed(&region_->desc()[i].inflight, std::uint8_t{0});
  make_free_list(std::array<bool, kMaxQueueSize>{});
  store_place(used(), used());
  inflight_step();
  store_relaxed(&region_->version, kInflightVersion);
}

/// Links all entries that no chain has.
void TrackedPackedRing::make_free_list(std::span<const bool> taken) noexcept {
  free_head_ = entries_;  // behind the last one
  for (std::uint16_t i = entries_; i-- > 0;) {
    if (taken[i]) continue;
    next_[i] = free_head_;
    store_relaxed(&region_->desc()[i].next, free_head_);
    free_head_ = i;
  }
  inflight_step();
  store_relaxed(&region_->free_head, free_head_);
  inflight_step();
  store_relaxed(&region_->old_free_head, free_head_);
}

void TrackedPackedRing::recover() {
  if (load_relaxed(&region_->desc_num) != entries_)
    throw Error(Errc::invalid, "the inflight region is not of the size that it was made for");
  const PackedCursor used = settle_last_batch();
  release_free_list();
  collect_marked(used);
}

/// Finishes what was under way, or takes it back. Where the next used descriptor goes.
PackedCursor TrackedPackedRing::settle_last_batch() {
  const auto p = std::bit_cast<InflightPacked::Place>(load_relaxed(&region_->place));
  const PackedCursor used{p.used_idx, p.used_wrap != 0}, old{p.old_used_idx, p.old_used_wrap != 0};
  if (used.index >= size() || old.index >= size())
    throw Error(Errc::invalid, "the inflight region's used index is outside the ring");
  // A batch of a whole lap changes the wrap counter alone.
  const bool begun = used.index != old.index || used.wrap != old.wrap;
  if (begun && !old.available(flags_in_memory(old.index))) {
    store_relaxed(&region_->old_free_head, load_relaxed(&region_->free_head));
    inflight_step();
    store_place(used, used);
    return used;
  }
  store_relaxed(&region_->free_head, load_relaxed(&region_->old_free_head));
  inflight_step();
  store_place(old, old);
  return old;
}

/// Takes the marks off what is free.
void TrackedPackedRing::release_free_list() noexcept {
  std::uint16_t i = load_relaxed(&region_->free_head);
  for (unsigned n = 0; n < entries_ && i < entries_; ++n) {
    store_relaxed(&region_->desc()[i].inflight, std::uint8_t{0});
    i = load_relaxed(&region_->desc()[i].next);
  }
  inflight_step();
}

void TrackedPackedRing::collect_marked(PackedCursor used) {
  std::vector<std::pair<std::uint64_t, std::uint16_t>> marked;
  for (std::uint16_t i = 0; i < entries_; ++i) {
    const Entry& e = region_->desc()[i];
    if (load_relaxed(&e.inflight) != 0) marked.emplace_back(load_relaxed(&e.counter), i);
  }
  std::sort(marked.begin(), marked.end());
  if (!marked.empty()) counter_ = marked.back().first + 1;

  std::array<bool, kMaxQueueSize> taken{};
  for (const auto& [counter, head] : marked) {
    const std::uint16_t slots = load_relaxed(&region_->desc()[head].num);
    if (slots == 0 || slots > size() - again_desc_.size())
      throw Error(Errc::invalid, "the inflight region's chains are longer than the ring");
    again_.push_back({again_desc_.size(), slots});
    std::uint16_t at = head, last = head;
    for (std::uint16_t k = 0; k < slots; ++k) {
      if (at >= entries_ || taken[at])
        throw Error(Errc::invalid, "the inflight region's chains leave it or cross");
      taken[at] = true;
      last = at;
      const Entry& e = region_->desc()[at];
      again_desc_.push_back({load_relaxed(&e.addr), load_relaxed(&e.len), load_relaxed(&e.id),
                             load_relaxed(&e.flags)});
      at = next_[at] = load_relaxed(&e.next);
    }
    in_hand_[in_hand_n_++] = {head, last};
  }
  PackedCursor avail = used;
  avail.advance(static_cast<std::uint16_t>(again_desc_.size()), size());
  go_on(avail, used, static_cast<std::uint16_t>(again_desc_.size()));
  make_free_list(taken);
}

int TrackedPackedRing::pop(std::span<Segment> out, Chain& chain, std::uint32_t& bytes) noexcept {
  if (broken()) return 0;
  if (popped_again_ < again_.size()) {
    const Again& a = again_[popped_again_];
    const int n = take(std::span(again_desc_).subspan(a.first, a.slots), out, chain, bytes);
    if (n > 0) {
      ++popped_again_;
      ++again_open_;
    }
    return n;
  }
  const int n = fetch<true>(out, chain, bytes, fetched_.data());
  if (n > 0) note(chain);
  return n;
}

/// There are entries enough: a ring has no more slots than the region has entries.
void TrackedPackedRing::note(const Chain& chain) noexcept {
  Entry* desc = region_->desc();
  const std::uint16_t head = free_head_;
  std::uint16_t last = head;
  for (std::uint16_t k = 0; k < chain.slots; ++k) {
    last = free_head_;
    free_head_ = next_[last];
    Entry& e = desc[last];
    store_relaxed(&e.addr, std::uint64_t{fetched_[k].addr});
    store_relaxed(&e.len, std::uint32_t{fetched_[k].len});
    store_relaxed(&e.id, std::uint16_t{fetched_[k].id});
    store_relaxed(&e.flags, std::uint16_t{fetched_[k].flags});
  }
  store_relaxed(&desc[head].last, last);
  store_relaxed(&desc[head].num, chain.slots);
  store_relaxed(&desc[head].counter, counter_++);
  store_relaxed(&desc[head].inflight, std::uint8_t{1});
  inflight_step();
  store_relaxed(&region_->free_head, free_head_);
  inflight_step();
  store_relaxed(&region_->old_free_head, free_head_);
  inflight_step();
  in_hand_[(in_hand_first_ + in_hand_n_++) % in_hand_.size()] = {head, last};
  ++open_;
}

void TrackedPackedRing::unpop(const Chain& chain) noexcept {
  if (open_ == 0) {  // what was in hand before comes first, so that all of it is older
    --popped_again_;
    --again_open_;
    return;
  }
  --open_;
  PackedRing::unpop(chain);
  free_head_ = in_hand_[(in_hand_first_ + --in_hand_n_) % in_hand_.size()].head;
  store_relaxed(&region_->free_head, free_head_);
  inflight_step();
  store_relaxed(&region_->old_free_head, free_head_);
  inflight_step();
  store_relaxed(&region_->desc()[free_head_].inflight, std::uint8_t{0});
}

void TrackedPackedRing::complete(const Chain& chain, std::uint32_t written) noexcept {
  PackedRing::complete(chain, written);
  ++batch_n_;
  --(again_open_ > 0 ? again_open_ : open_);
}

bool TrackedPackedRing::publish() noexcept {
  if (batch_n_ == 0) return false;
  const PackedCursor old = used();
  const auto batch = [this](std::size_t i) {
    return in_hand_[(in_hand_first_ + i) % in_hand_.size()];
  };
  for (std::size_t i = 0; i < batch_n_; ++i) {
    const Noted done = batch(i);
    next_[done.last] = free_head_;
    store_relaxed(&region_->desc()[done.last].next, free_head_);
    free_head_ = done.head;
  }
  inflight_step();
  store_relaxed(&region_->free_head, free_head_);
  inflight_step();
  store_place(used_after_batch(), old);
  inflight_step();
  const bool asked = PackedRing::publish();
  inflight_step();
  for (std::size_t i = 0; i < batch_n_; ++i)
    store_relaxed(&region_->desc()[batch(i).head].inflight, std::uint8_t{0});
  inflight_step();
  store_relaxed(&region_->old_free_head, free_head_);
  inflight_step();
  store_place(used(), used());
  in_hand_first_ = (in_hand_first_ + batch_n_) % in_hand_.size();
  in_hand_n_ -= batch_n_;
  batch_n_ = 0;
  return asked;
}

void TrackedPackedRing::retire() noexcept {
  if (in_hand_n_ == 0) store_relaxed(&region_->version, std::uint16_t{0});
}

}  // namespace rp::backend
