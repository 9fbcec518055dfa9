// SPDX-License-Identifier: BSD-3-Clause
// udp_socket.cc - bound, and with a buffer that holds bursts.
#include "sockets/udp_socket.h"

#include <netinet/in.h>

#include <cerrno>

#include "base/error.h"

namespace rp::sockets {
namespace {

/// Some thousand frames of 1,500 bytes, as far as the host allows.
constexpr int kReceiveBuffer = 2 << 20;

bool is_multicast(const SocketAddress& a) noexcept {
  if (a.address.ss_family == AF_INET6)
    return reinterpret_cast<const sockaddr_in6&>(a.address).sin6_addr.s6_addr[0] == 0xff;
  return IN_MULTICAST(ntohl(reinterpret_cast<const sockaddr_in&>(a.address).sin_addr.s_addr));
}

}  // namespace

Fd udp_socket(const SocketAddress& at, bool shared) {
  if (is_multicast(at))
    throw Error(
        Errc::unsupported,
        at.text + ": is a multicast group, which this can't join; give " + "each its own address");
  Fd s(socket(at.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!s) throw_errno(at.text, errno);
  setsockopt(s.get(), SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  if (shared) share_port(s, at.text);
  if (bind(s.get(), at.generic(), at.size) != 0) throw_errno(at.text, errno);
  return s;
}

void share_port(const Fd& socket, const std::string& what) {
  const int on = 1;
  if (setsockopt(socket.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0)
    throw_errno(what + ": sharing its port", errno);
}

}  // namespace rp::sockets
