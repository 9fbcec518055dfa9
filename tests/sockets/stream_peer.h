// SPDX-License-Identifier: BSD-3-Clause
// stream_peer.h - the other end of a stream of frames, for tests: says any bytes, reads frames.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/unix_socket.h"
#include "sockets/stream_socket.h"
#include "tests/base/soon.h"
#include "tests/switch/fake_port.h"

namespace rp::test {

/// A frame as it goes through the stream.
inline Bytes framed(const Bytes& frame, sockets::Framing framing = sockets::Framing::qemu) {
  Bytes all;
  const auto n = static_cast<std::uint32_t>(frame.size());
  if (framing == sockets::Framing::qemu)
    for (const int shift : {24, 16}) all.push_back(static_cast<std::uint8_t>(n >> shift));
  for (const int shift : {8, 0}) all.push_back(static_cast<std::uint8_t>(n >> shift));
  all.insert(all.end(), frame.begin(), frame.end());
  return all;
}

inline std::pair<Fd, Fd> stream_pair() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

class StreamPeer {
 public:
  explicit StreamPeer(Fd socket, sockets::Framing framing = sockets::Framing::qemu)
      : socket_(std::move(socket)), framing_(framing) {}
  /// Connects to a path.
  explicit StreamPeer(const std::string& path, sockets::Framing framing = sockets::Framing::qemu)
      : StreamPeer(Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), framing) {
    const sockaddr_un a = unix_address(path, "peer");
    EXPECT_EQ(connect(fd(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0) << path;
  }

  /// Lets the other end work while something is waited for, when it runs on this thread.
  std::function<void()> pump;

  int fd() const { return socket_.get(); }
  void close() { socket_.reset(); }
  /// All of it, however long that takes. False: the other end hung up.
  bool say(const Bytes& bytes) const {
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t n = ::send(fd(), bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (n > 0)
        at += static_cast<std::size_t>(n);
      else if (errno != EAGAIN || !wait(POLLOUT))
        return false;
    }
    return true;
  }
  bool send(const Bytes& frame) const { return say(framed(frame, framing_)); }
  /// The next frame; nothing: the other end hung up, or nothing comes.
  std::optional<Bytes> next() const {
    Bytes header(framing_ == sockets::Framing::qemu ? 4 : 2);
    if (!read(header)) return std::nullopt;
    std::uint32_t n = 0;
    for (const std::uint8_t b : header) n = n << 8 | b;
    EXPECT_LE(n, sw::kMaxFrame) << "out of step";
    if (n > sw::kMaxFrame) return std::nullopt;
    Bytes frame(n);
    if (!read(frame)) return std::nullopt;
    return frame;
  }
  bool hung_up() const {
    std::uint8_t b;
    for (;;) {
      const ssize_t n = recv(fd(), &b, 1, MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno == ECONNRESET)) return true;
      if (n < 0 && !wait(POLLIN)) return false;
    }
  }
  bool silent() const {
    pollfd p{fd(), POLLIN, 0};
    return poll(&p, 1, 50) == 0;
  }

 private:
  bool wait(short events) const {
    pollfd p{fd(), events, 0};
    for (int i = 0; pump && i < 1000; ++i) {
      if (poll(&p, 1, 0) == 1) return true;
      pump();
    }
    return poll(&p, 1, static_cast<int>(kPatience.count())) == 1;
  }
  bool read(Bytes& to) const {
    for (std::size_t at = 0; at < to.size();) {
      if (!wait(POLLIN)) return false;
      const ssize_t n = recv(fd(), to.data() + at, to.size() - at, MSG_DONTWAIT);
      if (n == 0 || (n < 0 && errno != EAGAIN)) return false;
      if (n > 0) at += static_cast<std::size_t>(n);
    }
    return true;
  }

  Fd socket_;
  sockets::Framing framing_;
};

}  // namespace rp::test
