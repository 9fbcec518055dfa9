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

std::string text_of(const Ip& ip) {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(ip.family, ip.bytes.data(), text, sizeof text);
  return text;
}

std::string text_of(const Prefix& prefix) {
  return text_of(prefix.ip) + "/" + std::to_string(prefix.length);
}

}  // namespace rp::tap
