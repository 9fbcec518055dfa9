// SPDX-License-Identifier: BSD-3-Clause
// plug_port.h - the switch of another process as a port of ours: the driver's end of the ring.
//
// With it two switches in two processes form one network, and no frame makes a system call while
// both are busy but those of the doorbell. The port stays when the other process dies, without
// link, until that is back.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "backend/plug.h"
#include "backend/vhost_user/link.h"
#include "switch/port.h"

namespace rp::backend {

class PlugPort final : public sw::Port {
 public:
  /// Joins the switch `name`. Throws Error.
  /// `restart`: as of vhost_user::Link.
  PlugPort(const std::string& name, const Log& log, vhost_user::Restart restart = {});
  ~PlugPort() override;

  int poll_fd() const noexcept override { return plug_.fd(); }
  sw::Offloads offloads() const noexcept override { return kOffloads; }
  bool link_up() const noexcept override { return link_->up() && !plug_.broken(); }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override;
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool flush(Instant now) noexcept override;
  bool arm(Instant now) noexcept override;
  void report(const CounterSink& sink) const override;
  std::string describe() const override;

 private:
  static constexpr sw::Offloads kOffloads{true, true, true, true, true};

  Plug plug_;
  std::unique_ptr<vhost_user::Link> link_;  // goes before the plug
  std::array<Plug::Received, sw::Burst::kFrames> lent_;
  std::size_t lent_n_ = 0;
};

}  // namespace rp::backend
