// SPDX-License-Identifier: BSD-3-Clause
// coalesce.h - joins the TCP segments of a flow into one frame, for ports that take segmentation.
//
// Theory of operation: the reverse of Segmenter (offload.h). What one send() would hand over is
// looked at in order; a segment that continues the last one of its flow is joined to it, so that
// the receiver handles up to 64 KiB at once. Nothing waits for a later burst. No payload is copied
// but what fills up a short head: the joined frame's body points into the frames it was made of,
// their heads included.
// A join must be undone without a trace, so it needs: the same Ethernet header and tags; the same
// IP addresses, TOS or traffic class and flow label, TTL or hop limit, and DF; without DF
// consecutive IPv4 ids (RFC 6864, 4.1: with DF the id means nothing); the same ports,
// acknowledgement, window, urgent pointer and options; sequence numbers that follow on; segments of
// equal size of which only the last may be shorter or carry PSH; no flag but ACK and PSH; and
// checksums that are right, for the joined frame says so. Whoever marked a checksum as valid or as
// left to do is believed, as receivers believe him. The rest passes as it came.
// Order: a frame is never overtaken by another of its flow. Frames of different flows may be.
// Everything is decided on heads (frame.h); bodies are only read for their sums, and a guest that
// changes them afterwards harms the data it sends and nothing else.
// A port refuses a joined frame as a whole. One whose peer takes segmentation but lends buffers
// that are too small for 64 KiB would never get it, here as from any sender that segments. Not
// done: IPv4 options, IPv6 extension headers, frames with padding, ECE and CWR, UDP.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "switch/frame.h"

namespace rp::sw {

/// Owns room for one burst's joined frames. Not thread-safe.
class Coalescer {
 public:
  /// Flows that are joined side by side; one more closes the one that was opened first.
  static constexpr std::size_t kOpen = 16;
  /// The parts of all that is joined in one burst: less than what one writev() takes (1024).
  static constexpr std::size_t kParts = 512;
  /// 64 KiB of IP, the tags counted in: what virtio 1.2, 5.1.6.3.1 has drivers make room for.
  static constexpr std::uint32_t kMaxLen = 65535 + sizeof(EthHeader);

  /// True when join() can do something for a port with `can`.
  static bool serves(const Offloads& can) noexcept { return can.csum && (can.tso4 || can.tso6); }

  /// What to send in place of at most kFrames checked frames (offload.h) to a port with `can`; good
  /// until the next call and as long as the frames are. Frame::absorbed says how many a frame took
  /// in.
  std::span<const Frame* const> join(std::span<const Frame* const> frames,
                                     const Offloads& can) noexcept;

 private:
  /// What a frame is to us.
  enum class Kind : std::uint8_t {
    other,    ///< of no flow
    unclear,  ///< of a flow, but of which?
    apart,    ///< of a flow, not to be joined
    segment,  ///< may be joined
  };
  /// A frame read as TCP. The offsets count from its first byte.
  struct Segment {
    bool v6, push;
    std::uint32_t l3, l4, payload;
    std::uint32_t size;  ///< payload bytes
    std::uint32_t unit;  ///< payload bytes of each segment but the last of those it is made of
    std::uint32_t seq;
    std::uint16_t id, frag;  ///< IPv4
  };
  /// A flow's frames [first, last] so far, chained by next_.
  struct Flow {
    std::size_t first, last;
    std::size_t slot;   ///< in out_
    Segment s;          ///< of the first
    std::uint32_t len;  ///< of the frame they make
    std::uint16_t absorbed;
    bool intact;  ///< the first one's checksums are right
    bool push;
  };

  static Kind read(const Frame& f, const Offloads& can, Segment& s) noexcept;
  static Kind read_tcp(const Frame& f, Segment& s) noexcept;
  static bool metadata_fits(const Frame& f, const Segment& s) noexcept;
  static bool intact(const Frame& f, const Segment& s) noexcept;
  static bool same_flow(const Frame& a, const Segment& sa, const Frame& b,
                        const Segment& sb) noexcept;
  static bool same_headers(const Frame& a, const Frame& b, const Segment& s) noexcept;
  Flow* find(const Frame& f, const Segment& s) noexcept;
  bool follows(const Flow& flow, const Frame& f, const Segment& s) const noexcept;
  bool may_join(Flow& flow, const Frame& f, const Segment& s) noexcept;
  bool reserve(const Flow& flow, const Frame& f) noexcept;
  bool place(std::size_t i, const Segment& s) noexcept;
  void open(std::size_t i, const Segment& s) noexcept;
  void close(Flow& flow) noexcept;
  void build(const Flow& flow) noexcept;

  std::span<const Frame* const> in_;
  std::array<const Frame*, Burst::kFrames> out_;
  std::array<std::uint8_t, Burst::kFrames> next_;
  std::array<Flow, kOpen> flow_;
  std::array<Frame, Burst::kFrames / 2> joined_;
  std::array<Part, kParts> part_;
  std::size_t out_n_ = 0, flows_ = 0, joined_n_ = 0, parts_ = 0;
  std::size_t parts_left_ = 0;  ///< not reserved by an open flow nor used
};

}  // namespace rp::sw
