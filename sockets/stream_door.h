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

#include "sockets/stream_address.h"
#include "sockets/stream_port.h"

namespace rp::sockets {

struct StreamOptions {
  std::string target;
  StreamLimits limits;
  unsigned guests = 256;  ///< at once
};

class StreamDoor final : public sw::Port {
 public:
  /// Throws Error and leaves nothing behind.
  StreamDoor(const StreamOptions& options, const Log& log);
  ~StreamDoor() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return false; }
  bool sleeps() const noexcept override { return true; }
  sw::Claim claim() const noexcept override { return {.number = sw::Claim::kNoNumber}; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    return frames.size();
  }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return true; }
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  void report(const CounterSink& sink) const override;
  std::string describe() const override { return "listening"; }

 private:
  void watch(int fd, int operation, std::uint32_t events);
  void back_off() noexcept;

  const unsigned most_guests_;
  std::shared_ptr<StreamHouse> house_;
  StreamListener listener_;
  Fd timer_, epoll_;
  bool closed_ = false;  ///< until the timer fires
  unsigned left_in_turn_ = 0;
  Instant now_{};
  std::uint64_t joined_ = 0, refused_ = 0, back_offs_ = 0;
};

}  // namespace rp::sockets
