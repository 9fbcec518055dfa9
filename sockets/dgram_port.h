// SPDX-License-Identifier: BSD-3-Clause
// dgram_port.h - a peer of a dgram door as a port of the switch.
//
// Its socket is connected to the peer, so that a peer that does not read costs its own frames only.
// What it says comes by that socket, or through the door's (mailbox.h).
#pragma once

#include <memory>

#include "sockets/datagram_port.h"
#include "sockets/mailbox.h"
#include "sockets/socket_address.h"

namespace rp::sockets {

class DgramPort final : public DatagramPort {
 public:
  /// Throws Error.
  DgramPort(Fd socket, SocketAddress peer, std::shared_ptr<Mailbox> box,
            std::shared_ptr<DatagramBuffers> buffers, const QueueLimits& limits);
  ~DgramPort() override { box_->left = true; }

  bool gone() const noexcept override { return gone_ || data_.closed() || box_->closed(); }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override;
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool arm(Instant now) noexcept override;
  void report(const CounterSink& sink) const override;

 private:
  const SocketAddress address_;
  const std::shared_ptr<Mailbox> box_;
  bool gone_ = false;
};

}  // namespace rp::sockets
