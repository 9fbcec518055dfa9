// SPDX-License-Identifier: BSD-3-Clause
// needs.h - what host devices ask of the kernel while they run: all of it is to get one back that
// went, as reading and writing frames takes no right.
#pragma once

#include "base/needs.h"
#include "tap/config.h"

namespace rp::tap {

/// A tap or tun device.
void tell_needs(const TapConfig& config, const NeedSink& sink);
/// A macvtap or ipvtap device.
void tell_needs(const MacvtapConfig& config, const NeedSink& sink);
void tell_needs(const EthConfig& config, const NeedSink& sink);
void tell_needs(const IfbConfig& config, const NeedSink& sink);
void tell_needs(const VethConfig& config, const NeedSink& sink);
void tell_needs(const NetnsConfig& config, const NeedSink& sink);

}  // namespace rp::tap
