// SPDX-License-Identifier: BSD-3-Clause
// datagram_port.h - a socket of whole frames as a port of the switch.
#pragma once

#include <memory>
#include <string>

#include "base/descriptors.h"
#include "sockets/datagram_socket.h"
#include "switch/port.h"

namespace rp::sockets {

class DatagramPort : public sw::Port {
 public:
  /// As DatagramSocket; `peer` is for people. Throws Error.
  DatagramPort(Fd socket, std::string peer, std::shared_ptr<DatagramBuffers> buffers,
               const QueueLimits& limits)
      : peer_(std::move(peer)),
        epoll_(make_epoll()),
        data_(std::move(socket), epoll_.get(), DatagramSocket::Watched::room, std::move(buffers),
              limits) {}

  int poll_fd() const noexcept override { return data_.fd(); }
  int side_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return !gone(); }
  bool gone() const noexcept override { return data_.closed(); }
  bool sleeps() const noexcept override { return true; }
  void receive(sw::Burst& burst, Instant now) noexcept override { data_.receive(burst, now); }
  void release() noexcept override { data_.release(); }
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    return data_.send(frames);
  }
  bool flush(Instant) noexcept override { return data_.flush() || gone(); }
  bool arm(Instant) noexcept override { return data_.arm() && !gone(); }
  bool has_queue() const noexcept override { return true; }
  void set_queue(std::size_t frames) override { data_.set_queue(frames); }
  void report(const CounterSink& sink) const override { data_.report(sink); }
  std::string describe() const override { return peer_; }

 protected:
  const std::string peer_;
  Fd epoll_;
  DatagramSocket data_;
};

}  // namespace rp::sockets
