// SPDX-License-Identifier: BSD-3-Clause
// dgram_port.cc - frames from two sides, and peers that come back.
#include "sockets/dgram_port.h"

namespace rp::sockets {

DgramPort::DgramPort(Fd socket, SocketAddress peer, std::shared_ptr<Mailbox> box,
                     std::shared_ptr<DatagramBuffers> buffers, const QueueLimits& limits)
    : DatagramPort(std::move(socket), text_of(peer), std::move(buffers), limits),
      address_(std::move(peer)),
      box_(std::move(box)) {
  watch(epoll_, box_->fd());
  // A UNIX path may have another socket by then.
  if (address_.is_unix()) data_.follow(address_.generic(), address_.size);
}

void DgramPort::receive(sw::Burst& burst, Instant now) noexcept {
  if (gone()) return;
  // What is in the box came before what the socket has.
  if (!box_->lend(burst)) data_.receive(burst, now);
  if (!burst.empty()) box_->heard = now;
  // A UDP peer that starts again is heard by the door.
  gone_ = burst.empty() && data_.refused();
}

void DgramPort::release() noexcept {
  box_->pop();
  data_.release();
}

std::size_t DgramPort::send(std::span<const sw::Frame* const> frames, Instant) noexcept {
  const std::size_t left = data_.send(frames);
  gone_ = gone_ || data_.refused();
  return left;
}

bool DgramPort::arm(Instant now) noexcept {
  box_->trim();
  return DatagramPort::arm(now);
}

void DgramPort::report(const CounterSink& sink) const {
  data_.report(sink);
  sink("drop.flood", box_->lost());
}

}  // namespace rp::sockets
