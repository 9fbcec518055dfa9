// SPDX-License-Identifier: BSD-3-Clause
// stream_port.h - somebody who connected to a stream door, as a port of the switch.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/time.h"
#include "sockets/stream_socket.h"
#include "switch/port.h"

namespace rp::sockets {

/// What a door and its ports have in common.
struct StreamHouse {
  std::string name;  ///< "stream:/tmp/net.sock"
  Log log;
  StreamLimits limits;
  unsigned guests = 0;
  Instant next_complaint{};

  /// One line a second at most.
  template <typename... Parts>
  void complain(Instant now, const Parts&... parts) noexcept {
    if (now < next_complaint) return;
    next_complaint = now + std::chrono::seconds(1);
    log.warning(name, ": ", parts...);
  }
};

class StreamPort final : public sw::Port {
 public:
  /// Throws Error.
  StreamPort(Fd connection, std::string peer, std::shared_ptr<StreamHouse> house);
  ~StreamPort() override { --house_->guests; }

  int poll_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return !gone_; }
  bool gone() const noexcept override { return gone_; }
  bool sleeps() const noexcept override { return true; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    return stream_.send(frames);
  }
  /// Its end is found in receive(), so there is work until that was called.
  bool flush(Instant) noexcept override { return !gone_ && stream_.ended(); }
  bool arm(Instant) noexcept override { return gone_ || (stream_.drained() && !stream_.ended()); }
  void report(const CounterSink& sink) const override { stream_.report(sink); }
  std::string describe() const override { return peer_; }

 private:
  std::shared_ptr<StreamHouse> house_;
  const std::string peer_;
  Fd epoll_;
  StreamSocket stream_;
  bool gone_ = false;
};

}  // namespace rp::sockets
