// SPDX-License-Identifier: BSD-3-Clause
// stream_socket.h - frames through a byte stream, each with its length before it.
//
// Theory of operation: one read takes what the kernel has, as far as a buffer goes, and lends the
// frames out of it; the beginning of a frame that has not come whole waits there. A burst goes out
// by one sendmsg(). What the socket has no room for waits in a bounded buffer, and only while
// something waits is the socket's room watched (EPOLLOUT). A frame that was begun is always
// finished: the buffer has room for the rest of one more.
// A length that no frame has ends the connection, as nothing behind it can be found any more.
#pragma once

#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <memory>

#include "base/counter.h"
#include "base/fd.h"
#include "switch/frame.h"

namespace rp::sockets {

/// The length before each frame: big-endian, of 32 bits (QEMU's -netdev stream and socket, passt,
/// gvproxy) or of 16 (VDE's cables, vde_plug).
enum class Framing : std::uint8_t { qemu, vde };

struct StreamLimits {
  Framing framing = Framing::qemu;
  std::size_t buffer = std::size_t{1} << 20;  ///< bytes that may wait for a slow reader
};

class StreamSocket {
 public:
  /// `epoll` watches the socket while there is one; it outlives this.
  StreamSocket(int epoll, const StreamLimits& limits);
  StreamSocket(const StreamSocket&) = delete;

  /// Takes a connected, non-blocking socket. False: it can't be watched.
  bool open(Fd socket) noexcept;
  /// Lets it go, with what waits.
  void close() noexcept;
  explicit operator bool() const noexcept { return static_cast<bool>(socket_); }
  int fd() const noexcept { return socket_.get(); }

  /// Lends what came, until the next call.
  void receive(sw::Burst& burst) noexcept;
  /// As sw::Port::send().
  std::size_t send(std::span<const sw::Frame* const> frames) noexcept;
  /// No whole frame waits here.
  bool drained() const noexcept;

  /// The connection is over, and all that came is lent.
  bool ended() const noexcept { return ended_ && drained(); }
  /// A length that no frame has: why it is over.
  std::uint32_t bad_length() const noexcept { return bad_length_; }
  void report(const CounterSink& sink) const;

 private:
  /// Several of the largest frames.
  static constexpr std::size_t kIn = std::size_t{256} << 10;
  static constexpr std::size_t kMostVectors = 1024;  ///< IOV_MAX

  std::uint32_t next_length() const noexcept;
  void lend(sw::Burst& burst) noexcept;
  void end() noexcept;
  bool fits(const sw::Frame& f) const noexcept {
    return framing_ == Framing::qemu || f.len <= UINT16_MAX;
  }
  std::size_t put_header(std::uint8_t* to, std::uint32_t len) const noexcept;
  std::size_t gather(std::span<const sw::Frame* const> frames, std::size_t& vectors) noexcept;
  ssize_t write(std::size_t vectors) noexcept;
  bool keep(const sw::Frame& frame, std::size_t from, std::size_t most) noexcept;
  void drain() noexcept;
  void watch(bool room, int operation) noexcept;

  const int epoll_;
  const Framing framing_;
  const std::size_t header_, limit_, out_size_;
  Fd socket_;
  std::unique_ptr<std::uint8_t[]> in_, out_;
  std::size_t in_begin_ = 0, in_end_ = 0, out_begin_ = 0, out_end_ = 0;
  bool waiting_ = false;  ///< for room
  bool deaf_ = false;     ///< the peer
  bool ended_ = false;
  std::uint32_t bad_length_ = 0;
  std::array<iovec, kMostVectors> vectors_;
  std::array<std::array<std::uint8_t, 4>, sw::Burst::kFrames> headers_;
  std::uint64_t empty_ = 0, bad_lengths_ = 0, cut_short_ = 0, queued_ = 0, too_long_ = 0;
};

}  // namespace rp::sockets
