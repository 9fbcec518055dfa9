// SPDX-License-Identifier: BSD-3-Clause
// connection.h - what tells a guest's TCP connection from all others.
#pragma once

#include <cstdint>
#include <cstring>

#include "switch/headers.h"

namespace rp::slirp {

struct Connection {
  sw::Ip6Addr guest{}, peer{};  ///< IPv4 ones are mapped
  std::uint16_t guest_port = 0, peer_port = 0;

  bool operator==(const Connection&) const = default;

  std::size_t hash() const noexcept {
    std::uint64_t h = (std::uint64_t{guest_port} << 16) | peer_port;
    for (const sw::Ip6Addr* address : {&guest, &peer}) {
      std::uint64_t words[2];
      std::memcpy(words, address->data(), sizeof words);
      for (const std::uint64_t w : words) {
        h = (h ^ w) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
      }
    }
    return static_cast<std::size_t>(h);
  }
};

/// Of a segment that the guest sent.
inline Connection connection_from(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer,
                                  const sw::TcpHeader& tcp) noexcept {
  return {guest, peer, tcp.sport.get(), tcp.dport.get()};
}
/// Of a segment to the guest.
inline Connection connection_to(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer,
                                const sw::TcpHeader& tcp) noexcept {
  return {guest, peer, tcp.dport.get(), tcp.sport.get()};
}

}  // namespace rp::slirp
