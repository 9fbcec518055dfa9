// SPDX-License-Identifier: BSD-3-Clause
// raw_ping.h - narrows a raw ICMP socket to the answers of one guest's echo request.
#pragma once

#include <cstdint>
#include <span>

namespace rp::slirp {

/// libslirp falls back on a raw socket where ping sockets are not allowed and the process may open
/// one. A raw socket hears every ICMP message that the host gets; this leaves the echo replies from
/// the address, and with the identifier, of the request in `frame`, an Ethernet frame that passed
/// the guard. Sockets of any other kind are left alone.
void narrow_raw_ping(int fd, std::span<const std::uint8_t> frame) noexcept;

}  // namespace rp::slirp
