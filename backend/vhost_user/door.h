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

#include "backend/vhost_user/looks.h"
#include "base/acceptor.h"
#include "base/event_signal.h"
#include "base/unix_socket.h"
#include "switch/door.h"

namespace rp::backend::vhost_user {

class Door final : public sw::Door {
 public:
  /// The door of the switch `name`. `on_demand`: its plugs may start it again when it is killed.
  /// Throws Error: no such name can be, or it has a door.
  explicit Door(const std::string& name, bool on_demand = false);
  ~Door() override;

  int poll_fd() const noexcept override { return acceptor_.fd(); }
  bool sleeps() const noexcept override { return false; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  bool arm(Instant now) noexcept override;
  void disarm() noexcept override { looks_.ask_at_once(); }
  void told() noexcept override { looks_.ask(); }
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  void report(const CounterSink& sink) const override;

 private:
  const std::uint64_t mentioned_;  ///< to each plug
  /// Held for the ports to come: its end would stop the switch for a while.
  const std::shared_ptr<EventSignal> signal_ = EventSignal::shared();
  UnixListener listener_;
  Acceptor acceptor_;
  Looks looks_{64};
  std::uint64_t joined_ = 0, foreign_ = 0;
};

}  // namespace rp::backend::vhost_user
