// SPDX-License-Identifier: BSD-3-Clause
// net_queue.cc - gathers frames out of chains and scatters them into chains.
#include "backend/net_queue.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "backend/packed_ring.h"
#include "backend/split_ring.h"

namespace rp::backend {
namespace {

using sw::Frame;
using sw::Part;

static_assert(sizeof(virtio_net_hdr_v1) == 12);
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

/// What both directions pass on to their ring.
template <typename Base, typename Ring>
class OnRing : public Base {
 public:
  OnRing(const GuestMemory& memory, const QueueSetup& s, Direction direction)
      : memory_(memory),
        ring_(memory, s.where, direction, s.features, s.start.value_or(Ring::kFresh)),
        format_(s.format) {
    if constexpr (std::is_same_v<Ring, PackedRing>)
      if (s.state) ring_.record(*s.state, s.key);
  }

  bool publish() noexcept override { return ring_.publish(); }
  std::uint16_t published() const noexcept override { return ring_.published(); }
  bool enable_notifications() noexcept override { return ring_.enable_notifications(); }
  void disable_notifications() noexcept override { ring_.disable_notifications(); }
  RingFault fault() const noexcept override { return ring_.fault(); }
  std::uint32_t position() const noexcept override { return ring_.position(); }

 protected:
  const GuestMemory& memory_;
  Ring ring_;
  const NetFormat format_;
  std::array<Segment, kMaxQueueSize> segments_;
};

template <typename Ring>
class FromGuest final : public OnRing<FromGuestQueue, Ring> {
 public:
  FromGuest(const GuestMemory& memory, const QueueSetup& s)
      : OnRing<FromGuestQueue, Ring>(memory, s, Direction::from_driver) {}

  void lend(sw::Burst& burst) noexcept override {
    while (!burst.full() && lent_ < chains_.size() && lend_one(burst)) {
    }
  }

  bool release() noexcept override {
    for (std::size_t i = 0; i < lent_; ++i) this->ring_.complete(chains_[i], 0);
    lent_ = 0;
    return this->ring_.publish();
  }

  void discard() noexcept override {
    std::uint32_t bytes;
    while (lent_ < chains_.size() && this->ring_.pop(this->segments_, chains_[lent_], bytes) > 0)
      ++lent_;
  }

  std::uint64_t short_chains() const noexcept override { return short_chains_; }

 private:
  /// Lends one chain to the burst. False: there is no more, or no room for it.
  bool lend_one(sw::Burst& burst) noexcept {
    auto& segments = this->segments_;
    const std::uint32_t header = this->format_.header;
    std::uint32_t bytes;
    const auto room = std::min(burst.free_parts(), segments.size());
    const int n = this->ring_.pop({segments.data(), room}, chains_[lent_], bytes);
    if (n <= 0) return false;
    ++lent_;
    if (bytes < header) {
      ++short_chains_;
      return true;
    }
    Gather gather({segments.data(), static_cast<std::size_t>(n)});
    virtio_net_hdr_v1 h{};
    gather.read(&h, header);
    Frame& f = burst.next();
    f.offload = sw::offload_of(h);
    f.len = bytes - header;
    f.head_len = std::min(f.len, Frame::kHead);
    gather.read(f.head.data(), f.head_len);
    const auto parts = burst.next_parts();
    const std::size_t used = gather.parts(parts);
    f.body = parts.first(used);
    burst.push(used);
    return true;
  }

  std::uint64_t short_chains_ = 0;
  std::size_t lent_ = 0;
  std::array<Chain, sw::Burst::kFrames> chains_;
};

template <typename Ring>
class ToGuest final : public OnRing<ToGuestQueue, Ring> {
 public:
  ToGuest(const GuestMemory& memory, const QueueSetup& s)
      : OnRing<ToGuestQueue, Ring>(memory, s, Direction::to_driver) {}

  std::size_t send(std::span<const Frame* const> frames) noexcept override {
    std::size_t sent = 0;
    while (sent < frames.size() && send_one(*frames[sent])) ++sent;
    return sent;
  }

 private:
  bool send_one(const Frame& frame) noexcept {
    const NetFormat& format = this->format_;
    const std::uint32_t need = format.header + frame.len;
    const std::uint16_t most = format.mergeable ? kMaxMerged : 1;
    std::array<Chain, kMaxMerged> chains;
    std::array<std::uint32_t, kMaxMerged> sizes;
    std::uint32_t have = 0;
    std::uint16_t merged = 0;
    std::size_t used = 0;
    while (have < need) {
      std::uint32_t bytes = 0;
      const int n = merged == most ? 0
                                   : this->ring_.pop(std::span(this->segments_).subspan(used),
                                                     chains[merged], bytes);
      if (n <= 0) {
        while (merged > 0) this->ring_.unpop(chains[--merged]);
        return false;
      }
      used += static_cast<std::size_t>(n);
      have += bytes;
      sizes[merged++] = bytes;
    }
    virtio_net_hdr_v1 h = sw::header_of(frame.offload);
    if (!format.csum) h.flags = 0;
    h.num_buffers = merged;
    Scatter scatter({this->segments_.data(), used});
    scatter.write(&h, format.header);
    scatter.write(frame.head.data(), frame.head_len);
    for (const Part& p : frame.body) scatter.write(p.data, p.len);
    for (const Segment& s : std::span(this->segments_).first(used))
      this->memory_.wrote(s.data, s.len);
    std::uint32_t left = need;
    for (std::uint16_t i = 0; i < merged; ++i) {
      const std::uint32_t written = std::min(left, sizes[i]);
      this->ring_.complete(chains[i], written);
      left -= written;
    }
    return true;
  }
};

}  // namespace

std::unique_ptr<FromGuestQueue> make_from_guest(const GuestMemory& memory, const QueueSetup& s) {
  if (s.packed) return std::make_unique<FromGuest<PackedRing>>(memory, s);
  return std::make_unique<FromGuest<SplitRing>>(memory, s);
}

std::unique_ptr<ToGuestQueue> make_to_guest(const GuestMemory& memory, const QueueSetup& s) {
  if (s.packed) return std::make_unique<ToGuest<PackedRing>>(memory, s);
  return std::make_unique<ToGuest<SplitRing>>(memory, s);
}

}  // namespace rp::backend
