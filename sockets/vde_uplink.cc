// SPDX-License-Identifier: BSD-3-Clause
// vde_uplink.cc - frames through whatever socket the cable has at the moment.
#include "sockets/vde_uplink.h"

#include <new>

#include "base/descriptors.h"

namespace rp::sockets {

VdeUplink::VdeUplink(const VdeUplinkOptions& options, const Log& log)
    : epoll_(make_epoll()),
      cable_(options, log, epoll_.get(), std::make_shared<DatagramBuffers>()) {
  cable_.news(data_);
}

VdeUplink::~VdeUplink() = default;

void VdeUplink::hear_news() noexcept {
  if (!cable_.news(data_) || !data_ || queue_ == 0) return;
  try {
    data_->set_queue(queue_);
  } catch (const std::bad_alloc&) {
    // It has the usual length then.
  }
}

void VdeUplink::set_queue(std::size_t frames) {
  if (data_) data_->set_queue(frames);
  queue_ = frames;
}

void VdeUplink::receive(sw::Burst& burst, Instant now) noexcept {
  hear_news();
  if (data_) data_->receive(burst, now);
  // One that fails again and again is as good as gone.
  if (data_ && data_->closed() && burst.empty()) data_.reset();
}

void VdeUplink::release() noexcept {
  if (data_) data_->release();
}

std::size_t VdeUplink::send(std::span<const sw::Frame* const> frames, Instant) noexcept {
  return data_ ? data_->send(frames) : frames.size();
}

void VdeUplink::report(const CounterSink& sink) const {
  cable_.report(sink);
  if (data_) data_->report(sink);
}

}  // namespace rp::sockets
