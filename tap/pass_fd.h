// SPDX-License-Identifier: BSD-3-Clause
// pass_fd.h - descriptors through a UNIX socket (SCM_RIGHTS). No allocation: fit for a quiet child.
#pragma once

#include <cstddef>

#include "base/fd.h"

namespace rp::tap {

/// Sends one byte with one descriptor. False, with errno: it can't.
bool send_fd(int socket, int fd) noexcept;
/// Receives what send_fd() sent, close-on-exec, within `timeout_ms`. None: the other end closed, or
/// nothing came.
Fd receive_fd(int socket, int timeout_ms) noexcept;

}  // namespace rp::tap
