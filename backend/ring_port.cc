// SPDX-License-Identifier: BSD-3-Clause
// ring_port.cc - chains to frames, frames to chains.
#include "backend/ring_port.h"

#include <algorithm>
#include <cstring>

namespace rp::backend {
namespace {

using sw::Frame;
using sw::Part;

constexpr std::uint32_t kHeader = sizeof(virtio_net_hdr_v1);
static_assert(kHeader == 12);
/// Buffers merged for one frame: 64 KiB in buffers of 512 bytes. Smaller ones would make one frame
/// cost more than a turn's worth of work, so such a driver gets small frames only.
constexpr std::uint16_t kMaxMerged = 128;

/// Reads across segments, each byte once.
class Gather {
 public:
  explicit Gather(std::span<const Segment> segments) noexcept : rest_(segments) {}
  void read(void* to, std::uint32_t len) noexcept {
    auto* out = static_cast<std::uint8_t*>(to);
    while (len > 0) {
      const std::uint32_t n = std::min(len, rest_.front().len - offset_);
      std::memcpy(out, rest_.front().data + offset_, n);
      out += n;
      len -= n;
      skip(n);
    }
  }
  /// What is left, as parts.
  std::size_t parts(std::span<Part> out) noexcept {
    std::size_t n = 0;
    for (; !rest_.empty(); rest_ = rest_.subspan(1), offset_ = 0)
      out[n++] = {rest_.front().data + offset_, rest_.front().len - offset_};
    return n;
  }

 private:
  void skip(std::uint32_t n) noexcept {
    offset_ += n;
    if (offset_ == rest_.front().len) {
      rest_ = rest_.subspan(1);
      offset_ = 0;
    }
  }
  std::span<const Segment> rest_;
  std::uint32_t offset_ = 0;
};

/// Writes across segments.
class Scatter {
 public:
  explicit Scatter(std::span<const Segment> segments) noexcept : rest_(segments) {}
  void write(const void* from, std::uint32_t len) noexcept {
    const auto* in = static_cast<const std::uint8_t*>(from);
    while (len > 0) {
      const std::uint32_t n = std::min(len, rest_.front().len - offset_);
      std::memcpy(rest_.front().data + offset_, in, n);
      in += n;
      len -= n;
      offset_ += n;
      if (offset_ == rest_.front().len) {
        rest_ = rest_.subspan(1);
        offset_ = 0;
      }
    }
  }

 private:
  std::span<const Segment> rest_;
  std::uint32_t offset_ = 0;
};

}  // namespace

RingPort::RingPort(PlugMemory memory, sw::Offloads can) : shared_(std::move(memory)), can_(can) {
  Mapping mapping(shared_.memory.get(), PlugLayout::kSize);
  doorbell_ = std::make_unique<Doorbell>(mapping.data(), shared_.call.get());
  memory_.add(0, std::move(mapping));
  const DeviceRing::Features features{.event_idx = true};
  from_guest_ = std::make_unique<DeviceRing>(memory_, PlugLayout::ring(PlugLayout::kFromGuest),
                                             DeviceRing::Direction::from_driver, features);
  to_guest_ = std::make_unique<DeviceRing>(memory_, PlugLayout::ring(PlugLayout::kToGuest),
                                           DeviceRing::Direction::to_driver, features);
}

RingPort::~RingPort() = default;

void RingPort::receive(sw::Burst& burst, Instant) noexcept {
  lent_ = 0;
  while (!burst.full() && lent_ < lent_heads_.size() && lend(burst)) {
  }
}

/// Lends one chain to the burst. False: there is no more, or no room for it.
bool RingPort::lend(sw::Burst& burst) noexcept {
  std::uint16_t head;
  std::uint32_t bytes;
  const auto room = std::min(burst.free_parts(), segments_.size());
  const int n = from_guest_->pop({segments_.data(), room}, head, bytes);
  if (n <= 0) return false;
  lent_heads_[lent_++] = head;
  if (bytes < kHeader) {
    ++short_chains_;
    return true;
  }
  Gather gather({segments_.data(), static_cast<std::size_t>(n)});
  virtio_net_hdr_v1 h;
  gather.read(&h, kHeader);
  Frame& f = burst.next();
  f.offload = sw::offload_of(h);
  f.len = bytes - kHeader;
  f.head_len = std::min(f.len, Frame::kHead);
  gather.read(f.head.data(), f.head_len);
  const auto parts = burst.next_parts();
  const std::size_t used = gather.parts(parts);
  f.body = parts.first(used);
  burst.push(used);
  return true;
}

void RingPort::release() noexcept {
  for (std::size_t i = 0; i < lent_; ++i) from_guest_->complete(lent_heads_[i], 0);
  lent_ = 0;
  // The plug looks at used.idx when it needs room and never sleeps on it.
  from_guest_->publish();
}

std::size_t RingPort::send(std::span<const Frame* const> frames, Instant) noexcept {
  std::size_t sent = 0;
  while (sent < frames.size() && send_one(*frames[sent])) ++sent;
  return frames.size() - sent;
}

bool RingPort::send_one(const Frame& frame) noexcept {
  const std::uint32_t need = kHeader + frame.len;
  std::array<std::uint16_t, kMaxMerged> heads;
  std::array<std::uint32_t, kMaxMerged> sizes;
  std::uint32_t have = 0;
  std::uint16_t merged = 0;
  std::size_t used = 0;
  while (have < need) {
    std::uint32_t bytes = 0;
    const int n = merged == kMaxMerged
                      ? 0
                      : to_guest_->pop(std::span(segments_).subspan(used), heads[merged], bytes);
    if (n <= 0) {
      for (; merged > 0; --merged) to_guest_->unpop();
      return false;
    }
    used += static_cast<std::size_t>(n);
    have += bytes;
    sizes[merged++] = bytes;
  }
  virtio_net_hdr_v1 h = sw::header_of(frame.offload);
  // A plug without offloads gets none of their marks.
  if (!can_.csum) h.flags = 0;
  h.num_buffers = merged;
  Scatter scatter({segments_.data(), used});
  scatter.write(&h, kHeader);
  scatter.write(frame.head.data(), frame.head_len);
  for (const Part& p : frame.body) scatter.write(p.data, p.len);
  std::uint32_t left = need;
  for (std::uint16_t i = 0; i < merged; ++i) {
    const std::uint32_t written = std::min(left, sizes[i]);
    to_guest_->complete(heads[i], written);
    left -= written;
  }
  return true;
}

bool RingPort::flush(Instant) noexcept {
  if (to_guest_->publish()) doorbell_->ring(to_guest_->published());
  return false;
}

bool RingPort::arm(Instant) noexcept {
  return from_guest_->enable_notifications();
}

void RingPort::report(const CounterSink& sink) const {
  sink("ring.short-chain", short_chains_);
  for (const auto* ring : {from_guest_.get(), to_guest_.get()}) {
    if (ring->broken()) sink(std::string("ring.broken.") + ring_fault_name(ring->fault()), 1);
  }
}

}  // namespace rp::backend
