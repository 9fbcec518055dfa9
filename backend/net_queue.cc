// SPDX-License-Identifier: BSD-3-Clause
// net_queue.cc - gathers frames out of chains and scatters them into chains.
#include "backend/net_queue.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "backend/packed_ring.h"
#include "backend/split_ring.h"
#include "backend/tracked_packed_ring.h"
#include "backend/tracked_split_ring.h"

namespace rp::backend {
namespace {

using sw::Frame;
using sw::Part;

static_assert(sizeof(virtio_net_hdr_v1) == 12);
/// Buffers merged for one frame: 64 KiB in buffers of 512 bytes. Smaller ones would make one frame
/// cost more than a turn's worth of work, so such a driver gets small frames only.
constexpr std::uint16_t kMaxMerged = 128;

/// Asks for the two lines that a buffer of a small frame begins with: to write, for nobody else may
/// hold them then.
inline void prefetch_to_read(const std::uint8_t* p) noexcept {
  __builtin_prefetch(p);
  __builtin_prefetch(p + 64);
}
inline void prefetch_to_write(const std::uint8_t* p) noexcept {
#if defined(__x86_64__)
  // The builtin would ask for them to read. Processors without the instruction pass over it.
  asm volatile("prefetchw %0\n\tprefetchw %1" : : "m"(p[0]), "m"(p[64]));
#else
  __builtin_prefetch(p, 1);
  __builtin_prefetch(p + 64, 1);
#endif
}

/// Copies up to a frame's head: these copies are short, and a call would cost more than they do.
inline void copy_short(std::uint8_t* to, const std::uint8_t* from, std::uint32_t len) noexcept {
  constexpr std::uint32_t kWord = 16;
  if (len < kWord) {
    for (std::uint32_t i = 0; i < len; ++i) to[i] = from[i];
    return;
  }
  for (std::uint32_t at = 0; at + kWord <= len; at += kWord) std::memcpy(to + at, from + at, kWord);
  // The last one overlaps the one before, where the length is no multiple.
  std::memcpy(to + len - kWord, from + len - kWord, kWord);
}

/// A place in a list of segments, from which bytes are read or to which they are written, each
/// once.
class Cursor {
 public:
  explicit Cursor(const Segment* first) noexcept : segment_(first) {}

  /// A constant number of bytes, as a rule in one piece: the copy is a load or two then.
  template <std::size_t N>
  void read_fixed(void* to) noexcept {
    if (segment_->len - offset_ > N) {
      std::memcpy(to, segment_->data + offset_, N);
      offset_ += N;
    } else {
      read_short(to, N);
    }
  }
  template <std::size_t N>
  void write_fixed(const void* from) noexcept {
    if (segment_->len - offset_ > N) {
      std::memcpy(segment_->data + offset_, from, N);
      offset_ += N;
    } else {
      write_short(from, N);
    }
  }
  void read_short(void* to, std::uint32_t len) noexcept {
    each(len, [out = static_cast<std::uint8_t*>(to)](std::uint8_t* p, std::uint32_t n) mutable {
      copy_short(out, p, n);
      out += n;
    });
  }
  void write_short(const void* from, std::uint32_t len) noexcept {
    each(len,
         [in = static_cast<const std::uint8_t*>(from)](std::uint8_t* p, std::uint32_t n) mutable {
           copy_short(p, in, n);
           in += n;
         });
  }
  void write(const void* from, std::uint32_t len) noexcept {
    each(len,
         [in = static_cast<const std::uint8_t*>(from)](std::uint8_t* p, std::uint32_t n) mutable {
           std::memcpy(p, in, n);
           in += n;
         });
  }
  /// What is left of the segments before `end`, as parts.
  std::size_t parts(const Segment* end, std::span<Part> out) noexcept {
    std::size_t n = 0;
    for (; segment_ != end; ++segment_, offset_ = 0)
      out[n++] = {segment_->data + offset_, segment_->len - offset_};
    return n;
  }

