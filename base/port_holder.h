// SPDX-License-Identifier: BSD-3-Clause
// port_holder.h - names the process that holds a TCP or UDP port, for error messages.
#pragma once

#include <sys/socket.h>

#include <string>

namespace rp {

/// " by pid 123 (sshd)" for the holder of the address's port, or "" when it can't be known (another
/// user's process, another protocol). Reads /proc; for setup code only.
std::string port_holder(const sockaddr& address, bool udp);

}  // namespace rp
