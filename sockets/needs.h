// SPDX-License-Identifier: BSD-3-Clause
// needs.h - what doors and uplinks of sockets ask of the kernel while they run.
#pragma once

#include "base/needs.h"
#include "sockets/dgram_options.h"
#include "sockets/stream_options.h"
#include "sockets/vde_options.h"

namespace rp::sockets {

void tell_vde_door_needs(const VdeDoorOptions& options, const NeedSink& sink);
void tell_vde_uplink_needs(const VdeUplinkOptions& options, const NeedSink& sink);
void tell_stream_needs(const StreamOptions& options, bool door, const NeedSink& sink);
void tell_dgram_needs(const DgramOptions& options, bool door, const NeedSink& sink);
/// A listener at the path.
void tell_listener_needs(const std::string& path, const NeedSink& sink);

}  // namespace rp::sockets
