// SPDX-License-Identifier: BSD-3-Clause
// ring_port.h - the device end of a plug as a port of the switch: one ring each way.
//
// A broken ring stops this port and no other.
#pragma once

#include <memory>

#include "backend/net_queue.h"
#include "backend/plug_memory.h"
#include "switch/port.h"

namespace rp::backend {

class RingPort final : public sw::Port {
 public:
  /// Takes its own duplicates of the plug's descriptors. Throws Error.
  RingPort(PlugMemory memory, sw::Offloads can);
  ~RingPort() override;

  int poll_fd() const noexcept override { return shared_.kick.get(); }
  sw::Offloads offloads() const noexcept override { return can_; }
  bool link_up() const noexcept override { return to_guest_->fault() == RingFault::none; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override;
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool flush(Instant now) noexcept override;
  bool arm(Instant now) noexcept override;
  void disarm() noexcept override { from_guest_->disable_notifications(); }
  void told() noexcept override { disarm(); }
  void report(const CounterSink& sink) const override;

 private:
  PlugMemory shared_;
  GuestMemory memory_;
  std::unique_ptr<FromGuestQueue> from_guest_;
  std::unique_ptr<ToGuestQueue> to_guest_;
  std::unique_ptr<Doorbell> doorbell_;
  sw::Offloads can_;
};

}  // namespace rp::backend
