// SPDX-License-Identifier: BSD-3-Clause
// options.h - what the calls on switches and on plugs share.
#pragma once

#include "api/objects.h"
#include "backend/locator.h"

namespace rp::api {

backend::Loop::Options loop_options(const rp_switch_options& o);
/// What a host wrote, which may be NULL. Throws Error.
backend::Locator locator_of(const char* text);
/// Opens a locator as a port of the fabric's switch; as a door, it listens where it can. Throws
/// Error.
void add_locator(Fabric& fabric, backend::Locator locator, bool door, rp_port* port);
/// Collects all counters on the switch's thread, then calls fn on this one. Throws Error.
void count(Fabric& fabric, rp_counter_fn fn, void* opaque);

}  // namespace rp::api
