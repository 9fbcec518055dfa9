// SPDX-License-Identifier: BSD-3-Clause
// plug.cc - buffers in and out of the two rings, and the state of the doorbell.
#include "backend/plug.h"

#include <algorithm>
#include <cstring>

namespace rp::backend {
namespace {

constexpr std::uint32_t kHeader = sizeof(virtio_net_hdr_v1);
/// Buffers start on their own cache line.
constexpr std::uint64_t kAlign = 64;
constexpr std::uint16_t kQueue = PlugLayout::kQueue;

VringAreas areas(std::uint8_t* base, std::uint64_t ring) {
  const RingAddress a = PlugLayout::ring(ring);
  return {reinterpret_cast<vring_desc*>(base + a.desc),
          reinterpret_cast<std::uint16_t*>(base + a.avail), base + a.used, a.size};
}

}  // namespace

Plug::Plug(PlugMemory memory)
    : shared_(std::move(memory)),
      mapping_(shared_.memory.get(), PlugLayout::kSize),
      doorbell_(mapping_.data(), shared_.call.get()),
      from_guest_(areas(mapping_.data(), PlugLayout::kFromGuest)),
      to_guest_(areas(mapping_.data(), PlugLayout::kToGuest)),
      aside_(std::make_unique<std::uint8_t[]>(sw::kMaxFrame)) {
  // Armed before the port has a buffer: it may live already, and rings once only.
  doorbell_.arm(taken_);
  refill(kQueue);
}

Plug::~Plug() = default;

std::uint8_t* Plug::reserve(std::uint32_t len) noexcept {
  const std::uint64_t need = (std::uint64_t{kHeader} + len + kAlign - 1) & ~(kAlign - 1);
  std::uint64_t at = arena_next_;
  // A buffer is contiguous: what would wrap starts at the beginning instead.
  const std::uint64_t to_end = PlugLayout::kArena - at % PlugLayout::kArena;
  if (need > to_end) at += to_end;
  for (int attempt = 0;; ++attempt) {
    if (from_guest_.free_slots() > 0 && at + need - arena_freed_ <= PlugLayout::kArena) break;
    if (attempt == 1) {
      kick();
      return nullptr;
    }
    reclaim();
  }
  reserved_at_ = at;
  return mapping_.data() + PlugLayout::kFromArena + at % PlugLayout::kArena + kHeader;
}

void Plug::commit(std::uint32_t len, const sw::Offload& o) noexcept {
  const std::uint64_t offset = PlugLayout::kFromArena + reserved_at_ % PlugLayout::kArena;
  const virtio_net_hdr_v1 h = sw::header_of(o);
  std::memcpy(mapping_.data() + offset, &h, kHeader);
  arena_next_ = reserved_at_ + ((kHeader + len + kAlign - 1) & ~(kAlign - 1));
  arena_end_[sent_++ % kQueue] = arena_next_;
  from_guest_.add(offset, kHeader + len, false);
}

void Plug::kick() noexcept {
  if (!from_guest_.publish()) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(shared_.kick.get(), &one, sizeof one);
}

void Plug::reclaim() noexcept {
  const std::uint16_t n = from_guest_.used_count();
  if (n == 0) return;
  from_guest_.pop_used(n);
  reclaimed_ = static_cast<std::uint16_t>(reclaimed_ + n);
  arena_freed_ = arena_end_[static_cast<std::uint16_t>(reclaimed_ - 1) % kQueue];
}

bool Plug::send(std::span<const std::uint8_t> frame, const sw::Offload& offload) noexcept {
  const auto len = static_cast<std::uint32_t>(frame.size());
  std::uint8_t* to = reserve(len);
  if (!to) return false;
  if (len != 0) std::memcpy(to, frame.data(), len);
  commit(len, offload);
  return true;
}

void Plug::refill(std::uint16_t buffers) noexcept {
  for (; buffers > 0; --buffers) {
    const std::uint64_t at =
        PlugLayout::kToBuffers + std::uint64_t{PlugLayout::kBuffer} * (refilled_++ % kQueue);
    to_guest_.add(at, PlugLayout::kBuffer, true);
  }
  // The port never sleeps on these: without a buffer it drops.
  to_guest_.publish();
}

void Plug::relink() noexcept {
  doorbell_.relink();
  relinks_.fetch_add(1, std::memory_order_relaxed);
  doorbell_.signal_relink();
}

Plug::Completed Plug::completed() const noexcept {
  const auto used = [&](std::uint64_t ring) {
    return load_acquire(areas(mapping_.data(), ring).used_idx());
  };
  return {used(PlugLayout::kFromGuest), used(PlugLayout::kToGuest)};
}

/// Takes the signals back. True: there was one besides those of relink().
bool Plug::drain() noexcept {
  const Doorbell::Signals taken = doorbell_.drain();
  relinks_drained_ += taken.relinks;
  return static_cast<bool>(taken);
}

bool Plug::may_look() noexcept {
  if (signal_ != Signal::armed) return true;
  const std::uint32_t before = relinks_drained_;
  if (!to_guest_.has_used() && relinks_.load(std::memory_order_relaxed) == before) return false;
  // Without a signal, one is under way: the port's, or that of relink().
  if (!drain() && (relinks_drained_ == before || !doorbell_.take())) return false;
  signal_ = Signal::drained;
  if (!to_guest_.has_used()) settle();
  return signal_ != Signal::armed;
}

/// A descriptor that stayed readable for a broken ring would keep the host's loop spinning.
void Plug::hush() noexcept {
  doorbell_.take();
  drain();
  signal_ = Signal::drained;
}

/// Reads the frame whose first buffer is the at-th completed one; moves `at` past it.
bool Plug::next_frame(std::uint16_t& at, Received& out) noexcept {
  std::uint32_t written;
  if (!to_guest_.peek_used(at, written) || written < kHeader) return false;
  const auto slot = static_cast<std::uint16_t>((taken_ + at) % kQueue);
  std::uint8_t* buffers = mapping_.data() + PlugLayout::kToBuffers;
  std::uint8_t* first = buffers + std::size_t{slot} * PlugLayout::kBuffer;
  virtio_net_hdr_v1 h;
  std::memcpy(&h, first, kHeader);
  const std::uint16_t merged = h.num_buffers;
  std::uint32_t total = written;
  for (std::uint16_t i = 1; i < merged; ++i) {
    // Only the last of several buffers may be partly filled.
    if (written != PlugLayout::kBuffer) return false;
    if (!to_guest_.peek_used(static_cast<std::uint16_t>(at + i), written)) return false;
    total += written;
  }
  if (merged == 0 || written > PlugLayout::kBuffer || total - kHeader > sw::kMaxFrame) return false;
  const std::uint32_t len = total - kHeader;
  const std::uint32_t to_end = (kQueue - slot) * PlugLayout::kBuffer - kHeader;
  out.offload = sw::offload_of(h);
  out.bytes = {first + kHeader, len};
  if (len > to_end) {
    std::memcpy(aside_.get(), first + kHeader, to_end);
    std::memcpy(aside_.get() + to_end, buffers, len - to_end);
    out.bytes = {aside_.get(), len};
  }
  at = static_cast<std::uint16_t>(at + merged);
  return true;
}

std::size_t Plug::peek(std::span<Received> out) noexcept {
  peeked_n_ = 0;
  const std::size_t want = std::min(out.size(), sw::Burst::kFrames);
  const std::uint16_t waiting = may_look() ? to_guest_.used_count() : std::uint16_t{0};
  std::uint16_t at = 0;
  while (peeked_n_ < want && at < waiting) {
    if (!next_frame(at, out[peeked_n_])) {
      to_guest_.fail();
      break;
    }
    peeked_[++peeked_n_] = at;
    if (out[peeked_n_ - 1].bytes.data() == aside_.get()) break;
  }
  if (peeked_n_ == 0 && to_guest_.broken()) hush();
  return peeked_n_;
}

void Plug::release(std::size_t n) noexcept {
  if (n == 0 || n > peeked_n_) {
    keep();
    return;
  }
  const std::uint16_t buffers = peeked_[n];
  to_guest_.pop_used(buffers);
  taken_ = static_cast<std::uint16_t>(taken_ + buffers);
  peeked_n_ = 0;
  refill(buffers);
  settle();
}

void Plug::keep() noexcept {
  if (signal_ != Signal::drained || to_guest_.broken()) return;
  doorbell_.signal();
  signal_ = Signal::signalled;
}

/// Brings the descriptor back in line with the ring after frames were taken.
void Plug::settle() noexcept {
  if (signal_ == Signal::armed) return;
  if (to_guest_.has_used()) {
    to_guest_.disarm();
    keep();
    return;
  }
  if (to_guest_.broken()) {
    hush();
    return;
  }
  if (signal_ == Signal::signalled) drain();
  signal_ = Signal::armed;
  doorbell_.arm(taken_);
  if (to_guest_.rearm()) return;
  // A frame came in: either the port takes the doorbell and rings it, or we do.
  if (doorbell_.take()) {
    signal_ = Signal::drained;
    keep();
  }
}

}  // namespace rp::backend
