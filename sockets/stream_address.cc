// SPDX-License-Identifier: BSD-3-Clause
// stream_address.cc - who is there, and the options of sockets.
#include "sockets/stream_address.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace rp::sockets {
namespace {

/// Connections that wait to be let in.
constexpr int kBacklog = 64;
/// A peer is given up that answers nothing for about two minutes.
constexpr int kKeepIdleSeconds = 60, kKeepEverySeconds = 10, kKeepProbes = 6;
constexpr unsigned kUnansweredMs = 120'000;

template <typename T>
void set(int socket, int level, int option, T value) noexcept {
  setsockopt(socket, level, option, &value, sizeof value);
}

}  // namespace

std::string stream_peer(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  SocketAddress from;
  from.size = sizeof from.address;
  if (getpeername(socket, reinterpret_cast<sockaddr*>(&from.address), &from.size) == 0 &&
      !from.is_unix())
    return text_of(from);
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

StreamListener::StreamListener(const SocketAddress& at) {
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