 private:
  template <typename Fn>
  void each(std::uint32_t len, Fn&& fn) noexcept {
    while (len > 0) {
      const std::uint32_t n = std::min(len, segment_->len - offset_);
      fn(segment_->data + offset_, n);
      len -= n;
      offset_ += n;
      if (offset_ == segment_->len) {
        ++segment_;
        offset_ = 0;
      }
    }
  }
  const Segment* segment_;
  std::uint32_t offset_ = 0;
};

/// A frame's chains, popped and not yet looked into: while the memory of one is on its way to our
/// caches, the next ones are popped.
struct Popped {
  std::uint32_t first_segment, segments, bytes;
};

template <typename Ring>
inline constexpr bool kTracked =
    std::is_same_v<Ring, TrackedSplitRing> || std::is_same_v<Ring, TrackedPackedRing>;

template <typename Ring>
Ring make_ring(const GuestMemory& memory, const QueueSetup& s, Direction direction) {
  const std::uint32_t start = s.start.value_or(Ring::kFresh);
  if constexpr (kTracked<Ring>)
    return Ring(memory, s.where, direction, s.features, start, s.inflight);
  else
    return Ring(memory, s.where, direction, s.features, start);
}

/// What both directions pass on to their ring.
template <typename Base, typename Ring>
class OnRing : public Base {
 public:
  OnRing(const GuestMemory& memory, const QueueSetup& s, Direction direction)
      : memory_(memory), ring_(make_ring<Ring>(memory, s, direction)), format_(s.format) {
    if constexpr (std::is_same_v<Ring, PackedRing>)
      if (s.state) ring_.record(*s.state, s.key);
  }

  bool publish() noexcept override { return ring_.publish(); }
  std::uint16_t published() const noexcept override { return ring_.published(); }
  bool enable_notifications() noexcept override { return ring_.enable_notifications(); }
  void disable_notifications() noexcept override { ring_.disable_notifications(); }
  RingFault fault() const noexcept override { return ring_.fault(); }
  std::uint32_t position() const noexcept override { return ring_.position(); }
  void retire() noexcept override {
    if constexpr (kTracked<Ring>) ring_.retire();
  }

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
    const std::size_t before = lent_;
    pop(std::min(burst.free_frames(), chains_.size() - lent_),
        std::min(burst.free_parts(), this->segments_.size()));
    for (std::size_t i = before; i < lent_; ++i) lend_one(popped_[i], burst);
  }

  bool release() noexcept override {
    for (std::size_t i = 0; i < lent_; ++i) this->ring_.complete(chains_[i], 0);
    lent_ = 0;
    return this->ring_.publish();
  }

  void discard() noexcept override { pop(chains_.size() - lent_, this->segments_.size()); }

  std::uint64_t short_chains() const noexcept override { return short_chains_; }

 private:
  /// Takes up to `frames` chains of `parts` segments in all.
  void pop(std::size_t frames, std::size_t parts) noexcept {
    std::uint32_t used = 0;
    for (; frames > 0; --frames) {
      std::uint32_t bytes;
      const int n = this->ring_.pop(std::span(this->segments_).subspan(used, parts - used),
                                    chains_[lent_], bytes);
      if (n <= 0) return;
      prefetch_to_read(this->segments_[used].data);
      popped_[lent_++] = {used, static_cast<std::uint32_t>(n), bytes};
      used += static_cast<std::uint32_t>(n);
    }
  }

  void lend_one(const Popped& p, sw::Burst& burst) noexcept {
    const std::uint32_t header = this->format_.header;
    if (p.bytes < header) {
      ++short_chains_;
      return;
    }
    const Segment* first = this->segments_.data() + p.first_segment;
    Cursor from(first);
    Frame& f = burst.next();
    from.read_fixed<sizeof f.offload>(&f.offload);
    std::uint16_t num_buffers;  // says nothing in this direction
    if (header > sizeof f.offload) from.read_fixed<sizeof num_buffers>(&num_buffers);
    f.len = p.bytes - header;
    f.head_len = std::min(f.len, Frame::kHead);
    from.read_short(f.head.data(), f.head_len);
    const auto parts = burst.next_parts();
    const std::size_t used = from.parts(first + p.segments, parts);
    f.body = parts.first(used);
    burst.push(used);
  }

  std::uint64_t short_chains_ = 0;
  std::size_t lent_ = 0;
  std::array<Chain, sw::Burst::kFrames> chains_;
  std::array<Popped, sw::Burst::kFrames> popped_;
};

template <typename Ring>
class ToGuest final : public OnRing<ToGuestQueue, Ring> {
 public:
  ToGuest(const GuestMemory& memory, const QueueSetup& s)
      : OnRing<ToGuestQueue, Ring>(memory, s, Direction::to_driver) {}

