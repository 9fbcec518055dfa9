// SPDX-License-Identifier: BSD-3-Clause
// ipv4_fragments.h - cuts an IPv4 packet for a guest that takes no longer ones (RFC 791 3.2).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "switch/checksum.h"
#include "switch/headers.h"

namespace rp::slirp {

/// Cuts a frame with an IPv4 packet without options, which may be a fragment itself, into ones with
/// packets of at most `mtu` bytes, 68 or more. `place(len)` gives the memory for each, or null.
/// False: a place was null; what was made before stays.
template <typename Place>
bool fragment_ipv4(std::span<const std::uint8_t> frame, std::size_t mtu, Place&& place) noexcept {
  constexpr std::size_t kHeaders = sizeof(sw::EthHeader) + sizeof(sw::Ipv4Header);
  constexpr std::uint16_t kMoreFragments = 0x2000;
  const auto whole = *read_at<sw::Ipv4Header>(frame, sizeof(sw::EthHeader));
  const auto payload = frame.subspan(kHeaders, whole.total_len.get() - sizeof whole);
  const std::size_t most = (mtu - sizeof whole) & ~std::size_t{7};
  for (std::size_t at = 0; at < payload.size(); at += most) {
    const std::size_t len = std::min(most, payload.size() - at);
    std::uint8_t* const to = place(kHeaders + len);
    if (!to) return false;
    sw::Ipv4Header ip = whole;
    ip.total_len.set(static_cast<std::uint16_t>(sizeof ip + len));
    const bool last = at + len == payload.size();
    ip.frag.set(
        static_cast<std::uint16_t>((whole.frag.get() + at / 8) | (last ? 0 : kMoreFragments)));
    ip.checksum.set(0);
    std::memcpy(to, frame.data(), sizeof(sw::EthHeader));
    std::memcpy(to + sizeof(sw::EthHeader), &ip, sizeof ip);
    ip.checksum.set(
        sw::checksum_finish(sw::checksum_add(0, {to + sizeof(sw::EthHeader), sizeof ip})));
    std::memcpy(to + sizeof(sw::EthHeader), &ip, sizeof ip);
    std::memcpy(to + kHeaders, payload.data() + at, len);
  }
  return true;
}

}  // namespace rp::slirp
