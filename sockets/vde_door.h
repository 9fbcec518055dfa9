// SPDX-License-Identifier: BSD-3-Clause
// vde_door.h - where stock VDE programs come in: libvdeplug's, User-mode Linux, Bochs.
//
// A door is a port of the switch that never has a frame and has no link. Each client that completes
// its request (vde_request.h) becomes a port of its own (vde_port.h), named after its description,
// and goes when it hangs up. Requests may come in pieces; who takes too long is hung up on. Nothing
// here waits for a client.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "sockets/datagram_socket.h"
#include "sockets/vde_folder.h"
#include "sockets/vde_request.h"
#include "switch/door.h"

namespace rp::sockets {

struct VdeDoorOptions {
  std::string path;
  VdeAccess access;
  std::string alias;  ///< listens here as well; empty: nowhere
  QueueLimits queue;
  Instant patience = 10s;  ///< from connecting to the last byte of a request
};

class VdeDoor final : public sw::Door {
 public:
  /// Throws Error and leaves nothing behind.
  VdeDoor(const VdeDoorOptions& options, const Log& log);
  ~VdeDoor() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  bool arm(Instant) noexcept override { return ready_.empty(); }
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  void report(const CounterSink& sink) const override;

 private:
  /// Somebody whose request is not complete.
  struct Visitor {
    Fd control;
    ucred peer{};
    Instant since{};
    std::size_t got = 0;
    std::array<std::uint8_t, kVdeRequestMax> said;
  };
  struct Ready {
    std::unique_ptr<sw::Port> port;
    std::string name;
  };

  void let_in(int listener, Instant now);
  void listen_to(int fd, Instant now);
  void unwatch(const Visitor& visitor) noexcept;
  void admit(Visitor& visitor, const VdeRequest& request, Instant now);
  void refuse(const Visitor& visitor, const std::string& why, Instant now) noexcept;
  void expire(Instant now) noexcept;
  void set_timer(Instant now) noexcept;
  void back_off(Instant now) noexcept;

  VdeDoorOptions options_;
  Log log_;
  std::shared_ptr<VdeFolder> folder_;
  UnixListener control_, alias_;
  std::shared_ptr<DatagramBuffers> buffers_;
  Fd timer_, epoll_;
  std::vector<Visitor> visitors_;  ///< the oldest first
  std::vector<Ready> ready_;
  Instant closed_until_{};  ///< descriptors have run out
  Instant next_complaint_{};
  std::uint64_t joined_ = 0, refused_ = 0, vanished_ = 0, late_ = 0, back_offs_ = 0;
};

}  // namespace rp::sockets
