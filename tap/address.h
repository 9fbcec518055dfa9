// SPDX-License-Identifier: BSD-3-Clause
// address.h - IP addresses as users write them: IP/LENGTH.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace rp::tap {

struct Ip {
  int family = 0;                        ///< AF_INET or AF_INET6
  std::array<std::uint8_t, 16> bytes{};  ///< in network order; IPv4 has the first 4
  std::size_t size() const noexcept;     ///< 4 or 16
};

struct Prefix {
  Ip ip;
  unsigned length = 0;  ///< bits
};

/// Throw Error whose sentence says what a value looks like.
Ip parse_ip(const std::string& text);
/// Without "/LENGTH" it is the address alone: /32 or /128.
Prefix parse_prefix(const std::string& text);

std::string text_of(const Ip& ip);
std::string text_of(const Prefix& prefix);

}  // namespace rp::tap
