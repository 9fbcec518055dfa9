// SPDX-License-Identifier: BSD-3-Clause
// stream_address.cc - reading addresses, and the options of sockets.
#include "sockets/stream_address.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "base/error.h"

namespace rp::sockets {
namespace {

/// Connections that wait to be let in.
constexpr int kBacklog = 64;
/// A peer is given up that answers nothing for about two minutes.
constexpr int kKeepIdleSeconds = 60, kKeepEverySeconds = 10, kKeepProbes = 6;
constexpr unsigned kUnansweredMs = 120'000;

bool is_number(const std::string& s) noexcept {
  return !s.empty() && std::all_of(s.begin(), s.end(), [](char c) { return c >= '0' && c <= '9'; });
}

template <typename T>
void set(int socket, int level, int option, T value) noexcept {
  setsockopt(socket, level, option, &value, sizeof value);
}

}  // namespace

StreamAddress parse_stream_address(const std::string& target) {
  StreamAddress a;
  a.text = "stream:" + target;
  if (target.empty())
    throw Error(Errc::invalid, "stream: no address, as in stream:/tmp/net.sock or stream::1234");
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
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  const int error =
      getaddrinfo(host.empty() ? "127.0.0.1" : host.c_str(), port.c_str(), &hints, &found);
  if (error != 0) throw Error(Errc::not_found, a.text + ": " + gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> guard(found, freeaddrinfo);
  std::memcpy(&a.address, found->ai_addr, found->ai_addrlen);
  a.size = found->ai_addrlen;
  return a;
}

std::string stream_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&from), &length) == 0 &&
      from.ss_family != AF_UNIX) {
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo(reinterpret_cast<const sockaddr*>(&from), length, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
      return from.ss_family == AF_INET6 ? "[" + std::string(host) + "]:" + port
                                        : std::string(host) + ":" + port;
  }
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0)
    return "process " + std::to_string(peer.pid);
  return "somebody";
}

void tune_stream(int socket) noexcept {
  // They fail on a UNIX socket, which needs none of them.
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, kKeepIdleSeconds);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, kKeepEverySeconds);
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, kKeepProbes);
  set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, kUnansweredMs);
}

StreamListener::StreamListener(const StreamAddress& at) {
  if (at.is_unix()) {
    sockaddr_un un;
    std::memcpy(&un, &at.address, sizeof un);
    unix_ = UnixListener(un, kBacklog, at.text);
    return;
  }
  tcp_.reset(socket(at.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!tcp_) throw_errno(at.text, errno);
  set(tcp_.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (bind(tcp_.get(), at.generic(), at.size) != 0 || listen(tcp_.get(), kBacklog) != 0)
    throw_errno(at.text, errno);
}

}  // namespace rp::sockets
