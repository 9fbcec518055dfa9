// SPDX-License-Identifier: BSD-3-Clause
// datagram_socket.h - whole frames through a socket that keeps them apart: one datagram each.
//
// Theory of operation: a frame that comes after a pause is received by recv(), which is the
// quickest for one alone, and is on its way before the next is looked for; frames that follow come
// in bursts, by recvmmsg(). While bursts are full nothing else is asked for: no poll, no epoll.
// Frames go out by send() or sendmmsg(). What the socket has no room for
// waits in a bounded queue, and only while something waits is the socket's room watched (EPOLLOUT).
// A UNIX socket is full by what its sender has under way (SO_SNDBUF), and the kernel tells of room
// once three quarters of it were read. A queue that is full before that is worth a try, but tries
// that fail become rare: a reader that is slow or stuck costs its own frames, and nearly no time.
// Not done: frames of more than kMaxFrame are dropped and counted, never cut.
#pragma once

#include <memory>

#include "base/counter.h"
#include "base/fd.h"
#include "base/time.h"
#include "sockets/datagram_buffers.h"
#include "switch/frame_queue.h"

namespace rp::sockets {

/// What may wait for a slow reader, beside what the kernel holds.
struct QueueLimits {
  /// A sender and a reader that share a core take turns of milliseconds, and what is sent in one has
  /// to wait for the other: with less, frames are lost although the reader keeps up.
  std::size_t frames = 2048;
  std::size_t bytes = std::size_t{2} << 20;
};

class DatagramSocket {
 public:
  /// What of the socket makes the port's epoll descriptor readable.
  enum class Watched {
    all,   ///< that frames are there, and that frames that wait may go
    room,  ///< the latter alone: whoever runs the port watches fd() for frames
  };

  /// Takes a socket that is connected to its peer: UNIX SOCK_DGRAM or SOCK_SEQPACKET, or UDP.
  /// `epoll`, the port's, outlives it. Throws Error.
  DatagramSocket(Fd socket, int epoll, Watched watched, std::shared_ptr<DatagramBuffers> buffers,
                 const QueueLimits& limits);
  ~DatagramSocket();
  DatagramSocket(const DatagramSocket&) = delete;
  DatagramSocket& operator=(const DatagramSocket&) = delete;

  /// Readable while frames are there.
  int fd() const noexcept { return socket_.get(); }
  /// Lends what came, until release().
  void receive(sw::Burst& burst, Instant now) noexcept;
  void release() noexcept;
  /// As sw::Port::send().
  std::size_t send(std::span<const sw::Frame* const> frames) noexcept;
  /// As sw::Port::flush(). True: so many frames went out that their reader had better not pay for
  /// our watching the socket, too; or nobody would tell of room for those that wait.
  bool flush() noexcept;
  /// As sw::Port::set_queue(); 0: what the limits said at first.
  void set_queue(std::size_t frames);
  /// As sw::Port::arm(), of a port that sleeps().
  bool arm() noexcept;

  /// The peer hung up (SOCK_SEQPACKET only), or the socket does not work any more.
  bool closed() const noexcept { return closed_; }
  /// Nobody was there when a frame went out: not the end, as somebody may come.
  bool refused() const noexcept { return refused_; }
  /// Once nobody is there, frames go to whoever has the address then. It outlives the socket.
  void follow(const sockaddr* address, socklen_t size) noexcept;
  void report(const CounterSink& sink) const;

 private:
  enum class Failure { none, full, frame, all };

  static Failure failure_of(int error) noexcept;

  std::size_t transmit(std::span<const sw::Frame* const> frames) noexcept;
  int write(std::size_t messages) noexcept;
  std::size_t write(std::size_t messages, Failure& why) noexcept;
  bool find_again() noexcept;
  void drain() noexcept;
  bool try_to_drain() noexcept;
  void watch_room(bool on) noexcept;
  void receive_one(sw::Burst& burst) noexcept;
  void receive_burst(sw::Burst& burst) noexcept;
  void take(sw::Burst& burst, std::span<const std::uint8_t> frame, bool whole) noexcept;
  void receive_failed(int error) noexcept;

  Fd socket_;
  const int epoll_;
  const unsigned frames_;  ///< EPOLLIN where frames are watched for
  const sockaddr* address_ = nullptr;
  socklen_t address_size_ = 0;
  std::shared_ptr<DatagramBuffers> buffers_;
  sw::FrameQueue queue_;
  const std::size_t usual_length_;  ///< of the queue
  bool ends_ = false;               ///< an empty message is the end, not a frame
  bool waiting_ = false;            ///< for room: EPOLLOUT is on
  bool full_ = false;               ///< the last burst was
  bool crowd_ = false;              ///< what flush() said, until receive()
  bool more_ = false;               ///< waits although there may be room: it was enough for a turn
  bool closed_ = false, refused_ = false;
  std::size_t sent_ = 0;                ///< since the last flush()
  Instant last_{};                      ///< when receive() was called
  unsigned alone_ = 0;                  ///< times that receive() looked for one frame, in a row
  unsigned failures_ = 0;               ///< of receiving, one after the other
  unsigned skips_ = 0, skip_next_ = 0;  ///< full queues until the next try to drain one
  std::uint64_t truncated_ = 0, unsent_ = 0, queued_ = 0;
};

}  // namespace rp::sockets
