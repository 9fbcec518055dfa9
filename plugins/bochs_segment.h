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
  bool has_data = false, has_ack = false;
  std::uint32_t end = 0;  ///< sequence number after the last byte of data
  std::uint32_t ack = 0;

  /// Data that the other one may acknowledge.
  bool answered_by(const Segment& other) const noexcept {
    return has_data && other.has_ack && sport == other.dport && dport == other.sport;
  }
  /// RFC 9293, 3.4: sequence numbers wrap.
  bool acknowledged_by(const Segment& other) const noexcept {
    return answered_by(other) && static_cast<std::int32_t>(other.ack - end) >= 0;
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
  const auto data = static_cast<std::uint32_t>(payload - tcp->header_len());
  return {.sport = tcp->sport.get(),
          .dport = tcp->dport.get(),
          .has_data = data > 0,
          .has_ack = (tcp->flags & sw::kTcpAck) != 0,
          .end = tcp->seq.get() + data,
          .ack = tcp->ack.get()};
}

}  // namespace rp::bochs
