// SPDX-License-Identifier: BSD-3-Clause
// tun_port.h - a device that knows IP packets only (tun) as a port of an Ethernet switch.
#pragma once

#include "tap/l3_edge.h"
#include "tap/tap_port.h"

namespace rp::tap {

class TunPort final : public TapPort {
 public:
  /// Throws Error and leaves nothing behind.
  TunPort(std::unique_ptr<Device> device, const L3Edge& edge, Log log, Instant now);

  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override;
  bool flush(Instant) noexcept override { return edge_.own_frames() != 0; }
  bool arm(Instant now) noexcept override;
  void report(const CounterSink& sink) const override;

 protected:
  int read_frames(const Fd& queue, sw::Burst& burst) noexcept override;
  Wrote write_frame(const Fd& queue, const sw::Frame& frame) noexcept override;

 private:
  L3Edge edge_;
  std::size_t lent_ = 0;
  std::uint64_t not_ours_ = 0, unresolved_ = 0;
};

}  // namespace rp::tap
