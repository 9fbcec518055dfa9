// SPDX-License-Identifier: BSD-3-Clause
// socket_address.cc - reading addresses, and writing them.
#include "sockets/socket_address.h"

#include <netdb.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/unix_socket.h"

namespace rp::sockets {
namespace {

bool is_number(const std::string& s) noexcept {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

SocketAddress parse_address(const std::string& scheme, const std::string& target, int type) {
  SocketAddress a;
  a.text = scheme + ":" + target;
  if (target.empty())
    throw Error(Errc::invalid, scheme + ": no address, as in " + scheme + ":/tmp/net.sock or " +
                                   scheme + "::1234");
  const auto colon = target.rfind(':');
  if (target.find('/') != target.npos || colon == target.npos ||
      !is_number(target.substr(colon + 1))) {
    const sockaddr_un un = unix_address(target, a.text);
    std::memcpy(&a.address, &un, sizeof un);
    a.size = sizeof un;
    return a;
  }
  const std::string port = target.substr(colon + 1);
  if (port.size() > 5 || std::stoul(port) == 0 || std::stoul(port) > 65535)
    throw Error(Errc::invalid, a.text + ": expected a port from 1 to 65535");
  std::string host = target.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = type;
  hints.ai_flags = AI_NUMERICSERV;
  const int error =
      getaddrinfo(host.empty() ? "127.0.0.1" : host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) throw Error(Errc::not_found, a.text + ": " + gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> guard(found, freeaddrinfo);
  std::memcpy(&a.address, found->ai_addr, found->ai_addrlen);
  a.size = found->ai_addrlen;
  return a;
}

std::string text_of(const SocketAddress& a) {
  if (a.is_unix()) {
    sockaddr_un un{};
    std::memcpy(&un, &a.address, std::min<std::size_t>(a.size, sizeof un));
    if (a.size <= offsetof(sockaddr_un, sun_path)) return {};
    const std::size_t room = a.size - offsetof(sockaddr_un, sun_path);
    std::string name = un.sun_path[0] != '\0' ? std::string(un.sun_path, strnlen(un.sun_path, room))
                                              : "@" + std::string(un.sun_path + 1, room - 1);
    // The peer has chosen it, and people read it.
    std::replace_if(
        name.begin(), name.end(), [](char c) { return c <= ' ' || c > '~'; }, '?');
    return name;
  }
  char host[NI_MAXHOST], port[NI_MAXSERV];
  if (getnameinfo(a.generic(), a.size, host, sizeof host, port, sizeof port,
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return {};
  return a.address.ss_family == AF_INET6 ? "[" + std::string(host) + "]:" + port
                                         : std::string(host) + ":" + port;
}

}  // namespace rp::sockets
