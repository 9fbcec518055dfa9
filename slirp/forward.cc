// SPDX-License-Identifier: BSD-3-Clause
// forward.cc - parses hostfwd and guestfwd.
#include "slirp/forward.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace rp::slirp {
namespace {

constexpr const char* kHostfwdSyntax =
    "expected [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT or unix:PATH-[GUESTADDR]:"
    "GUESTPORT, IPv6 addresses in brackets";
constexpr const char* kGuestfwdSyntax =
    "expected tcp:[ADDR]:PORT-unix:PATH or tcp:[ADDR]:PORT-cmd:COMMAND";

[[noreturn]] void bad(const std::string& why) {
  throw Error(Errc::invalid, why);
}

struct Endpoint {
  std::string address;  ///< without brackets
  bool bracketed = false;
  std::string_view port;
};

/// Splits "addr:port" and "[addr6]:port".
Endpoint split_endpoint(std::string_view text, const char* syntax) {
  Endpoint e;
  if (!text.empty() && text.front() == '[') {
    const auto close = text.find("]:");
    if (close == text.npos) bad(syntax);
    e = {std::string(text.substr(1, close - 1)), true, text.substr(close + 2)};
  } else {
    const auto colon = text.find(':');
    if (colon == text.npos) bad(syntax);
    if (text.find(':', colon + 1) != text.npos)
      bad("an IPv6 address stands in brackets, as in [::1]:80");
    e = {std::string(text.substr(0, colon)), false, text.substr(colon + 1)};
  }
  return e;
}

void set_address(sockaddr_storage& to, const Endpoint& e, unsigned lowest_port, bool v6) {
  const auto port = htons(static_cast<std::uint16_t>(parse_number(e.port, lowest_port, 65535)));
  if (v6) {
    auto& a = reinterpret_cast<sockaddr_in6&>(to);
    a.sin6_family = AF_INET6;
    a.sin6_port = port;
    if (!e.address.empty()) a.sin6_addr = parse_ipv6(e.address);
  } else {
    auto& a = reinterpret_cast<sockaddr_in&>(to);
    a.sin_family = AF_INET;
    a.sin_port = port;
    if (!e.address.empty()) a.sin_addr = parse_ipv4(e.address);
  }
}

void set_loopback(sockaddr_storage& a) {
  if (a.ss_family == AF_INET6)
    reinterpret_cast<sockaddr_in6&>(a).sin6_addr = in6addr_loopback;
  else
    reinterpret_cast<sockaddr_in&>(a).sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

void set_path(sockaddr_storage& to, std::string_view path) {
  auto& a = reinterpret_cast<sockaddr_un&>(to);
  if (path.empty()) bad("the path of the UNIX socket is empty");
  if (path.size() >= sizeof a.sun_path) bad("the path of the UNIX socket is longer than 107 bytes");
  a.sun_family = AF_UNIX;
  std::memcpy(a.sun_path, path.data(), path.size());
}

}  // namespace

unsigned parse_number(std::string_view text, unsigned low, unsigned high) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < low || value > high)
    bad("'" + std::string(text) + "' is not a number from " + std::to_string(low) + " to " +
        std::to_string(high));
  return value;
}

in_addr parse_ipv4(const std::string& text) {
  in_addr a;
  if (inet_pton(AF_INET, text.c_str(), &a) != 1) bad("'" + text + "' is not an IPv4 address");
  return a;
}

in6_addr parse_ipv6(const std::string& text) {
  in6_addr a;
  if (inet_pton(AF_INET6, text.c_str(), &a) != 1) bad("'" + text + "' is not an IPv6 address");
  return a;
}

bool in_prefix(const Config& config, const in6_addr& address) {
  for (unsigned bit = 0; bit < config.prefix6_len; ++bit) {
    const auto mask = static_cast<std::uint8_t>(0x80 >> (bit % 8));
    if ((address.s6_addr[bit / 8] ^ config.prefix6.s6_addr[bit / 8]) & mask) return false;
  }
  return true;
}

HostForward parse_hostfwd(const std::string& text) {
  HostForward f;
  f.text = text;
  // The guest's side holds no '-', a path may.
  const auto dash = text.rfind('-');
  const auto colon = text.find(':');
  if (colon == text.npos || dash == text.npos || dash < colon) bad(kHostfwdSyntax);
  const auto proto = text.substr(0, colon);
  const auto host = std::string_view(text).substr(colon + 1, dash - colon - 1);
  const auto guest = split_endpoint(std::string_view(text).substr(dash + 1), kHostfwdSyntax);
  if (proto == "unix") {
    f.proto = HostForward::Proto::unix;
    set_path(f.host, host);
    set_address(f.guest, guest, 1, guest.bracketed);
    return f;
  }
  if (proto == "udp")
    f.proto = HostForward::Proto::udp;
  else if (!proto.empty() && proto != "tcp")
    bad("'" + proto + "' is none of tcp, udp, unix; " + kHostfwdSyntax);
  const auto outside = split_endpoint(host, kHostfwdSyntax);
  const bool v6 = guest.bracketed || (outside.bracketed && guest.address.empty());
  if (!v6 && outside.bracketed) bad("an IPv6 host address can't be forwarded to an IPv4 guest");
  if (v6 && !outside.bracketed && !outside.address.empty())
    bad("an IPv4 host address can't be forwarded to an IPv6 guest");
  set_address(f.host, outside, 0, v6);
  if (outside.address.empty()) set_loopback(f.host);
  set_address(f.guest, guest, 1, v6);
  return f;
}

GuestForward parse_guestfwd(const std::string& text) {
  GuestForward f;
  f.text = text;
  const auto dash = text.find('-');
  if (dash == text.npos || text.compare(0, 4, "tcp:") != 0) bad(kGuestfwdSyntax);
  const auto inside = split_endpoint(std::string_view(text).substr(4, dash - 4), kGuestfwdSyntax);
  if (inside.bracketed) bad("guestfwd takes an IPv4 address");
  if (!inside.address.empty()) f.address = parse_ipv4(inside.address);
  f.port = static_cast<std::uint16_t>(parse_number(inside.port, 1, 65535));
  const auto target = text.substr(dash + 1);
  if (target.compare(0, 4, "cmd:") == 0) {
    f.target = GuestForward::Target::command;
    f.value = target.substr(4);
  } else if (target.compare(0, 5, "unix:") == 0) {
    f.target = GuestForward::Target::unix_socket;
    f.value = target.substr(5);
    if (f.value.size() >= sizeof(sockaddr_un::sun_path))
      bad("the path of the UNIX socket is longer than 107 bytes");
  } else {
    bad(kGuestfwdSyntax);
  }
  if (f.value.empty()) bad(kGuestfwdSyntax);
  return f;
}

}  // namespace rp::slirp
