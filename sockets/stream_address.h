// SPDX-License-Identifier: BSD-3-Clause
// stream_address.h - the address of a stream, and sockets for it.
#pragma once

#include <sys/socket.h>

#include <string>

#include "base/fd.h"
#include "base/unix_socket.h"
#include "sockets/socket_address.h"

namespace rp::sockets {

inline SocketAddress parse_stream_address(const std::string& target) {
  return parse_address("stream", target, SOCK_STREAM);
}

/// Of a peer, for people: "127.0.0.1:4711", or "process 4711".
std::string stream_peer(int socket);

/// A socket that goes to sleep for nobody, with what suits frames: no delay, and a look now and
/// then whether the peer lives. False: it can't.
void tune_stream(int socket) noexcept;

/// Listens at either kind of address.
class StreamListener {
 public:
  /// Throws Error: taken, a right is missing.
  explicit StreamListener(const SocketAddress& at);
  int fd() const noexcept { return unix_ ? unix_.fd() : tcp_.get(); }

 private:
  UnixListener unix_;
  Fd tcp_;
};

}  // namespace rp::sockets
