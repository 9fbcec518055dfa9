// SPDX-License-Identifier: BSD-3-Clause
// door.h - where plugs of other processes join a switch (link.h).
//
// A door is a port of the switch that never has a frame and has no link: each connection becomes a
// port of its own (port.h), named after the process at its other end, and goes when that closes.
// Only processes of our own user come in. When descriptors run out, those that wait stay in the
// socket's queue, and the door looks again a little later.
#pragma once

#include <memory>
#include <string>

#include "base/event_signal.h"
#include "base/fd.h"
#include "base/unix_socket.h"
#include "switch/port.h"

namespace rp::backend::vhost_user {

class Door final : public sw::Port {
 public:
  /// The door of the switch `name`. Throws Error: no such name can be, or it has a door.
  explicit Door(const std::string& name);
  ~Door() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return false; }
  sw::Claim claim() const noexcept override { return {.number = sw::Claim::kNoNumber}; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override {}
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    return frames.size();
  }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant now) noexcept override;
  void disarm() noexcept override { turns_ = 0; }
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  void report(const CounterSink& sink) const override;
  std::string describe() const override { return "listening"; }

 private:
  void back_off() noexcept;

  /// Held for the ports to come: its end would stop the switch for a while.
  const std::shared_ptr<EventSignal> signal_ = EventSignal::shared();
  UnixListener listener_;
  Fd timer_, epoll_;
  bool closed_ = false;  ///< until the timer fires
  unsigned left_in_turn_ = 0;
  unsigned turns_ = 0;
  std::uint64_t joined_ = 0, foreign_ = 0, back_offs_ = 0;
};

}  // namespace rp::backend::vhost_user
