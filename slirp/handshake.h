// SPDX-License-Identifier: BSD-3-Clause
// handshake.h - tells libslirp the segment size of a guest that opened a connection.
//
// libslirp keeps a guest's SYN until the host has answered, but not what its options said. It
// listens to a SYN that comes again, as long as the handshake lasts; so one precedes the ACK that
// ends it.
#pragma once

#include <cstdint>
#include <span>

#include "switch/headers.h"

namespace rp::slirp {

/// Bytes.
inline constexpr std::size_t kLongestSyn =
    sizeof(sw::EthHeader) + sizeof(sw::Ipv6Header) + sizeof(sw::TcpHeader) + 4;

/// The SYN again, made in `room`, with `mss` as its only option, as one would send it that has just
/// come to send the segment `first` after it. Frames; `first` has passed the guard.
std::span<std::uint8_t> syn_with_mss(std::span<const std::uint8_t> first, std::uint16_t mss,
                                     std::span<std::uint8_t, kLongestSyn> room) noexcept;

}  // namespace rp::slirp
