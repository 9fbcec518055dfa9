// SPDX-License-Identifier: BSD-3-Clause
// segment_sizes.h - the longest TCP segments that guests take, as their SYNs say.
//
// Of connections that guests open libslirp forgets it, and sends whatever its own MTU allows
// (handshake.h). It is a cache: a connection may be pushed out by another, and then counts as one
// that has said nothing.
#pragma once

#include <array>
#include <cstdint>

#include "slirp/connection.h"

namespace rp::slirp {

class SegmentSizes {
 public:
  /// Learns what a SYN from the guest says (RFC 9293 3.7.1), bytes of data; 0: nothing.
  void stated(const Connection& of, std::uint16_t mss) noexcept;
  /// 0: not known.
  std::uint16_t of(const Connection& connection) const noexcept;

  /// Learns from a segment of libslirp's where the handshake of a connection is that the guest
  /// opened.
  void offered(const Connection& of, const sw::TcpHeader& tcp) noexcept;
  /// Does this segment from the guest end the handshake? Once.
  bool ends_handshake(const Connection& of, const sw::TcpHeader& tcp) noexcept;

 private:
  static constexpr std::size_t kSlots = 1024;
  struct Slot {
    Connection of;
    std::uint16_t mss = 0;
    bool offered = false;            ///< libslirp's SYN-ACK is under way
    std::uint32_t seq = 0, ack = 0;  ///< of the guest's answer
  };

  std::array<Slot, kSlots> slots_{};
};

}  // namespace rp::slirp
