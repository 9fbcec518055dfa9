// SPDX-License-Identifier: BSD-3-Clause
// channel.h - whole vhost-user messages over a UNIX stream socket, without ever blocking.
//
// A message may come byte by byte; what was not understood closes the channel, and with it every
// descriptor that came along.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "backend/vhost_user/protocol.h"
#include "base/fd.h"

namespace rp::backend::vhost_user {

/// The descriptors of one message, without ever allocating.
class Fds {
 public:
  Fds() = default;
  Fds(Fds&&) = delete;
  std::size_t size() const noexcept { return n_; }
  Fd& operator[](std::size_t i) noexcept { return fds_[i]; }
  const Fd& operator[](std::size_t i) const noexcept { return fds_[i]; }
  /// False, and closed: there are as many already as a message has.
  bool add(Fd fd) noexcept {
    if (n_ == fds_.size()) return false;
    fds_[n_++] = std::move(fd);
    return true;
  }
  void clear() noexcept {
    while (n_ > 0) fds_[--n_].reset();
  }
  /// Leaves none in `other`.
  void take(Fds& other) noexcept {
    clear();
    for (std::size_t i = 0; i < other.n_; ++i) add(std::move(other.fds_[i]));
    other.n_ = 0;
  }

 private:
  std::array<Fd, kMaxFds> fds_;
  std::size_t n_ = 0;
};

struct Message {
  Header header{};
  std::array<std::uint8_t, kMaxPayload> payload{};
  Fds fds;

  Request request() const noexcept { return static_cast<Request>(header.request); }
  bool wants_reply() const noexcept { return header.flags & kNeedReply; }
  /// The payload as a T, if it has exactly that size.
  template <typename T>
  std::optional<T> as() const noexcept {
    static_assert(sizeof(T) <= kMaxPayload);
    if (header.size != sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, payload.data(), sizeof value);
    return value;
  }
};

/// Sends one message, of either side, with `h.size` bytes of payload and perhaps a descriptor,
/// without blocking. False: the peer does not read or is gone.
bool send_message(int socket, Header h, const void* payload, int fd = -1) noexcept;

class Channel {
 public:
  /// Takes a connected, non-blocking socket.
  explicit Channel(Fd socket) noexcept : socket_(std::move(socket)) {}

  int fd() const noexcept { return socket_.get(); }

  enum class Status : std::uint8_t { none, message, closed };
  /// The next whole message. `closed` also when the peer broke the protocol; see fault().
  Status read(Message& out) noexcept;
  /// Answers `request` with `size` bytes, and perhaps a descriptor. False: the peer does not read
  /// or is gone; the channel is of no more use.
  bool reply(const Message& request, const void* payload, std::uint32_t size, int fd = -1) noexcept;
  template <typename T>
  bool reply(const Message& request, const T& payload) noexcept {
    return reply(request, &payload, sizeof payload);
  }

  /// Why read() said closed; empty: the peer hung up.
  const char* fault() const noexcept { return fault_; }

 private:
  Status take(void* to, std::size_t want, std::size_t& have) noexcept;
  Status fail(const char* why) noexcept;
  bool collect(msghdr& m) noexcept;

  Fd socket_;
  Message partial_;
  std::size_t header_have_ = 0, payload_have_ = 0;
  const char* fault_ = "";
};

}  // namespace rp::backend::vhost_user
