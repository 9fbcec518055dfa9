// SPDX-License-Identifier: BSD-3-Clause
// bxhub_door.h - where Bochs comes in by its own ethmod=socket, in place of its hub `bxhub`.
//
// Bochs' session i is configured with the port BASE + 2i of the loopback: it receives there and
// sends to the port after it, a bare frame a datagram (Bochs 2.7, iodev/network/eth_socket.cc). So
// each session has a socket here, connected to Bochs' end: nobody else is heard. It becomes a port
// when Bochs first sends a frame, and is one until a frame to Bochs finds nobody.
// Unlike bxhub the door answers nothing by itself: no DHCP, no TFTP.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "sockets/dgram_options.h"
#include "switch/door.h"

namespace rp::sockets {

class BxhubDoor final : public sw::Door {
 public:
  /// Throws Error and leaves nothing behind: a port is taken.
  explicit BxhubDoor(const BxhubOptions& options);
  ~BxhubDoor() override;

  int poll_fd() const noexcept override;
  void receive(sw::Burst&, Instant) noexcept override {}
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  void report(const CounterSink& sink) const override;

 private:
  class Session;
  struct Sessions;

  const BxhubOptions options_;
  std::shared_ptr<Sessions> sessions_;
  std::shared_ptr<DatagramBuffers> buffers_;
  std::uint64_t joined_ = 0;
};

}  // namespace rp::sockets
