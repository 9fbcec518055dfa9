// SPDX-License-Identifier: BSD-3-Clause
// ring_port.cc - two queues, a kick and a doorbell.
#include "backend/ring_port.h"

#include <string>

namespace rp::backend {

RingPort::RingPort(PlugMemory memory, sw::Offloads can) : shared_(std::move(memory)), can_(can) {
  Mapping mapping(shared_.memory.get(), PlugLayout::kSize);
  doorbell_ = std::make_unique<Doorbell>(mapping.data(), shared_.call.get());
  memory_.add(0, std::move(mapping));
  QueueSetup setup{.where = PlugLayout::ring(PlugLayout::kFromGuest),
                   .features = {.event_idx = true},
                   // A plug without offloads gets none of their marks.
                   .format = {.csum = can.csum}};
  from_guest_ = make_from_guest(memory_, setup);
  setup.where = PlugLayout::ring(PlugLayout::kToGuest);
  to_guest_ = make_to_guest(memory_, setup);
}

RingPort::~RingPort() = default;

void RingPort::receive(sw::Burst& burst, Instant) noexcept {
  from_guest_->lend(burst);
}

void RingPort::release() noexcept {
  // The plug looks at used.idx when it needs room and never sleeps on it.
  from_guest_->release();
}

std::size_t RingPort::send(std::span<const sw::Frame* const> frames, Instant) noexcept {
  return frames.size() - to_guest_->send(frames);
}

bool RingPort::flush(Instant) noexcept {
  if (to_guest_->publish()) doorbell_->ring(to_guest_->published());
  return false;
}

bool RingPort::arm(Instant) noexcept {
  return from_guest_->enable_notifications();
}

void RingPort::report(const CounterSink& sink) const {
  sink("ring.short-chain", from_guest_->short_chains());
  for (const NetQueue* queue :
       {static_cast<NetQueue*>(from_guest_.get()), static_cast<NetQueue*>(to_guest_.get())}) {
    if (queue->fault() != RingFault::none)
      sink(std::string("ring.broken.") + ring_fault_name(queue->fault()), 1);
  }
}

}  // namespace rp::backend
