// SPDX-License-Identifier: BSD-3-Clause
// bochs_segment.h - what a frame says about a TCP connection, as far as it shows what was received.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/wire.h"
#include "switch/headers.h"

namespace rp::bochs {

/// All zero for a frame without TCP. The guest chooses what stands there: it is a hint.
struct Segment {
  std::uint16_t sport = 0, dport = 0;
  std::uint32_t end = 0;  ///< sequence number after the last byte, without SYN and FIN
  std::uint32_t ack = 0;

  /// RFC 9293, 3.4: sequence numbers wrap.
  bool acknowledges(const Segment& other) const noexcept {
    return sport != 0 && sport == other.dport && dport == other.sport &&
           static_cast<std::int32_t>(ack - other.end) >= 0;
  }
};

/// Ethernet without tags, IPv4 or IPv6 without extension headers.
inline Segment segment_of(std::span<const std::uint8_t> frame) noexcept {
  const auto eth = read_at<sw::EthHeader>(frame, 0);
  if (!eth) return {};
  std::size_t at = sizeof *eth, payload = 0;
  if (eth->type.get() == sw::kEtherIpv4) {
    const auto ip = read_at<sw::Ipv4Header>(frame, at);
    if (!ip || ip->proto != sw::kProtoTcp || ip->total_len.get() < ip->header_len()) return {};
    payload = ip->total_len.get() - ip->header_len();
    at += ip->header_len();
  } else if (eth->type.get() == sw::kEtherIpv6) {
    const auto ip = read_at<sw::Ipv6Header>(frame, at);
    if (!ip || ip->next != sw::kProtoTcp) return {};
    payload = ip->payload_len.get();
    at += sizeof *ip;
  }
  const auto tcp = read_at<sw::TcpHeader>(frame, at);
  if (!tcp || payload < sizeof *tcp || payload < tcp->header_len()) return {};
  return {tcp->sport.get(), tcp->dport.get(),
          tcp->seq.get() + static_cast<std::uint32_t>(payload - tcp->header_len()), tcp->ack.get()};
}

}  // namespace rp::bochs
