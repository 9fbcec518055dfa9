// SPDX-License-Identifier: BSD-3-Clause
// vde_request.cc - reads a request by offsets.
#include "sockets/vde_request.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/wire.h"

namespace rp::sockets {
namespace {

static_assert(sizeof(sockaddr_un) == 110, "what clients send");
constexpr std::size_t kMac = 6;
constexpr std::size_t kSizeV3 = 12 + sizeof(sockaddr_un);
constexpr std::size_t kSizeV1 = 8 + kMac + sizeof(sockaddr_un);
constexpr std::uint32_t kNewControl = 0, kNewPort0 = 1;
constexpr unsigned kMostPorts = 0xffff;

VdeParsed refused(const char* why) {
  VdeParsed p;
  p.state = VdeParsed::refused;
  p.why = why;
  return p;
}

/// As far as its NUL, if there is one. Whatever a terminal or JSON would mind becomes '?'.
std::string printable(std::span<const std::uint8_t> bytes) {
  std::string s(bytes.begin(), std::find(bytes.begin(), bytes.end(), 0));
  std::replace_if(
      s.begin(), s.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return s;
}

}  // namespace

VdeParsed parse_vde_request(std::span<const std::uint8_t> bytes) {
  const auto word = [&](std::size_t at) { return read_at<std::uint32_t>(bytes, at).value_or(0); };
  if (bytes.empty()) return {};
  const std::size_t seen = std::min(bytes.size(), sizeof kVdeMagic);
  if (std::memcmp(bytes.data(), &kVdeMagic, seen) != 0)
    return refused("it does not start with VDE's magic number");
  VdeParsed p;
  if (bytes.size() < 8) return p;
  if (word(4) == 2 || word(4) > 3) return refused("its version is none of 1 and 3");
  p.request.version = word(4) == 3 ? 3 : 1;
  const bool v3 = p.request.version == 3;
  const std::size_t size = v3 ? kSizeV3 : kSizeV1;
  if (bytes.size() < size) return p;

  const std::uint32_t type = word(v3 ? 8 : 4);
  if ((type & 0xff) != kNewControl && (type & 0xff) != kNewPort0)
    return refused("its type is none of NEW_CONTROL and NEW_PORT0");
  if (type >> 8 > kMostPorts) return refused("its port number is above 65535");
  p.request.management = (type & 0xff) == kNewPort0;
  p.request.number = p.request.management ? 0 : type >> 8;
  p.request.client = *read_at<sockaddr_un>(bytes, size - sizeof(sockaddr_un));
  if (p.request.client.sun_family != AF_UNIX)
    return refused("the address of its socket is no UNIX address");
  p.request.description = printable(bytes.subspan(size));
  p.state = VdeParsed::complete;
  return p;
}

}  // namespace rp::sockets
