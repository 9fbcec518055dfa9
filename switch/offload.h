// SPDX-License-Identifier: BSD-3-Clause
// offload.h - checks a frame's virtio_net_hdr and finishes in software what a port can't take.
//
// Theory of operation: a guest's header is a claim. check_offload() compares it with the frame's
// own headers once, when the frame comes in, and rebuilds every value from what it read; later
// stages trust only the rebuilt metadata. Segmenter then completes one frame for one kind of port:
// checksum completion (virtio 1.2, 5.1.6.2) and TCP/UDP segmentation, v4 and v6, VLAN tags kept.
// A checksum is filled in after the switch has decided where the frame goes, so the field must lie
// behind everything that such a decision reads: tags, ARP, IP, and of TCP, UDP and ICMP it must be
// the real checksum field.
// The reverse, joining segments, is in coalesce.h.
// Not done: UFO (fragmentation), tunnels, segmentation behind IPv6 extension
// headers or with more than kHead bytes of headers; such frames are refused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "switch/frame.h"

namespace rp::sw {

/// virtio 1.2, 5.1.6: UDP segmentation. Debian 12's linux/virtio_net.h has no name for it yet.
inline constexpr std::uint8_t kGsoUdpL4 = 5;

/// The most segments that one frame may ask for, so that one 64 KiB frame costs a bounded turn.
/// It admits 64 KiB at an MSS of 36: what Linux's least TCP MSS (48) leaves beside timestamps.
inline constexpr std::uint32_t kMaxSegments = 2048;

/// Where a frame's headers lie, counted from its first byte.
struct Layers {
  std::uint16_t type = 0;     ///< ethertype behind at most two tags
  std::uint8_t proto = 0;     ///< IP protocol; 0 when not IP
  std::uint32_t l3 = 0;       ///< first byte behind Ethernet and tags
  std::uint32_t l4 = 0;       ///< first byte behind ARP or IP, else l3
  std::uint32_t payload = 0;  ///< GSO only: first byte behind TCP or UDP
};

/// Finds l3 and l4. False when a header is cut off or is not what the ethertype says.
bool locate(const Frame& frame, Layers& l) noexcept;

/// check_offload() for frames that claim something.
bool check_claims(Frame& frame) noexcept;

/// True when the metadata fits the frame; all of it is then rebuilt, and unknown flags are cleared.
/// A segmentation that would make one segment is cleared, so what is left may exceed an MTU.
/// False: the frame is to be dropped. VIRTIO_NET_HDR_F_DATA_VALID stays on complete frames, as a
/// hint; a port whose peer did not ask for it leaves it out.
inline bool check_offload(Frame& frame) noexcept {
  Offload& o = frame.offload;
  if (!o.none()) return check_claims(frame);
  const auto kept = static_cast<std::uint8_t>(o.flags & VIRTIO_NET_HDR_F_DATA_VALID);
  o = {};
  o.flags = kept;
  return true;
}

/// The sum of the pseudo header of an IP packet as long as the frame says (RFC 9293 3.1, RFC 8200
/// 8.1), not inverted. `l`: what locate() said of the frame.
std::uint32_t pseudo_of(const Frame& frame, const Layers& l) noexcept;

/// Writes the length of the IP packet that ends a frame of `len` bytes, and with it an IPv4
/// header's checksum; adds `ids` to an IPv4 id. Returns the pseudo header's sum as pseudo_of()
/// does.
std::uint32_t set_ip_length(std::span<std::uint8_t> head, const Layers& l, std::uint32_t len,
                            std::uint32_t ids) noexcept;

/// What a checksum field holds while the checksum is left to do (virtio 1.2, 5.1.6.2).
std::uint16_t checksum_to_do(std::uint32_t pseudo) noexcept;

/// Leaves the checksum to do: `offset` bytes into the header at `l4`, both in the head.
void leave_checksum(Frame& frame, std::uint32_t l4, std::uint32_t offset,
                    std::uint32_t pseudo) noexcept;

/// Leaves the checksum of a whole TCP segment to do again, for a receiver that believes whoever did
/// not sum, but not who says that the sum is right. False: it is no such segment, and unchanged.
bool reopen_checksum(Frame& frame) noexcept;

/// Has a whole TCP segment cut into ones of at most `size` bytes of data, at least 1. False: it is
/// no such segment, or would make more than kMaxSegments, and is unchanged.
bool ask_segmentation(Frame& frame, std::uint16_t size) noexcept;

/// For a receiver that takes TCP segments of any length: finishes in `bytes`, all of a checked
/// frame where no guest writes, what is left to do, as one segment. False: the headers make no
/// sense.
bool finish_as_one(const Frame& frame, std::span<std::uint8_t> bytes) noexcept;

/// Finishes frames. Owns its scratch memory, so it allocates only when made. Not thread-safe.
class Segmenter {
 public:
  Segmenter();

  /// True when a port with `can` takes the frame as it is.
  static bool passes(const Offload& offload, const Offloads& can) noexcept {
    return offload.none() || (can.csum && offload.needs_csum() && takes_gso(offload, can));
  }

  /// Takes a checked frame apart into frames that a port with `can` takes and calls
  /// `out(const Frame&)` for each, in order; each is valid during the call only. Returns the number
  /// made; 0 means the frame's headers make no sense and it is to be dropped. Tags may have been
  /// added or taken since the check, when csum_start moved along; anything worse yields 0.
  template <typename Out>
  std::size_t finish(const Frame& frame, const Offloads& can, Out&& out) noexcept {
    if (passes(frame.offload, can)) {
      out(frame);
      return 1;
    }
    if (!begin(frame, can)) return 0;
    std::size_t made = 0;
    for (Frame f; next(f); ++made) out(static_cast<const Frame&>(f));
    return made;
  }

 private:
  static bool takes_gso(const Offload& offload, const Offloads& can) noexcept {
    switch (offload.gso_type) {
      case VIRTIO_NET_HDR_GSO_NONE:
        return true;
      case VIRTIO_NET_HDR_GSO_TCPV4:
        return can.tso4;
      case VIRTIO_NET_HDR_GSO_TCPV6:
        return can.tso6;
      case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
        return can.tso4 && can.ecn;
      case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
        return can.tso6 && can.ecn;
      case kGsoUdpL4:
        return can.uso;
      default:
        return false;
    }
  }

  bool begin(const Frame& frame, const Offloads& can) noexcept;
  bool next(Frame& out) noexcept;
  bool linearize(const Frame& frame) noexcept;
  void start_segment(Frame& out, std::uint32_t chunk) const noexcept;
  void patch_l4(Frame& out) const noexcept;
  void patch_checksum(Frame& out, std::uint32_t pseudo, std::uint32_t chunk) const noexcept;
  void attach(Frame& out, std::uint32_t from) noexcept;

  std::unique_ptr<std::uint8_t[]> scratch_;  ///< the whole frame, contiguous and private
  std::uint32_t len_ = 0;                    ///< bytes in scratch_
  std::uint32_t at_ = 0;                     ///< first byte that no segment has taken yet
  std::uint32_t gso_size_ = 0;               ///< 0: one frame, already completed in scratch_
  std::uint32_t index_ = 0;                  ///< of the segment in work
  bool leave_csum_ = false;                  ///< the port completes checksums itself
  PortId ingress_ = kNoPort;
  Layers layers_;
  Part part_{};
};

}  // namespace rp::sw
