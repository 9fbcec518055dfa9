// SPDX-License-Identifier: BSD-3-Clause
// dgram_uplink.h - a peer that takes a frame as a datagram: QEMU's -netdev dgram, another switch's
// dgram door, gvproxy's -listen-vfkit.
//
// A UNIX socket is connected while somebody has the path; until then there is no link, and it is
// tried again and again, more and more rarely. A UDP address always has a link: nothing tells
// whether somebody is there. Only a port without a link ever wakes up by itself.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/unix_socket.h"
#include "sockets/dgram_options.h"
#include "sockets/socket_address.h"
#include "switch/port.h"

namespace rp::sockets {

class DgramUplink final : public sw::Port {
 public:
  /// Tries at once; nobody there is no error. Throws Error: no such address, local= is taken.
  DgramUplink(const DgramOptions& options, const Log& log);
  ~DgramUplink() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return data_ != nullptr; }
  bool sleeps() const noexcept override { return true; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override {
    if (data_) data_->release();
  }
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override;
  bool flush(Instant) noexcept override { return lost(); }
  bool arm(Instant) noexcept override { return !data_ || (data_->arm() && !lost()); }
  void report(const CounterSink& sink) const override;
  std::string describe() const override { return data_ ? "connected" : "waiting"; }

 private:
  bool lost() const noexcept {
    return data_ && (data_->closed() || (address_.is_unix() && data_->refused()));
  }
  void dial() noexcept;
  Fd end();
  void failed(const char* why) noexcept;

  const DgramOptions options_;
  const SocketAddress address_;
  SocketAddress local_;  ///< no size: none is given
  const Log log_;
  std::shared_ptr<DatagramBuffers> buffers_;
  UnixListener path_;  ///< local_, when it is one
  Fd timer_, epoll_;
  std::unique_ptr<DatagramSocket> data_;
  bool complained_ = false;
  Instant pause_;
  std::uint64_t connections_ = 0, attempts_ = 0;
};

}  // namespace rp::sockets
