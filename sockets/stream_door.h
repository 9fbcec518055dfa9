// SPDX-License-Identifier: BSD-3-Clause
// stream_door.h - where emulators come in that speak frames over a stream: QEMU's -netdev stream
// and socket, and whatever else connects to passt or gvproxy.
//
// A door is a port of the switch that never has a frame and has no link. Each connection becomes a
// port of its own (stream_port.h), and goes when it closes. A UNIX path lets in our own user; a TCP
// address lets in who reaches it, so that without a host it is the loopback's.
#pragma once

#include <memory>
#include <string>

#include "base/acceptor.h"
#include "sockets/stream_address.h"
#include "sockets/stream_port.h"
#include "switch/door.h"

namespace rp::sockets {

struct StreamOptions {
  std::string target;
  StreamLimits limits;
  unsigned guests = 256;  ///< at once
};

class StreamDoor final : public sw::Door {
 public:
  /// Throws Error and leaves nothing behind.
  StreamDoor(const StreamOptions& options, const Log& log);
  ~StreamDoor() override;

  int poll_fd() const noexcept override { return acceptor_.fd(); }
  void receive(sw::Burst&, Instant now) noexcept override {
    now_ = now;
    acceptor_.turn();
  }
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  void report(const CounterSink& sink) const override;

 private:
  const unsigned most_guests_;
  std::shared_ptr<StreamHouse> house_;
  StreamListener listener_;
  Acceptor acceptor_;
  Instant now_{};
  std::uint64_t joined_ = 0, refused_ = 0;
};

}  // namespace rp::sockets
