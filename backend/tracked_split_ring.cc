// SPDX-License-Identifier: BSD-3-Clause
// tracked_split_ring.cc - the marks of a split ring, and what they tell after a crash.
#include "backend/tracked_split_ring.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace rp::backend {

TrackedSplitRing::TrackedSplitRing(const GuestMemory& memory, const RingAddress& where,
                                   Direction direction, RingFeatures features, std::uint32_t start,
                                   const InflightRegion& region)
    : SplitRing(memory, where, direction, features, start),
      region_(reinterpret_cast<InflightSplit*>(region.data)),
      entries_(region.entries) {
  if (where.size > entries_)
    throw Error(Errc::invalid, "the inflight region was made for a smaller ring");
  const std::uint16_t version = load_relaxed(&region_->version);
  if (version == kInflightVersion) {
    recover();
    return;
  }
  if (version != 0) throw Error(Errc::invalid, "an inflight region of another version");
  store_relaxed(&region_->features, std::uint64_t{0});
  store_relaxed(&region_->desc_num, entries_);
  store_relaxed(&region_->last_batch_head, std::uint16_t{0});
  store_relaxed(&region_->used_idx, published());
  for (std::uint16_t i = 0; i < entries_; ++i)
    store_relaxed(&region_->desc()[i].inflight, std::uint8_t{0});
  inflight_step();
  store_relaxed(&region_->version, kInflightVersion);
}

void TrackedSplitRing::recover() {
  const std::uint16_t n = size();
  InflightSplit::Entry* desc = region_->desc();
  if (load_relaxed(&region_->desc_num) != entries_)
    throw Error(Errc::invalid, "the inflight region is not of the size that it was made for");
  batch_head_ = load_relaxed(&region_->last_batch_head);
  if (batch_head_ >= entries_)
    throw Error(Errc::invalid, "the inflight region's last batch begins outside the ring");
  const std::uint16_t used = used_in_memory();
  const std::uint16_t noted = load_relaxed(&region_->used_idx);
  if (used != noted) {
    // Never more than a ring's worth, however far apart they are.
    const unsigned batch = std::min<unsigned>(static_cast<std::uint16_t>(used - noted), n);
    std::uint16_t head = batch_head_;
    for (unsigned i = 0; i < batch; ++i) {
      if (head >= entries_)
        throw Error(Errc::invalid, "the inflight region's last batch leads outside the ring");
      store_relaxed(&desc[head].inflight, std::uint8_t{0});
      head = load_relaxed(&desc[head].next);
    }
    inflight_step();
    store_relaxed(&region_->used_idx, used);
  }
  std::vector<std::pair<std::uint64_t, std::uint16_t>> marked;
  for (std::uint16_t i = 0; i < n; ++i) {
    if (load_relaxed(&desc[i].inflight) != 0)
      marked.emplace_back(load_relaxed(&desc[i].counter), i);
  }
  std::sort(marked.begin(), marked.end());
  for (const auto& [counter, head] : marked) again_.push_back(head);
  if (!marked.empty()) counter_ = marked.back().first + 1;
  in_hand_ = static_cast<std::uint16_t>(again_.size());
  go_on(static_cast<std::uint16_t>(used + in_hand_), used);
}

int TrackedSplitRing::pop(std::span<Segment> out, Chain& chain, std::uint32_t& bytes) noexcept {
  if (broken()) return 0;
  if (popped_again_ < again_.size()) {
    const int n = take(again_[popped_again_], out, chain, bytes);
    if (n > 0) {
      ++popped_again_;
      ++again_open_;
    }
    return n;
  }
  if (in_hand_ == size()) {  // the driver made available what it had not got back
    if (has_work()) fail(RingFault::avail_jump);
    return 0;
  }
  const int n = SplitRing::pop(out, chain, bytes);
  if (n <= 0) return n;
  InflightSplit::Entry& e = region_->desc()[chain.id];
  store_relaxed(&e.counter, counter_++);
  inflight_step();
  store_relaxed(&e.inflight, std::uint8_t{1});
  inflight_step();
  ++in_hand_;
  ++open_;
  return n;
}

void TrackedSplitRing::unpop(const Chain& chain) noexcept {
  if (open_ == 0) {  // what was in hand before comes first, so that all of it is older
    --popped_again_;
    --again_open_;
    return;
  }
  --open_;
  --in_hand_;
  SplitRing::unpop(chain);
  store_relaxed(&region_->desc()[chain.id].inflight, std::uint8_t{0});
}

void TrackedSplitRing::complete(const Chain& chain, std::uint32_t written) noexcept {
  SplitRing::complete(chain, written);
  store_relaxed(&region_->desc()[chain.id].next, batch_head_);
  inflight_step();
  batch_head_ = chain.id;
  store_relaxed(&region_->last_batch_head, batch_head_);
  batch_[batch_n_++] = chain.id;
  --(again_open_ > 0 ? again_open_ : open_);
}

bool TrackedSplitRing::publish() noexcept {
  if (batch_n_ == 0) return false;
  inflight_step();
  const bool asked = SplitRing::publish();
  inflight_step();
  for (std::uint16_t i = 0; i < batch_n_; ++i)
    store_relaxed(&region_->desc()[batch_[i]].inflight, std::uint8_t{0});
  inflight_step();
  store_relaxed(&region_->used_idx, published());
  in_hand_ = static_cast<std::uint16_t>(in_hand_ - batch_n_);
  batch_n_ = 0;
  return asked;
}

void TrackedSplitRing::retire() noexcept {
  if (in_hand_ == 0) store_relaxed(&region_->version, std::uint16_t{0});
}

}  // namespace rp::backend
