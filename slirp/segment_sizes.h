// SPDX-License-Identifier: BSD-3-Clause
// segment_sizes.h - the longest TCP segments that guests take, as their SYNs say.
//
// libslirp sends whatever its own MTU allows to a guest that opened the connection itself, so a
// guest behind a smaller MTU depends on us. It is a cache: a connection may be pushed out by
// another, and then counts as one that has said nothing.
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

 private:
  static constexpr std::size_t kSlots = 1024;
  struct Slot {
    Connection of;
    std::uint16_t mss = 0;
  };

  std::array<Slot, kSlots> slots_{};
};

}  // namespace rp::slirp
