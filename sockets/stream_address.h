// SPDX-License-Identifier: BSD-3-Clause
// stream_address.h - PATH or HOST:PORT, and sockets for it.
#pragma once

#include <sys/socket.h>

#include <string>

#include "base/fd.h"
#include "base/unix_socket.h"

namespace rp::sockets {

struct StreamAddress {
  sockaddr_storage address{};
  socklen_t size = 0;
  std::string text;  ///< as it was given, with its scheme: "stream:/tmp/net.sock"

  bool is_unix() const noexcept { return address.ss_family == AF_UNIX; }
  const sockaddr* generic() const noexcept { return reinterpret_cast<const sockaddr*>(&address); }
};

/// HOST:PORT has no slash and ends in a number; [HOST] may be an IPv6 address; no HOST is the
/// loopback. All else is a path. Looks names up, which may take a while. Throws Error.
StreamAddress parse_stream_address(const std::string& target);

/// Of a peer, for people: "127.0.0.1:4711", or "process 4711".
std::string stream_peer(int socket);

/// A socket that goes to sleep for nobody, with what suits frames: no delay, and a look now and
/// then whether the peer lives. False: it can't.
void tune_stream(int socket) noexcept;

/// Listens at either kind of address.
class StreamListener {
 public:
  /// Throws Error: taken, a right is missing.
  explicit StreamListener(const StreamAddress& at);
  int fd() const noexcept { return unix_ ? unix_.fd() : tcp_.get(); }

 private:
  UnixListener unix_;
  Fd tcp_;
};

}  // namespace rp::sockets
