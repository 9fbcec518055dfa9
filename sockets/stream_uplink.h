// SPDX-License-Identifier: BSD-3-Clause
// stream_uplink.h - a stream that we connect to: passt, gvproxy, another switch's stream door, QEMU
// with server=on.
//
// While nobody is there the link is down, and it is tried again and again, more and more rarely; a
// connection that lasts makes the next try quick. Only a port without a connection ever wakes up by
// itself.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "sockets/stream_address.h"
#include "sockets/stream_door.h"
#include "sockets/stream_socket.h"
#include "switch/port.h"

namespace rp::sockets {

class StreamUplink final : public sw::Port {
 public:
  /// Tries at once; nobody there is no error. Throws Error: no such address.
  StreamUplink(const StreamOptions& options, const Log& log, Instant now);
  ~StreamUplink() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return up_; }
  bool sleeps() const noexcept override { return true; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    return up_ ? stream_.send(frames) : frames.size();
  }
  /// The stream's end is found in receive(), so there is work until that was called.
  bool flush(Instant) noexcept override { return up_ && stream_.ended(); }
  bool arm(Instant) noexcept override { return !up_ || (stream_.drained() && !stream_.ended()); }
  void report(const CounterSink& sink) const override;
  std::string describe() const override { return up_ ? "connected" : "waiting"; }

 private:
  void dial(Instant now) noexcept;
  void finish(Instant now) noexcept;
  void take(Fd socket, Instant now) noexcept;
  void failed(int error, Instant now) noexcept;
  void hang_up(Instant now) noexcept;
  void later(Instant now) noexcept;

  const SocketAddress address_;
  const Log log_;
  Fd timer_, epoll_;
  Fd dialing_;  ///< a connection under way
  StreamSocket stream_;
  bool up_ = false, complained_ = false;
  Instant pause_, up_since_{};
  std::uint64_t connections_ = 0, attempts_ = 0;
};

}  // namespace rp::sockets
