// SPDX-License-Identifier: BSD-3-Clause
// ring_port.h - the device end of a plug as a port of the switch: one ring each way.
//
// Frames are lent to the switch straight out of shared memory (header and first bytes by value, see
// frame.h) and written straight into the receiver's buffers, merging several when one is too small
// (VIRTIO_NET_F_MRG_RXBUF). A broken ring stops this port and no other.
#pragma once

#include <array>
#include <memory>

#include "backend/device_ring.h"
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
  bool link_up() const noexcept override { return !to_guest_->broken(); }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override;
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool flush(Instant now) noexcept override;
  bool arm(Instant now) noexcept override;
  void disarm() noexcept override { from_guest_->disable_notifications(); }
  void report(const CounterSink& sink) const override;

 private:
  bool lend(sw::Burst& burst) noexcept;
  bool send_one(const sw::Frame& frame) noexcept;

  PlugMemory shared_;
  GuestMemory memory_;
  std::unique_ptr<DeviceRing> from_guest_, to_guest_;
  std::unique_ptr<Doorbell> doorbell_;
  sw::Offloads can_;
  std::uint64_t short_chains_ = 0;

  std::size_t lent_ = 0;
  std::array<std::uint16_t, sw::Burst::kFrames> lent_heads_;
  std::array<Segment, kMaxQueueSize> segments_;
};

}  // namespace rp::backend
