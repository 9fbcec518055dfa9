// SPDX-License-Identifier: BSD-3-Clause
// socket_address.h - PATH or HOST:PORT.
#pragma once

#include <sys/socket.h>

#include <string>
#include <string_view>

namespace rp::sockets {

struct SocketAddress {
  sockaddr_storage address{};
  socklen_t size = 0;
  std::string text;  ///< as it was given, with its scheme: "stream:/tmp/net.sock"

  bool is_unix() const noexcept { return address.ss_family == AF_UNIX; }
  const sockaddr* generic() const noexcept { return reinterpret_cast<const sockaddr*>(&address); }
  /// What tells it from others.
  std::string_view bytes() const noexcept {
    return {reinterpret_cast<const char*>(&address), static_cast<std::size_t>(size)};
  }
};

/// HOST:PORT has no slash and ends in a number; [HOST] may be an IPv6 address; no HOST is the
/// loopback. All else is a path. Looks names up, which may take a while. `type` is of the socket,
/// `scheme` starts the text. Throws Error.
SocketAddress parse_address(const std::string& scheme, const std::string& target, int type);

/// For people: "127.0.0.1:4711", a path, "@name" when it is abstract; empty: a socket without one.
std::string text_of(const SocketAddress& address);

}  // namespace rp::sockets
