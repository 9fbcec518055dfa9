// SPDX-License-Identifier: BSD-3-Clause
// dgram_peer.h - the other end of datagrams that are frames, for tests.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <string>
#include <vector>

#include "sockets/socket_address.h"
#include "tests/sockets/vde_client.h"

namespace rp::test {

/// A bound socket that sends to one address, as QEMU's; connected to it, as vfkit's.
class DgramPeer {
 public:
  DgramPeer(const std::string& mine, const std::string& door, bool connected = false)
      : door_(sockets::parse_address("dgram", door, SOCK_DGRAM)),
        socket_(::socket(door_.address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    if (!mine.empty()) {
      const auto a = sockets::parse_address("dgram", mine, SOCK_DGRAM);
      EXPECT_EQ(bind(socket_.get(), a.generic(), a.size), 0) << mine << ": " << strerror(errno);
    }
    if (connected) {
      EXPECT_EQ(connect(socket_.get(), door_.generic(), door_.size), 0) << strerror(errno);
    }
    connected_ = connected;
  }
  /// False, with errno: it was not taken.
  bool send(const Bytes& b, int flags = 0) const {
    const auto n = connected_ ? ::send(socket_.get(), b.data(), b.size(), MSG_NOSIGNAL | flags)
                              : sendto(socket_.get(), b.data(), b.size(), MSG_NOSIGNAL | flags,
                                       door_.generic(), door_.size);
    return n == static_cast<ssize_t>(b.size());
  }
  bool send(const std::string& s) const { return send(Bytes(s.begin(), s.end())); }
  /// The next frame; empty when none comes for so long.
  Bytes next(int ms = kPatienceMs) const {
    Bytes b(100'000);
    if (!readable(socket_.get(), ms)) return {};
    const auto n = recv(socket_.get(), b.data(), b.size(), 0);
    b.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return b;
  }
  int fd() const { return socket_.get(); }

 private:
  sockets::SocketAddress door_;
  Fd socket_;
  bool connected_;
};

/// A UDP port of the loopback that nobody has; as many after it are free as well.
inline std::uint16_t free_udp_port(unsigned more = 0) {
  for (int tries = 0; tries < 100; ++tries) {
    std::vector<Fd> held;
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::uint16_t first = 0;
    for (unsigned i = 0; i <= more; ++i) {
      Fd s(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      socklen_t n = sizeof a;
      if (bind(s.get(), reinterpret_cast<const sockaddr*>(&a), n) != 0) break;
      if (i == 0) {
        getsockname(s.get(), reinterpret_cast<sockaddr*>(&a), &n);
        first = ntohs(a.sin_port);
      }
      held.push_back(std::move(s));
      a.sin_port = htons(static_cast<std::uint16_t>(first + i + 1));
    }
    if (held.size() == more + 1) return first;
  }
  ADD_FAILURE() << "no free ports";
  return 0;
}

inline std::string loopback(unsigned port) {
  return "127.0.0.1:" + std::to_string(port);
}

}  // namespace rp::test
