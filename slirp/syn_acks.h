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

#include "switch/headers.h"

namespace rp::slirp {

class SynAcks {
 public:
  /// Learns a connection from libslirp's SYN to a guest. Guests can't add any.
  void learn(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer, const sw::TcpHeader& tcp) noexcept;
  /// Has this SYN been answered before? From now on it has.
  bool repeated(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer,
                const sw::TcpHeader& tcp) noexcept;

 private:
  static constexpr std::size_t kSlots = 256;
  struct Key {
    sw::Ip6Addr guest{}, peer{};
    std::uint16_t guest_port = 0, peer_port = 0;
    std::uint32_t ack = 0;  ///< of the SYN
    bool operator==(const Key&) const = default;
  };
  struct Slot {
    Key key;
    bool answered = false;
  };
  Slot& slot(const Key& key) noexcept;

  std::array<Slot, kSlots> slots_{};
};

}  // namespace rp::slirp
