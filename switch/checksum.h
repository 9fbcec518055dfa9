// SPDX-License-Identifier: BSD-3-Clause
// checksum.h - the Internet checksum (RFC 1071) and its incremental update (RFC 1624).
#pragma once

#include <cstdint>
#include <span>

#include "switch/headers.h"

namespace rp::sw {

/// The one's complement sum of `bytes`, not inverted, added to `sum`; odd lengths are padded with
/// 0. Only the last of several pieces may have an odd length.
std::uint32_t checksum_add(std::uint32_t sum, std::span<const std::uint8_t> bytes) noexcept;

/// Folds and inverts: the value for a checksum field, in host byte order.
std::uint16_t checksum_finish(std::uint32_t sum) noexcept;

/// The pseudo headers' sums (RFC 793 3.1, RFC 8200 8.1), not inverted; `len` counts L4 bytes.
std::uint32_t pseudo_sum(const Ipv4Header& ip, std::uint8_t proto, std::uint32_t len) noexcept;
std::uint32_t pseudo_sum(const Ipv6Header& ip, std::uint8_t proto, std::uint32_t len) noexcept;

/// RFC 1624, equation 3: the new checksum after a 16-bit word changed from `from` to `to`.
std::uint16_t checksum_update(std::uint16_t checksum, std::uint16_t from,
                              std::uint16_t to) noexcept;

}  // namespace rp::sw
