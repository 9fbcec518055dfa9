// SPDX-License-Identifier: BSD-3-Clause
// ack_filter.h - spares a guest the acknowledgements that a later one makes needless.
//
// libslirp answers every other segment of a burst. While such answers still wait for the guest, a
// newer pure acknowledgement says all that the one before it said (RFC 9293, 3.4: acknowledgements
// are cumulative), so it takes its place. Duplicates are kept, as fast retransmit counts them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "switch/headers.h"

namespace rp::slirp {

/// True when `newer` and `older` are pure acknowledgements of one TCP connection, neither with
/// options, and `newer` acknowledges more. Both are whole Ethernet frames.
inline bool supersedes(std::span<const std::uint8_t> newer,
                       std::span<const std::uint8_t> older) noexcept {
  constexpr std::size_t kEth = sizeof(sw::EthHeader), kTcp = sizeof(sw::TcpHeader);
  if (newer.size() != older.size()) return false;
  const auto type = read_at<Be16>(newer, 2 * sizeof(sw::Mac));
  std::size_t ip = 0, addresses = 0, length = 0, proto = 0;
  if (type && type->get() == sw::kEtherIpv4) {
    const auto h = read_at<sw::Ipv4Header>(newer, kEth);
    if (!h || h->header_len() != sizeof *h || h->proto != sw::kProtoTcp ||
        h->total_len.get() != sizeof *h + kTcp)
      return false;
    ip = sizeof *h;
    length = 2;
    proto = 9;
    addresses = 12;
  } else if (type && type->get() == sw::kEtherIpv6) {
    const auto h = read_at<sw::Ipv6Header>(newer, kEth);
    if (!h || h->next != sw::kProtoTcp || h->payload_len.get() != kTcp) return false;
    ip = sizeof *h;
    length = 4;
    proto = 6;
    addresses = 8;
  } else {
    return false;
  }
  const auto a = read_at<sw::TcpHeader>(newer, kEth + ip);
  const auto b = read_at<sw::TcpHeader>(older, kEth + ip);
  if (!a || !b || a->flags != sw::kTcpAck || b->flags != sw::kTcpAck || a->header_len() != kTcp ||
      b->header_len() != kTcp || a->seq.get() != b->seq.get())
    return false;
  const auto same = [&](std::size_t from, std::size_t n) {
    return std::equal(newer.begin() + static_cast<std::ptrdiff_t>(from),
                      newer.begin() + static_cast<std::ptrdiff_t>(from + n),
                      older.begin() + static_cast<std::ptrdiff_t>(from));
  };
  // Ethernet header; IP lengths and protocol; IP addresses, which end where TCP's ports begin.
  if (!same(0, kEth) || !same(kEth + length, 2) || !same(kEth + proto, 1) ||
      !same(kEth + addresses, ip - addresses + 4))
    return false;
  const auto advance = static_cast<std::int32_t>(a->ack.get() - b->ack.get());
  return advance > 0;
}

}  // namespace rp::slirp
