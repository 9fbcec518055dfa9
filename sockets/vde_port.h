// SPDX-License-Identifier: BSD-3-Clause
// vde_port.h - a client of the VDE door as a port of the switch.
//
// Two sockets: the connection to PATH/ctl, which says nothing after the handshake and whose end is
// the port's, and the data socket, one frame a datagram. Both ends of the data path are connected
// to each other, so that nobody else's frames come in.
#pragma once

#include <sys/socket.h>

#include <memory>
#include <string>

#include "base/fd.h"
#include "sockets/datagram_socket.h"
#include "sockets/owned_path.h"
#include "sockets/vde_folder.h"
#include "sockets/vde_request.h"
#include "switch/port.h"

namespace rp::sockets {

/// A client that asked for a port.
struct VdeClient {
  Fd control;
  ucred peer{};
  VdeRequest request;
};

class VdePort final : public sw::Port {
 public:
  /// Connects to the client's data socket, makes ours in the folder and tells the client its name.
  /// Throws Error: the client's is none that it may name.
  VdePort(VdeClient client, std::shared_ptr<VdeFolder> folder,
          std::shared_ptr<DatagramBuffers> buffers, const QueueLimits& limits);
  ~VdePort() override;

  int poll_fd() const noexcept override { return data_->fd(); }
  int side_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return !gone_; }
  bool gone() const noexcept override { return gone_; }
  bool sleeps() const noexcept override { return true; }
  sw::Claim claim() const noexcept override {
    return {client_.request.number, client_.peer.uid, client_.peer.gid};
  }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override { data_->release(); }
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool flush(Instant) noexcept override { return data_->flush(); }
  bool arm(Instant) noexcept override { return data_->arm(); }
  void report(const CounterSink& sink) const override { data_->report(sink); }
  bool has_queue() const noexcept override { return true; }
  void set_queue(std::size_t frames) override { data_->set_queue(frames); }
  std::string describe() const override;

 private:
  void look_at_control() noexcept;

  VdeClient client_;
  std::shared_ptr<VdeFolder> folder_;
  Fd epoll_;
  std::unique_ptr<DatagramSocket> data_;
  OwnedPath path_;  ///< of data_, which goes after it
  bool gone_ = false;
  unsigned turns_ = 0;
  std::size_t chatter_ = 0;  ///< bytes on the control connection after the handshake
};

}  // namespace rp::sockets
