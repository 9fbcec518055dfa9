// SPDX-License-Identifier: BSD-3-Clause
// host.h - the host's side of a test: loopback sockets that never block, a scratch directory.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/fd.h"
#include "tests/slirp/packets.h"

namespace rp::test {

struct Address {
  sockaddr_storage a{};
  socklen_t len = sizeof a;
  sockaddr* raw() { return reinterpret_cast<sockaddr*>(&a); }
  std::uint16_t port() const {
    return ntohs(a.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(a).sin6_port
                                         : reinterpret_cast<const sockaddr_in&>(a).sin_port);
  }
  std::string text() const {
    char t[INET6_ADDRSTRLEN] = "";
    if (a.ss_family == AF_INET6)
      inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(a).sin6_addr, t, sizeof t);
    else
      inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(a).sin_addr, t, sizeof t);
    return t;
  }
};

inline Address address(const std::string& ip, std::uint16_t port) {
  Address r;
  if (ip.find(':') != ip.npos) {
    auto& in = reinterpret_cast<sockaddr_in6&>(r.a);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    inet_pton(AF_INET6, ip.c_str(), &in.sin6_addr);
    r.len = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(r.a);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    inet_pton(AF_INET, ip.c_str(), &in.sin_addr);
    r.len = sizeof in;
  }
  return r;
}

inline Address unix_address(const std::string& path) {
  Address r;
  auto& un = reinterpret_cast<sockaddr_un&>(r.a);
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.c_str(), std::min(path.size(), sizeof un.sun_path - 1));
  r.len = sizeof un;
  return r;
}

inline Address local_of(int fd) {
  Address r;
  getsockname(fd, r.raw(), &r.len);
  return r;
}

/// A bound socket that never blocks; listens when it is a stream and `backlog` is not negative.
inline Fd bound(Address at, int type, int backlog = 16) {
  Fd fd(socket(at.a.ss_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (bind(fd.get(), at.raw(), at.len) != 0) return {};
  if (type == SOCK_STREAM && backlog >= 0 && listen(fd.get(), backlog) != 0) return {};
  return fd;
}
inline Fd tcp_listener(const std::string& ip = "127.0.0.1", std::uint16_t port = 0,
                       int backlog = 16) {
  return bound(address(ip, port), SOCK_STREAM, backlog);
}
inline Fd udp_socket(const std::string& ip = "127.0.0.1") {
  return bound(address(ip, 0), SOCK_DGRAM);
}
/// A port that was free a moment ago.
inline std::uint16_t free_port(int type = SOCK_STREAM, const std::string& ip = "127.0.0.1") {
  const Fd fd = bound(address(ip, 0), type, -1);
  return fd ? local_of(fd.get()).port() : 0;
}
inline bool have_ipv6_loopback() {
  return static_cast<bool>(udp_socket("::1"));
}

/// One end of a stream: step() moves what can be moved without waiting.
class Stream {
 public:
  Stream() = default;
  explicit Stream(Fd fd) : fd_(std::move(fd)) {}

  Data in, out;
  bool eof = false;
  int error = 0;

  explicit operator bool() const { return static_cast<bool>(fd_); }
  int fd() const { return fd_.get(); }
  void close() { fd_.reset(); }
  /// Closes with RST.
  void reset() {
    const linger now{1, 0};
    setsockopt(fd_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    fd_.reset();
  }
  void step() {
    if (!fd_) return;
    read_some();
    write_some();
  }
  /// Sends back what came in.
  void echo() {
    step();
    append(out, in);
    in.clear();
    step();
  }

 private:
  void read_some() {
    std::array<std::uint8_t, 65536> buffer;
    for (int i = 0; i < 64; ++i) {
      const ssize_t n = recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (n < 0 && errno != EAGAIN) error = errno;
      if (n == 0) eof = true;
      if (n <= 0) return;
      in.insert(in.end(), buffer.begin(), buffer.begin() + n);
    }
  }
  void write_some() {
    if (sent_ == out.size()) return;
    const ssize_t n =
        send(fd_.get(), out.data() + sent_, out.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) sent_ += static_cast<std::size_t>(n);
  }
  Fd fd_;
  std::size_t sent_ = 0;
};

/// Starts to connect; the error, if it is at once, is in errno.
inline Stream stream_to(Address to) {
  Fd fd(socket(to.a.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(fd.get(), to.raw(), to.len) != 0 && errno != EINPROGRESS) return {};
  return Stream(std::move(fd));
}
inline Stream accept_on(const Fd& listener, Address* peer = nullptr) {
  Address from;
  Fd fd(accept4(listener.get(), from.raw(), &from.len, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (peer) *peer = from;
  return fd ? Stream(std::move(fd)) : Stream();
}

/// A directory that goes away with its contents.
class ScratchDir {
 public:
  ScratchDir() {
    std::array<char, 32> name{"/tmp/rp-nat-test-XXXXXX"};
    if (mkdtemp(name.data())) path_ = name.data();
  }
  ~ScratchDir() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  ScratchDir(ScratchDir&&) = delete;
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Bytes that repeat at no small distance.
inline Data pattern(std::size_t size, std::uint32_t seed = 1) {
  Data d(size);
  std::uint32_t x = seed * 2654435761u + 1;
  for (auto& b : d) {
    x = x * 1664525u + 1013904223u;
    b = static_cast<std::uint8_t>(x >> 24);
  }
  return d;
}

}  // namespace rp::test
