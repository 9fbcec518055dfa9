// SPDX-License-Identifier: BSD-3-Clause
// syn_acks.h - tells a guest's SYN-ACK from the same one sent again.
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
  /// Has this one been here before? If not, it is remembered, for as long as no other of the same
  /// hash takes its place.
  bool repeated(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer,
                const sw::TcpHeader& tcp) noexcept;

 private:
  static constexpr std::size_t kMost = 256;  ///< handshakes that overlap
  struct One {
    sw::Ip6Addr guest{}, peer{};
    std::uint16_t guest_port = 0, peer_port = 0;
    std::uint32_t seq = 0, ack = 0;
    bool operator==(const One&) const = default;
  };
  std::array<One, kMost> seen_{};
};

}  // namespace rp::slirp
