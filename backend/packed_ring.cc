// SPDX-License-Identifier: BSD-3-Clause
// packed_ring.cc - walking chains, batches of completions, what survives a crash, when to notify.
#include "backend/packed_ring.h"

#include <string>

#include "base/error.h"

namespace rp::backend {
namespace {

/// Keeps the compiler from moving a store across. That is all that order takes when the one who
/// looks comes after our death: a killed thread's stores end in program order.
void step() noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

/// Tells rings apart: where it lies, its size, and the caller's key.
std::uint64_t identity(const RingAddress& where, std::uint64_t key) noexcept {
  for (const std::uint64_t v : {where.desc, where.avail, where.used, std::uint64_t{where.size}}) {
    key = (key ^ v) * 0x9e3779b97f4a7c15u;
    key ^= key >> 29;
  }
  return key;
}

/// The used descriptor of each completion of a batch, the first one's flags last: the driver reads
/// in ring order, so it sees none before that.
void write_batch(vring_packed_desc* desc, std::uint16_t size, PackedCursor at,
                 std::span<const PackedUsed> batch) noexcept {
  const PackedCursor first = at;
  std::uint16_t first_flags = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const PackedUsed u = batch[i];
    vring_packed_desc& d = desc[at.index];
    // 2.8.3: WRITE in a used descriptor tells that something was written to its buffers.
    const auto flags =
        static_cast<std::uint16_t>(at.used_flags() | (u.len != 0 ? VRING_DESC_F_WRITE : 0));
    store_relaxed(&d.len, u.len);
    store_relaxed(&d.id, u.id);
    if (i == 0)
      first_flags = flags;
    else
      store_relaxed(&d.flags, flags);
    at.advance(u.slots, size);
  }
  step();
  store_full(&desc[first.index].flags, first_flags);  // pairs with [F], [G]
}

bool is_position(std::uint32_t v, std::uint16_t size) noexcept {
  const auto avail = PackedCursor::decoded(v), used = PackedCursor::decoded(v >> 16);
  return avail.index < size && used.index < size && used.distance(avail, size) <= size;
}

/// A position with nothing in flight.
std::uint32_t settled(const PackedCursor& c) noexcept {
  return c.encoded() * std::uint32_t{0x10001};
}
bool is_settled(std::uint32_t v, std::uint16_t size) noexcept {
  return is_position(v, size) && v == settled(PackedCursor::decoded(v));
}

/// The last slot that was taken before a position.
PackedCursor last_before(std::uint32_t position, std::uint16_t size) noexcept {
  auto c = PackedCursor::decoded(position);
  c.retreat(1, size);
  return c;
}

/// True when the ring is as a batch left it, or as its driver can have made it since: the batch's
/// last slot still holds what it did, as a used descriptor or as the end of a chain (2.8.6); or the
/// driver has come round to it, which makes the ring full. One that was set up anew since has other
/// flags there, or another buffer.
bool goes_on_from(const PackedState::Batch& b, const vring_packed_desc* desc,
                  std::uint16_t size) noexcept {
  if (b.count == 0) return b.position == PackedRing::kFresh;
  PackedCursor last = last_before(b.position, size);
  const vring_packed_desc& d = desc[last.index];
  const std::uint16_t flags = load_acquire(&d.flags);
  if (last.used(flags) || last.available(flags))
    return load_relaxed(&d.addr) == b.addr && load_relaxed(&d.id) == b.id;
  last.wrap = !last.wrap;
  const auto next = PackedCursor::decoded(b.position);
  return last.available(flags) && next.available(load_acquire(&desc[next.index].flags));
}

/// True when the journal leads from a position to the end of a batch.
bool leads(const PackedState& state, PackedCursor at, const PackedState::Batch& to,
           std::uint16_t size) noexcept {
  if (to.count == 0 || to.count > size) return false;
  unsigned slots = 0;
  for (const PackedUsed& u : std::span(state.journal, to.count)) {
    slots += u.slots;
    if (u.id >= size || u.slots == 0 || slots > size) return false;
    at.advance(u.slots, size);
  }
  return settled(at) == to.position;
}

}  // namespace

