// SPDX-License-Identifier: BSD-3-Clause
// vde_client.h - a VDE client for tests: says what it is told to, and moves frames.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/unix_socket.h"
#include "sockets/vde_request.h"
#include "tests/base/soon.h"

namespace rp::test {

using Bytes = std::vector<std::uint8_t>;

inline constexpr int kPatienceMs = kPatience.count();
/// For what must not come.
inline constexpr int kMomentMs = 50;

inline bool readable(int fd, int ms) {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, ms) == 1;
}

template <typename T>
void append(Bytes& to, const T& value) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(&value);
  to.insert(to.end(), p, p + sizeof value);
}

/// A request as libvdeplug sends it.
inline Bytes request_v3(const sockaddr_un& data, const std::string& description = "a test",
                        std::uint32_t type = 0) {
  Bytes b;
  append(b, sockets::kVdeMagic);
  append(b, std::uint32_t{3});
  append(b, type);
  append(b, data);
  b.insert(b.end(), description.begin(), description.end());
  return b;
}

inline Bytes request_v1(const sockaddr_un& data, std::uint32_t type = 0) {
  Bytes b;
  append(b, sockets::kVdeMagic);
  append(b, type);
  b.insert(b.end(), 6, 0);
  append(b, data);
  return b;
}

/// An abstract address, with bytes after the name that mean nothing to anybody else.
inline sockaddr_un abstract_address(const std::string& name) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::memcpy(a.sun_path + 1, name.data(), name.size());
  const char rest[] = {'\xcc', '\x48', '\x9c'};
  std::memcpy(a.sun_path + 50, rest, sizeof rest);
  return a;
}

class VdeClient {
 public:
  Fd control, data;

  /// Connects to the listening socket.
  explicit VdeClient(const std::string& ctl) : control(socket(AF_UNIX, SOCK_STREAM, 0)) {
    const auto a = unix_address(ctl, "test");
    EXPECT_EQ(connect(control.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0)
        << strerror(errno);
  }
  /// Binds the data socket.
  const sockaddr_un& bind_to(const sockaddr_un& a) {
    data.reset(socket(AF_UNIX, SOCK_DGRAM, 0));
    EXPECT_EQ(bind(data.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0)
        << strerror(errno);
    return mine = a;
  }
  void say(const Bytes& b) {
    EXPECT_EQ(::send(control.get(), b.data(), b.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(b.size()));
  }
  /// The door's answer has come, and the data socket is connected to what it names.
  bool joined() {
    if (!readable(control.get(), kPatienceMs)) return false;
    if (recv(control.get(), &theirs, sizeof theirs, 0) != sizeof theirs) return false;
    return connect(data.get(), reinterpret_cast<const sockaddr*>(&theirs), sizeof theirs) == 0;
  }
  /// The door hung up without an answer.
  bool refused() {
    char c;
    if (!readable(control.get(), kPatienceMs)) return false;
    const auto n = recv(control.get(), &c, 1, 0);
    return n == 0 || (n < 0 && errno == ECONNRESET);
  }
  bool send(const Bytes& frame) {
    return ::send(data.get(), frame.data(), frame.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(frame.size());
  }
  /// The next frame; empty when none comes for so long.
  Bytes next(int ms = kPatienceMs) {
    Bytes b(100'000);
    if (!readable(data.get(), ms)) return {};
    const auto n = recv(data.get(), b.data(), b.size(), 0);
    b.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return b;
  }

  sockaddr_un mine{}, theirs{};
};

}  // namespace rp::test
