// SPDX-License-Identifier: BSD-3-Clause
// vde_uplink.h - a VDE network as a port of the switch; without link while its far end is away.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "sockets/vde_cable.h"
#include "switch/port.h"

namespace rp::sockets {

class VdeUplink final : public sw::Port {
 public:
  /// Throws Error as VdeCable does.
  VdeUplink(const VdeUplinkOptions& options, const Log& log);
  ~VdeUplink() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return data_ != nullptr; }
  bool sleeps() const noexcept override { return true; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override;
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override;
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return !data_ || data_->arm(); }
  void report(const CounterSink& sink) const override;
  bool has_queue() const noexcept override { return true; }
  void set_queue(std::size_t frames) override;
  std::string describe() const override { return data_ ? "connected" : "waiting"; }

 private:
  void hear_news() noexcept;

  Fd epoll_;
  VdeCable cable_;
  std::unique_ptr<DatagramSocket> data_;
  std::size_t queue_ = 0;  ///< as set; 0: the options'
};

}  // namespace rp::sockets