PackedRing::PackedRing(const GuestMemory& memory, const RingAddress& where, Direction direction,
                       RingFeatures features, std::uint32_t start)
    : DeviceRing(memory, direction, features),
      where_(where),
      size_(where.size),
      avail_(PackedCursor::decoded(start >> 16)),
      used_(avail_) {
  journal_ = own_.data();
  if (size_ == 0 || size_ > kMaxQueueSize)
    throw Error(Errc::invalid, "a packed queue's size is from 1 to " +
                                   std::to_string(kMaxQueueSize) + ", not " +
                                   std::to_string(size_));
  if (!is_position(start, size_))
    throw Error(Errc::invalid, "a packed queue of size " + std::to_string(size_) +
                                   " has no position " + std::to_string(start));
  // Alignments: virtio 1.2, 2.8.10.1.
  desc_ = reinterpret_cast<Descriptor*>(
      area(where.desc, size_ * sizeof(Descriptor), 16, "descriptor ring"));
  const auto event = [&](std::uint64_t at, const char* what) {
    return reinterpret_cast<std::uint32_t*>(area(at, sizeof(vring_packed_desc_event), 4, what));
  };
  driver_event_ = event(where.avail, "driver event suppression area");
  device_event_ = event(where.used, "device event suppression area");
}

template <bool kCopy>
int PackedRing::walk(Descriptor& d, std::uint16_t& slots, std::span<Segment> out,
                     std::uint64_t& bytes, [[maybe_unused]] Descriptor* copy) noexcept {
  // 2.8.7: an indirect descriptor stands alone; a driver never chains to or from it.
  if (d.flags & VRING_DESC_F_INDIRECT) return walk_indirect(d, out, bytes);
  const auto most = static_cast<std::uint16_t>(size_ - in_flight_);
  PackedCursor at = avail_;
  int n = 0;
  for (;; ++slots) {
    if (d.flags & VRING_DESC_F_INDIRECT) {
      fail(RingFault::indirect);
      return 0;
    }
    if (!add_segment(d.addr, d.len, d.flags & VRING_DESC_F_WRITE, out, n, bytes)) return 0;
    if (!(d.flags & VRING_DESC_F_NEXT)) return n;
    if (slots == most) {
      fail(RingFault::loop);
      return 0;
    }
    // 2.8.6: the rest of a chain lies in the next slots, made available before its first one.
    at.advance(1, size_);
    const std::uint16_t flags = load_acquire(&desc_[at.index].flags);
    if (!at.available(flags)) {
      fail(RingFault::wrap);
      return 0;
    }
    d = load_rest(desc_[at.index], flags);
    if constexpr (kCopy) copy[slots] = d;
  }
}
template int PackedRing::walk<false>(Descriptor&, std::uint16_t&, std::span<Segment>,
                                     std::uint64_t&, Descriptor*) noexcept;
template int PackedRing::walk<true>(Descriptor&, std::uint16_t&, std::span<Segment>, std::uint64_t&,
                                    Descriptor*) noexcept;

int PackedRing::take(std::span<const Descriptor> copies, std::span<Segment> out, Chain& chain,
                     std::uint32_t& bytes) noexcept {
  std::uint64_t total = 0;
  int n = 0;
  if (copies[0].flags & VRING_DESC_F_INDIRECT) {
    n = walk_indirect(copies[0], out, total);
    if (n == 0) return broken() ? 0 : -1;
  } else {
    for (const Descriptor& d : copies) {
      if (!add_segment(d.addr, d.len, d.flags & VRING_DESC_F_WRITE, out, n, total))
        return broken() ? 0 : -1;
    }
  }
  if (copies.back().id >= size_) {
    fail(RingFault::head_range);
    return 0;
  }
  bytes = static_cast<std::uint32_t>(total);
  chain = {copies.back().id, static_cast<std::uint16_t>(copies.size())};
  return n;
}

int PackedRing::walk_indirect(const Descriptor& table, std::span<Segment> out,
                              std::uint64_t& bytes) noexcept {
  const std::uint32_t entries = table.len / sizeof(Descriptor);
  const auto* entry = reinterpret_cast<const Descriptor*>(memory_.translate(table.addr, table.len));
  // Where it lies for us counts: a region need not be as aligned for us as for the driver.
  if (!features_.indirect || (table.flags & VRING_DESC_F_NEXT) || !entry ||
      reinterpret_cast<std::uintptr_t>(entry) % alignof(Descriptor) != 0 ||
      table.len % sizeof(Descriptor) != 0 || entries > size_) {
    fail(RingFault::indirect);
    return 0;
  }
  int n = 0;
  for (std::uint32_t i = 0; i < entries; ++i) {
    // 2.8.7: only WRITE counts in a table, and ids don't.
    const std::uint16_t flags = load_relaxed(&entry[i].flags);
    if (flags & VRING_DESC_F_INDIRECT) {  // 2.8.19: never set by a driver that means well
      fail(RingFault::indirect);
      return 0;
    }
    const Descriptor d = load_rest(entry[i], flags);
    if (!add_segment(d.addr, d.len, flags & VRING_DESC_F_WRITE, out, n, bytes)) return 0;
  }
  return n;
}

