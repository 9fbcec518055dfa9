// SPDX-License-Identifier: BSD-3-Clause
// syn_acks.h - tells a guest's answer to libslirp's SYN from the same answer sent again.
//
// libslirp sizes a connection's buffers anew, and forgets what they hold, whenever a SYN states a
// segment size. A guest repeats its SYN-ACK when it got the SYN twice or the answer late; by then
// libslirp has read what the host sent. A connection that a guest opens has no such moment: the
// guest's SYNs all come before the ACK that lets libslirp read.
#pragma once

#include <array>
#include <cstdint>

#include "slirp/connection.h"

namespace rp::slirp {

class SynAcks {
 public:
  /// Learns a connection from libslirp's SYN to a guest. Guests can't add any.
  void learn(const Connection& of, const sw::TcpHeader& tcp) noexcept;
  /// Has this SYN been answered before? From now on it has.
  bool repeated(const Connection& of, const sw::TcpHeader& tcp) noexcept;

 private:
  static constexpr std::size_t kSlots = 256;
  struct Slot {
    Connection of;
    std::uint32_t ack = 0;  ///< of the SYN
    bool answered = false;
    bool is(const Connection& c, std::uint32_t a) const noexcept { return of == c && ack == a; }
  };
  Slot& slot(std::uint32_t ack) noexcept;

  std::array<Slot, kSlots> slots_{};
};

}  // namespace rp::slirp
