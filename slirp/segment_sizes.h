// SPDX-License-Identifier: BSD-3-Clause
// segment_sizes.h - the longest TCP segments that guests take, as their SYNs say.
//
// Of connections that guests open libslirp forgets it, and sends whatever its own MTU allows
// (handshake.h). A guest may also say more than its card carries; that shows when a long segment
// has to be sent again (RFC 4821 calls it a black hole). It is a cache: a connection may be pushed
// out by another, and then counts as one that has said nothing.
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

  /// Learns from a segment of libslirp's how the guest's answer will end the handshake of a
  /// connection which the guest opened.
  void offered(const Connection& of, const sw::TcpHeader& tcp) noexcept;
  /// Does this segment from the guest end the handshake as expected? It does only once, and not
  /// after another that libslirp may have taken for the end.
  bool ends_handshake(const Connection& of, const sw::TcpHeader& tcp) noexcept;

  /// A long segment of `data` bytes goes to the guest. True: it did before.
  bool resent(const Connection& of, const sw::TcpHeader& tcp, std::uint32_t data) noexcept;
  /// Does the guest acknowledge the first long segment?
  bool took_long(const Connection& of, const sw::TcpHeader& tcp) noexcept;

 private:
  static constexpr std::size_t kSlots = 4096;
  enum class Handshake : std::uint8_t { begun, offered, over };
  struct Slot {
    Connection of;
    std::uint16_t mss = 0;
    Handshake handshake = Handshake::begun;
    bool long_sent = false;
    std::uint32_t seq = 0, ack = 0;               ///< of the answer that ends the handshake
    std::uint32_t first_long = 0, last_long = 0;  ///< where they end
  };
  Slot* find(const Connection& connection) noexcept;

  std::array<Slot, kSlots> slots_{};
};

}  // namespace rp::slirp
