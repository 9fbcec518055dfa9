// SPDX-License-Identifier: BSD-3-Clause
// ack_filter.h - TCP acknowledgements that carry nothing else.
//
// libslirp answers every other segment of a burst. While such answers still wait for the guest, a
// newer pure acknowledgement says all that the one before it said (RFC 9293, 3.4: acknowledgements
// are cumulative), so it takes its place. Duplicates are kept, as fast retransmit counts them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "switch/headers.h"

namespace rp::slirp {

/// Where TCP's header begins in a frame that acknowledges and does nothing else, without options;
/// 0: another frame.
inline std::size_t pure_ack(std::span<const std::uint8_t> frame) noexcept {
  constexpr std::size_t kEth = sizeof(sw::EthHeader), kTcp = sizeof(sw::TcpHeader);
  const auto type = read_at<Be16>(frame, 2 * sizeof(sw::Mac));
  std::size_t at = 0;
  if (type && type->get() == sw::kEtherIpv4) {
    const auto h = read_at<sw::Ipv4Header>(frame, kEth);
    if (!h || h->header_len() != sizeof *h || h->proto != sw::kProtoTcp ||
        h->total_len.get() != sizeof *h + kTcp)
      return 0;
    at = kEth + sizeof *h;
  } else if (type && type->get() == sw::kEtherIpv6) {
    const auto h = read_at<sw::Ipv6Header>(frame, kEth);
    if (!h || h->next != sw::kProtoTcp || h->payload_len.get() != kTcp) return 0;
    at = kEth + sizeof *h;
  } else {
    return 0;
  }
  const auto tcp = read_at<sw::TcpHeader>(frame, at);
  return tcp && tcp->flags == sw::kTcpAck && tcp->header_len() == kTcp ? at : 0;
}

/// True when `newer` and `older` are pure acknowledgements of one TCP connection, and `newer`
/// acknowledges more. Both are whole Ethernet frames.
inline bool supersedes(std::span<const std::uint8_t> newer,
                       std::span<const std::uint8_t> older) noexcept {
  const std::size_t tcp = pure_ack(newer);
  if (tcp == 0 || pure_ack(older) != tcp) return false;
  const auto same = [&](std::size_t from, std::size_t n) {
    return std::equal(newer.begin() + static_cast<std::ptrdiff_t>(from),
                      newer.begin() + static_cast<std::ptrdiff_t>(from + n),
                      older.begin() + static_cast<std::ptrdiff_t>(from));
  };
  const bool v4 = tcp == sizeof(sw::EthHeader) + sizeof(sw::Ipv4Header);
  const std::size_t addresses = v4 ? 8 : 32, ports = 4;
  if (newer.size() != older.size() || !same(0, sizeof(sw::EthHeader)) ||
      !same(tcp - addresses, addresses + ports))
    return false;
  const auto a = *read_at<sw::TcpHeader>(newer, tcp), b = *read_at<sw::TcpHeader>(older, tcp);
  return a.seq.get() == b.seq.get() && static_cast<std::int32_t>(a.ack.get() - b.ack.get()) > 0;
}

}  // namespace rp::slirp
