// SPDX-License-Identifier: BSD-3-Clause
// tun_port.cc - puts Ethernet headers on and takes them off.
#include "tap/tun_port.h"

#include <cstring>

namespace rp::tap {

TunPort::TunPort(std::unique_ptr<Device> device, const L3Edge& edge, Log log, Instant now)
    : TapPort(std::move(device), log, now), edge_(edge) {}

void TunPort::receive(sw::Burst& burst, Instant now) noexcept {
  for (lent_ = 0; lent_ < edge_.own_frames() && burst.add(edge_.own_frame(lent_)); ++lent_) {
  }
  TapPort::receive(burst, now);
}

void TunPort::release() noexcept {
  edge_.clear(lent_);
  lent_ = 0;
}

bool TunPort::arm(Instant now) noexcept {
  return edge_.own_frames() == 0 && TapPort::arm(now);
}

int TunPort::read_frames(const Fd& queue, sw::Burst& burst) noexcept {
  return io().read_packets_of_ip(queue.get(), header(), burst,
                                 [this](std::span<const std::uint8_t> packet, sw::EthHeader& eth) {
                                   const bool known = edge_.to_guest(packet, eth);
                                   unresolved_ += !known;
                                   return known;
                                 });
}

Wrote TunPort::write_frame(const Fd& queue, const sw::Frame& f) noexcept {
  if (edge_.from_guest(f)) return io().write(queue.get(), header(), f, sizeof(sw::EthHeader));
  ++not_ours_;
  return Wrote::done;
}

void TunPort::report(const CounterSink& sink) const {
  TapPort::report(sink);
  sink("tun.not-for-it", not_ours_);
  sink("tun.unresolved", unresolved_);
}

}  // namespace rp::tap