void PackedRing::begin_batch() noexcept {
  const auto number = static_cast<std::uint16_t>(state_->begun + 1);
  const std::uint32_t position = settled(used_);
  // The address is the driver's word, read again: recover() compares it, nobody follows it.
  state_->batch[number & 1] = {load_relaxed(&desc_[last_before(position, size_).index].addr),
                               position, journal_[count_ - 1].id, count_};
  step();
  store_release(&state_->begun, number);
  step();
}

bool PackedRing::publish() noexcept {
  if (count_ == 0) return false;
  const PackedCursor from = used_;
  const unsigned slots = completed_;
  used_.advance(completed_, size_);
  in_flight_ = static_cast<std::uint16_t>(in_flight_ - completed_);
  if (state_) begin_batch();
  write_batch(desc_, size_, from, {journal_, count_});
  memory_.wrote(desc_, size_ * sizeof(Descriptor));
  if (state_) {
    step();
    store_release(&state_->done, state_->begun);
    step();
  }
  count_ = completed_ = 0;
  return wants_notification(from, slots);
}

bool PackedRing::wants_notification(const PackedCursor& from, unsigned slots) const noexcept {
  const std::uint32_t event = load_full(driver_event_);  // pairs with [G]
  switch (event >> 16 & 3) {                             // 2.8.14
    case VRING_PACKED_EVENT_FLAG_DISABLE:
      return false;
    case VRING_PACKED_EVENT_FLAG_DESC:
      // An offset outside the ring is passed by no batch, or by some: only its driver loses.
      if (features_.event_idx) return from.distance(PackedCursor::decoded(event), size_) < slots;
      return true;
    default:
      return true;
  }
}

bool PackedRing::enable_notifications() noexcept {
  if (broken()) return true;
  const std::uint32_t flags =
      features_.event_idx ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;
  store_full(device_event_, avail_.encoded() | flags << 16);  // pairs with [H]
  memory_.wrote(device_event_, sizeof *device_event_);
  quiet_ = false;
  return !avail_.available(load_full(&desc_[avail_.index].flags));
}

void PackedRing::disable_notifications() noexcept {
  // Unlike a split ring's event index, a stale slot comes round again soon.
  if (quiet_) return;
  store_relaxed(device_event_, std::uint32_t{VRING_PACKED_EVENT_FLAG_DISABLE} << 16);
  memory_.wrote(device_event_, sizeof *device_event_);
  quiet_ = true;
}

void PackedRing::record(PackedState& state, std::uint64_t key) noexcept {
  key = identity(where_, key);
  const PackedState::Batch& now = state.batch[state.done & 1];
  // What recover() left goes on: it knows the last completion, we don't.
  const bool same = state.magic == PackedState::kMagic && state.key == key &&
                    state.begun == state.done && now.position == position();
  if (!same) {
    store_release(&state.magic, std::uint32_t{0});
    step();
    state.begun = state.done = 0;
    state.key = key;
    state.batch[0] = {0, position(), 0, 0};
    step();
    store_release(&state.magic, PackedState::kMagic);
  }
  state_ = &state;
  journal_ = state.journal;
}

std::optional<std::uint32_t> PackedRing::recover(const GuestMemory& memory,
                                                 const RingAddress& where, PackedState& state,
                                                 std::uint64_t key) noexcept {
  const std::uint16_t size = where.size;
  // The key has the size in it, so that of a ring that was never made does not come past this.
  if (state.magic != PackedState::kMagic || state.key != identity(where, key)) return {};
  auto* desc =
      reinterpret_cast<Descriptor*>(memory.translate(where.desc, size * sizeof(Descriptor)));
  if (!desc || reinterpret_cast<std::uintptr_t>(desc) % 16 != 0) return {};

  const PackedState::Batch now = state.batch[state.begun & 1];
  const PackedState::Batch before = state.batch[~state.begun & 1];
  if (!is_settled(now.position, size)) return {};
  if (state.done != state.begun) {
    const auto from = PackedCursor::decoded(before.position);
    if (static_cast<std::uint16_t>(state.done + 1) != state.begun ||
        !is_settled(before.position, size) || !leads(state, from, now, size))
      return {};
    if (from.available(load_acquire(&desc[from.index].flags))) {
      // Nothing of the batch is visible yet, so all of its slots are still ours.
      const PackedCursor last = last_before(now.position, size);
      if (load_relaxed(&desc[last.index].addr) != now.addr) return {};
      write_batch(desc, size, from, {state.journal, now.count});
      memory.wrote(desc, size * sizeof(Descriptor));
    }
    step();
    store_release(&state.done, state.begun);
  }
  if (!goes_on_from(now, desc, size)) return {};
  return now.position;
}

}  // namespace rp::backend
