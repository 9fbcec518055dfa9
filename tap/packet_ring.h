// SPDX-License-Identifier: BSD-3-Clause
// packet_ring.h - frames of a packet socket from memory that the kernel shares, without a system
// call for each.
//
// Theory of operation: the kernel's TPACKET_V2 (packet_mmap, linux/if_packet.h). It writes each
// frame into the next slot and gives the slot away by its status; we lend the frame from there and
// give the slot back. V2, not V3: V3 hands over blocks, and a block that is not full only after
// some milliseconds. A frame that is longer than a slot (a segment of 64 KiB, a jumbo frame) has
// its place in the ring and is itself read from the socket (PACKET_COPY_THRESH).
#pragma once

#include <cstdint>
#include <string>

#include "switch/frame.h"
#include "tap/frame_io.h"

struct tpacket2_hdr;

namespace rp::tap {

class PacketRing {
 public:
  /// Of a packet socket with PACKET_VNET_HDR and PACKET_AUXDATA that is not bound yet. `what` is it
  /// for people. Throws Error.
  PacketRing(int fd, const std::string& what);
  ~PacketRing();
  PacketRing(const PacketRing&) = delete;
  PacketRing& operator=(const PacketRing&) = delete;

  /// Adds what waits to `burst` until it is full or `io`, which long frames are read into, is. It
  /// stays until release(). Returns 0 or errno.
  int read(int fd, FrameIo& io, sw::Burst& burst) noexcept;
  /// Gives the slots of read() back.
  void release() noexcept;

  /// Long frames that came when the socket's buffer was full, or could not be read.
  std::uint64_t lost() const noexcept { return lost_; }

 private:
  std::uint8_t* slot(std::uint32_t number) const noexcept;
  bool lend(std::uint8_t* slot, const tpacket2_hdr& h, sw::Burst& burst) noexcept;

  std::uint8_t* memory_;
  std::uint32_t first_ = 0, next_ = 0;  ///< [first_, next_) are lent; they count on for ever
  std::uint64_t lost_ = 0;
};

}  // namespace rp::tap