  std::size_t send(std::span<const Frame* const> frames) noexcept override {
    std::size_t sent = 0;
    while (sent < frames.size()) {
      const auto some = frames.subspan(sent, std::min(frames.size() - sent, popped_.size()));
      const std::size_t room = make_room(some);
      const Chain* chain = chains_.data();
      const std::uint32_t* size = sizes_.data();
      for (std::size_t i = 0; i < room; ++i) write_one(*some[i], popped_[i], chain, size);
      sent += room;
      if (room < some.size()) break;
    }
    return sent;
  }

 private:
  /// Buffers for the first frames. Returns for how many there are.
  std::size_t make_room(std::span<const Frame* const> frames) noexcept {
    std::size_t chains = 0;
    std::uint32_t segments = 0;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      if (!make_room_for(*frames[i], popped_[i], chains, segments)) return i;
    }
    return frames.size();
  }

  bool make_room_for(const Frame& frame, Popped& p, std::size_t& chains,
                     std::uint32_t& segments) noexcept {
    const std::uint32_t need = this->format_.header + frame.len;
    const std::size_t before = chains;
    const std::size_t most = before + (this->format_.mergeable ? kMaxMerged : 1);
    p = {segments, 0, 0};
    while (p.bytes < need) {
      std::uint32_t bytes = 0;
      const int n = chains == std::min(most, chains_.size())
                        ? 0
                        : this->ring_.pop(std::span(this->segments_).subspan(segments + p.segments),
                                          chains_[chains], bytes);
      if (n <= 0) {
        while (chains > before) this->ring_.unpop(chains_[--chains]);
        return false;
      }
      prefetch_to_write(this->segments_[segments + p.segments].data);
      p.segments += static_cast<std::uint32_t>(n);
      p.bytes += bytes;
      sizes_[chains++] = bytes;
    }
    segments += p.segments;
    return true;
  }

  void write_one(const Frame& frame, const Popped& p, const Chain*& chain,
                 const std::uint32_t*& size) noexcept {
    const NetFormat& format = this->format_;
    std::uint32_t left = format.header + frame.len;
    std::uint16_t merged = 0;
    for (std::uint32_t room = 0; room < left; ++merged) room += size[merged];
    const Segment* first = this->segments_.data() + p.first_segment;
    Cursor to(first);
    if (format.csum || frame.offload.flags == 0) {
      to.write_fixed<sizeof frame.offload>(&frame.offload);
    } else {
      sw::Offload unmarked = frame.offload;
      unmarked.flags = 0;
      to.write_fixed<sizeof unmarked>(&unmarked);
    }
    if (format.header > sizeof frame.offload) to.write_fixed<sizeof merged>(&merged);
    to.write_short(frame.head.data(), frame.head_len);
    for (const Part& part : frame.body) to.write(part.data, part.len);
    for (const Segment& s : std::span(first, p.segments)) this->memory_.wrote(s.data, s.len);
    for (; merged > 0; --merged, ++chain, ++size) {
      const std::uint32_t written = std::min(left, *size);
      this->ring_.complete(*chain, written);
      left -= written;
    }
  }

  std::array<Popped, sw::Burst::kFrames> popped_;
  std::array<Chain, kMaxQueueSize> chains_;
  std::array<std::uint32_t, kMaxQueueSize> sizes_;  ///< bytes of each chain
};

template <typename Queue, template <typename> typename On>
std::unique_ptr<Queue> make(const GuestMemory& memory, const QueueSetup& s) {
  if (s.packed) {
    if (s.inflight) return std::make_unique<On<TrackedPackedRing>>(memory, s);
    return std::make_unique<On<PackedRing>>(memory, s);
  }
  if (s.inflight) return std::make_unique<On<TrackedSplitRing>>(memory, s);
  return std::make_unique<On<SplitRing>>(memory, s);
}

}  // namespace

std::unique_ptr<FromGuestQueue> make_from_guest(const GuestMemory& memory, const QueueSetup& s) {
  return make<FromGuestQueue, FromGuest>(memory, s);
}

std::unique_ptr<ToGuestQueue> make_to_guest(const GuestMemory& memory, const QueueSetup& s) {
  return make<ToGuestQueue, ToGuest>(memory, s);
}

}  // namespace rp::backend
