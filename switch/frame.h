// SPDX-License-Identifier: BSD-3-Clause
// frame.h - one Ethernet frame: borrowed bytes plus its virtio_net_hdr metadata.
//
// The bytes may lie in memory that a guest can still write. So the first kHead bytes are copied
// when the frame comes in, whatever is decided is decided on that copy, and that copy is what goes
// out again: a guest can change the body under way, never the headers that were checked.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <utility>

#include "base/wire.h"
#include "switch/headers.h"
#include "switch/virtio_net.h"

namespace rp::sw {

/// A port of one switch: a slot number in the low 16 bits, a generation above, so that the id of a
/// port that is gone never names another (until 65,536 ports have used the same slot).
using PortId = std::uint32_t;
inline constexpr PortId kNoPort = ~PortId{0};
inline constexpr std::size_t port_slot(PortId id) noexcept {
  return id & 0xffffu;
}

/// The largest frame there is: a 64 KiB segment with Ethernet and two 802.1Q headers.
inline constexpr std::uint32_t kMaxFrame = 65535 + 14 + 8;
/// IEEE 802.3: two addresses and a type. What is shorter is a runt.
inline constexpr std::uint32_t kMinFrame = sizeof(EthHeader);

/// virtio_net_hdr without num_buffers (virtio 1.2, 5.1.6), laid out as it is on a ring; all zero: a
/// complete frame.
struct Offload {
  std::uint8_t flags = 0;     ///< VIRTIO_NET_HDR_F_*
  std::uint8_t gso_type = 0;  ///< VIRTIO_NET_HDR_GSO_*
  std::uint16_t hdr_len = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t csum_start = 0;
  std::uint16_t csum_offset = 0;

  bool needs_csum() const noexcept { return flags & VIRTIO_NET_HDR_F_NEEDS_CSUM; }
  bool is_gso() const noexcept { return gso_type != VIRTIO_NET_HDR_GSO_NONE; }
  bool none() const noexcept { return !needs_csum() && !is_gso(); }
};

static_assert(sizeof(Offload) == sizeof(virtio_net_hdr) &&
              __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

inline Offload offload_of(const virtio_net_hdr_v1& h) noexcept {
  return {h.flags, h.gso_type, h.hdr_len, h.gso_size, h.csum_start, h.csum_offset};
}

/// The header that says the same; num_buffers is 0.
inline virtio_net_hdr_v1 header_of(const Offload& o) noexcept {
  virtio_net_hdr_v1 h{};
  h.flags = o.flags;
  h.gso_type = o.gso_type;
  h.hdr_len = o.hdr_len;
  h.gso_size = o.gso_size;
  h.csum_start = o.csum_start;
  h.csum_offset = o.csum_offset;
  return h;
}

/// What a port can take unfinished; the rest is completed in software before send().
struct Offloads {
  bool csum = false, tso4 = false, tso6 = false, ecn = false, uso = false;
};

struct Part {
  const std::uint8_t* data;
  std::uint32_t len;
};

struct Frame {
  /// Ethernet, two tags, IPv6 and a TCP header with all its options fit.
  static constexpr std::uint32_t kHead = 128;

  std::uint32_t len = 0;       ///< whole frame, bytes
  std::uint32_t head_len = 0;  ///< min(len, kHead)
  PortId ingress = kNoPort;
  Offload offload;
  std::uint16_t absorbed = 0;  ///< how many more of the sender's frames this one is (coalesce.h)
  std::span<const Part> body;  ///< the bytes after the head; borrowed
  /// All bytes in a row, in memory that the port has to itself; null where they don't lie so. As
  /// heads are copied, the first head_len bytes there are any receiver's to write.
  std::uint8_t* own = nullptr;
  std::array<std::uint8_t, kHead> head;

  std::span<const std::uint8_t> head_bytes() const noexcept { return {head.data(), head_len}; }

  /// Writes the head back over its place in `own`, which there has to be. Returns all bytes.
  std::span<std::uint8_t> own_bytes() const noexcept {
    std::memcpy(own, head.data(), head_len);
    return {own, len};
  }

  /// Writes all `len` bytes to `dst`.
  void copy_to(std::uint8_t* dst) const noexcept {
    std::memcpy(dst, head.data(), head_len);
    dst += head_len;
    for (const Part& p : body) {
      std::memcpy(dst, p.data, p.len);
      dst += p.len;
    }
  }
};

/// Makes a frame of contiguous bytes; `part` holds the body and must outlive the frame.
inline void make_frame(Frame& f, Part& part, std::span<const std::uint8_t> bytes) noexcept {
  f.len = static_cast<std::uint32_t>(bytes.size());
  f.head_len = std::min(f.len, Frame::kHead);
  f.offload = {};
  if (f.head_len != 0) std::memcpy(f.head.data(), bytes.data(), f.head_len);
  part = {bytes.data() + f.head_len, f.len - f.head_len};
  f.body = part.len ? std::span<const Part>(&part, 1) : std::span<const Part>();
}

/// Up to kFrames frames that one port lends to the switch for one turn. No allocation, no clearing.
/// Who has bytes that don't stay for that long may hand_over() what is in it, wherever forwards().
class Burst {
 public:
  static constexpr std::size_t kFrames = 64;
  /// A chain has at most as many parts as a ring has descriptors.
  static constexpr std::size_t kParts = 1024 + kFrames;

  void clear() noexcept { frames_ = parts_ = 0; }
  std::size_t size() const noexcept { return frames_; }
  bool empty() const noexcept { return frames_ == 0; }
  bool full() const noexcept { return frames_ == kFrames; }
  std::size_t free_frames() const noexcept { return kFrames - frames_; }
  std::size_t free_parts() const noexcept { return kParts - parts_; }
  Frame& operator[](std::size_t i) noexcept { return frame_[i]; }
  std::span<Frame> frames() noexcept { return {frame_.data(), frames_}; }

  /// The slot of the next frame; push() keeps it. Call only when not full().
  Frame& next() noexcept { return frame_[frames_]; }
  /// Room for the parts of the next frame.
  std::span<Part> next_parts() noexcept { return {part_.data() + parts_, kParts - parts_}; }
  /// Keeps next(), whose body uses the first `used` of next_parts().
  void push(std::size_t used) noexcept {
    next().own = nullptr;
    ++frames_;
    parts_ += used;
  }

  /// hand_over() does something.
  bool forwards() const noexcept { return static_cast<bool>(forward_); }
  /// Forwards all frames at once; they are given back, and the burst is empty. Inside receive().
  void hand_over() noexcept { forward_(); }
  /// Called by hand_over().
  void on_hand_over(std::function<void()> forward) { forward_ = std::move(forward); }

  /// Adds contiguous bytes, which stay borrowed. False when there is no room.
  bool add(std::span<const std::uint8_t> bytes) noexcept {
    if (full() || free_parts() == 0) return false;
    make_frame(next(), part_[parts_], bytes);
    push(1);
    return true;
  }
  /// The same for bytes that nobody but the port can write: receivers may use them where they lie.
  bool add_own(std::span<std::uint8_t> bytes) noexcept {
    if (!add(bytes)) return false;
    frame_[frames_ - 1].own = bytes.data();
    return true;
  }

 private:
  std::size_t frames_ = 0, parts_ = 0;
  std::array<Frame, kFrames> frame_;
  std::array<Part, kParts> part_;
  std::function<void()> forward_;
};

}  // namespace rp::sw
