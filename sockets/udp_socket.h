// SPDX-License-Identifier: BSD-3-Clause
// udp_socket.h - UDP sockets for frames. Everything throws Error.
#pragma once

#include "base/fd.h"
#include "sockets/socket_address.h"

namespace rp::sockets {

/// Bound to the address, with room for bursts; `shared`: that another socket of ours has already,
/// and shares. Errors start with the address' text; multicast groups are refused.
Fd udp_socket(const SocketAddress& at, bool shared);

/// From here on others of our user may bind to the same port, if they share it as well.
void share_port(const Fd& socket, const std::string& what);

}  // namespace rp::sockets
