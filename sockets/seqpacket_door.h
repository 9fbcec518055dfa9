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
