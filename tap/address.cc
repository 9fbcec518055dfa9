// SPDX-License-Identifier: BSD-3-Clause
// address.cc - parses and prints addresses.
#include "tap/address.h"

#include <arpa/inet.h>

#include <cstdio>

#include "base/option.h"

namespace rp::tap {

std::size_t Ip::size() const noexcept {
  return family == AF_INET ? 4 : 16;
}

Ip parse_ip(const std::string& text) {
  Ip ip;
  for (const int family : {AF_INET, AF_INET6}) {
    ip.family = family;
    if (inet_pton(family, text.c_str(), ip.bytes.data()) == 1) return ip;
  }
  throw Error(Errc::invalid, "expected an address, as 192.0.2.1 or 2001:db8::1");
}

Prefix parse_prefix(const std::string& text) {
  const auto slash = text.find('/');
  Prefix p{parse_ip(text.substr(0, slash)), 0};
  const auto most = static_cast<unsigned>(p.ip.size() * 8);
  p.length = slash == text.npos ? most : parse_number(text.substr(slash + 1), 0, most);
  return p;
}

sw::Mac parse_mac(const std::string& text) {
  sw::Mac mac;
  auto& b = mac.bytes;
  int used = 0;
  const int n = std::sscanf(text.c_str(), "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &b[0], &b[1],
                            &b[2], &b[3], &b[4], &b[5], &used);
  if (n != 6 || static_cast<std::size_t>(used) != text.size())
    throw Error(Errc::invalid, "expected an address, as 02:00:00:00:00:01");
  if (mac.is_zero() || mac.is_group())
    throw Error(Errc::invalid, "a device can't have this address: it is zero or a group's");
  return mac;
}

std::string text_of(const Ip& ip) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(ip.family, ip.bytes.data(), text, sizeof text);
  return text;
}

std::string text_of(const Prefix& prefix) {
  return text_of(prefix.ip) + "/" + std::to_string(prefix.length);
}

std::string text_of(const sw::Mac& mac) {
  char text[18];
  const auto& b = mac.bytes;
  std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4],
                b[5]);
  return text;
}

}  // namespace rp::tap
