// SPDX-License-Identifier: BSD-3-Clause
// datagram_socket.h - whole frames through a socket that keeps them apart: one datagram each.
//
// Theory of operation: frames come in by recvmmsg(), a burst at a time; fewer than asked for say
// that none is left, so the socket is never polled besides. Frames go out by sendmmsg(). What the
// socket has no room for waits in a bounded queue, and only while something waits is the socket's
// room watched (EPOLLOUT); meanwhile further frames are queued or refused without a system call.
// A UNIX socket is full by what its sender has under way (SO_SNDBUF), which the kernel takes as
// room again once three quarters were read: a reader that is slow or stuck costs its own frames.
// Not done: frames of more than kMaxFrame are dropped and counted, never cut.
#pragma once

#include <memory>

#include "base/counter.h"
#include "base/fd.h"
#include "sockets/datagram_buffers.h"
#include "switch/frame_queue.h"

namespace rp::sockets {

/// What may wait for a slow reader, beside what the kernel holds.
struct QueueLimits {
  std::size_t frames = 128;
  std::size_t bytes = std::size_t{1} << 20;
};

class DatagramSocket {
 public:
  /// Takes a socket that is connected to its peer: UNIX SOCK_DGRAM or SOCK_SEQPACKET, or UDP.
  /// Throws Error.
  DatagramSocket(Fd socket, std::shared_ptr<DatagramBuffers> buffers, const QueueLimits& limits);
  ~DatagramSocket();
  DatagramSocket(const DatagramSocket&) = delete;
  DatagramSocket& operator=(const DatagramSocket&) = delete;

  /// Readable when frames came, when frames that wait may go, or when a watched descriptor is.
  int poll_fd() const noexcept { return epoll_.get(); }
  /// Has poll_fd() tell of this descriptor's input as well; until it is closed. Throws Error.
  void watch(int fd);

  /// Lends what came, until release().
  void receive(sw::Burst& burst) noexcept;
  void release() noexcept;
  /// As sw::Port::send().
  std::size_t send(std::span<const sw::Frame* const> frames) noexcept;
  /// As sw::Port::arm(), in a turn in which receive() was called.
  bool arm() noexcept;

  /// The peer hung up (SOCK_SEQPACKET only), or the socket does not work any more.
  bool closed() const noexcept { return closed_; }
  void report(const CounterSink& sink) const;

 private:
  enum class Failure { none, full, frame, all };

  std::size_t transmit(std::span<const sw::Frame* const> frames) noexcept;
  std::size_t write(std::size_t messages, Failure& why) noexcept;
  void drain() noexcept;
  void watch_room(bool on) noexcept;
  void receive_failed(int error) noexcept;

  Fd socket_, epoll_;
  std::shared_ptr<DatagramBuffers> buffers_;
  sw::FrameQueue queue_;
  bool ends_ = false;     ///< an empty message is the end, not a frame
  bool waiting_ = false;  ///< for room: EPOLLOUT is on
  bool drained_ = false;  ///< the last receive() left nothing
  bool closed_ = false;
  unsigned failures_ = 0;  ///< of receiving, one after the other
  std::uint64_t truncated_ = 0, unsent_ = 0, queued_ = 0;
};

}  // namespace rp::sockets
