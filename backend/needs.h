// SPDX-License-Identifier: BSD-3-Clause
// needs.h - what the loop, rings and vhost-user ask of the kernel while they run.
#pragma once

#include "backend/vhost_user/port.h"
#include "base/needs.h"

namespace rp::backend {

/// The loop and its rings, as any switch has them.
void tell_loop_needs(const NeedSink& sink);
void tell_vhost_user_needs(const vhost_user::PortOptions& options, const NeedSink& sink);

}  // namespace rp::backend
