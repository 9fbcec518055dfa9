// SPDX-License-Identifier: BSD-3-Clause
// seqpacket_door.h - a UNIX path whose every connection is a port: bare frames, one a packet.
//
// User-mode Linux' vector transport `bess` connects so (vec0:transport=bess,dst=PATH), as do
// programs that pass frames over SOCK_SEQPACKET. There is no handshake: who connects is in, if it
// is of our own user, and gone when it hangs up.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/acceptor.h"
#include "base/fd.h"
#include "base/option.h"
#include "base/unix_socket.h"
#include "sockets/datagram_socket.h"
#include "switch/door.h"

namespace rp::sockets {

struct SeqpacketOptions {
  std::string path;
  QueueLimits queue;
};

/// In the order of the documentation.
std::span<const Option<SeqpacketOptions>> seqpacket_options();
/// Throws Error that names what is wrong.
SeqpacketOptions make_seqpacket_options(
    const std::string& path, const std::vector<std::pair<std::string, std::string>>& params);

/// One connection.
class SeqpacketPort final : public sw::Port {
 public:
  /// Throws Error.
  SeqpacketPort(Fd connection, pid_t peer, std::shared_ptr<DatagramBuffers> buffers,
                const QueueLimits& limits);

  int poll_fd() const noexcept override { return epoll_.get(); }
  bool link_up() const noexcept override { return !data_.closed(); }
  bool gone() const noexcept override { return data_.closed(); }
  bool sleeps() const noexcept override { return true; }
  void receive(sw::Burst& burst, Instant now) noexcept override { data_.receive(burst, now); }
  void release() noexcept override { data_.release(); }
  std::size_t send(std::span<const sw::Frame* const> frames, Instant) noexcept override {
    return data_.send(frames);
  }
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant) noexcept override { return data_.arm() && !data_.closed(); }
  void report(const CounterSink& sink) const override { data_.report(sink); }
  std::string describe() const override { return "process " + std::to_string(peer_); }

 private:
  pid_t peer_;
  Fd epoll_;
  DatagramSocket data_;
};

class SeqpacketDoor final : public sw::Door {
 public:
  /// Throws Error and leaves nothing behind.
  explicit SeqpacketDoor(const SeqpacketOptions& options);

  int poll_fd() const noexcept override { return acceptor_.fd(); }
  void receive(sw::Burst&, Instant) noexcept override { acceptor_.turn(); }
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  void report(const CounterSink& sink) const override;

 private:
  const SeqpacketOptions options_;
  UnixListener listener_;
  std::shared_ptr<DatagramBuffers> buffers_;
  Acceptor acceptor_;
  std::uint64_t joined_ = 0, foreign_ = 0;
};

}  // namespace rp::sockets
