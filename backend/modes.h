// SPDX-License-Identifier: BSD-3-Clause
// modes.h - the table of modes: what each scheme of a locator opens, and how it is documented.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "backend/locator.h"
#include "backend/plug.h"
#include "backend/vhost_user/link.h"
#include "base/log.h"
#include "base/needs.h"
#include "base/option.h"
#include "base/time.h"
#include "switch/port.h"

namespace rp::backend {

struct Opening {
  const Log& log;
  Instant now;
  bool door = false;  ///< listen where the scheme could also join: vde, switch
};

struct Mode {
  std::string_view scheme;
  std::string_view target;  ///< syntax of the target; empty: it has none
  std::string_view summary;
  std::string_view example;
  /// Calls the function for each option, in the order of the documentation.
  void (*each_option)(const std::function<void(const OptionDoc&)>&);
  /// Opens the port. Throws Error and leaves nothing behind.
  std::unique_ptr<sw::Port> (*open)(const Locator&, const Opening&);
  /// Joins a plug to what the locator names, where that is a switch already. Null, or a function
  /// that returns null: it is none, the plug needs a switch. Throws Error.
  std::unique_ptr<vhost_user::Link> (*link)(const Locator&, Plug&, sw::Offloads, const Log&);
  /// Tells what the open port asks of the kernel, besides what any switch does. Throws Error.
  void (*needs)(const Locator&, bool door, const NeedSink&);
  bool tells_mtu = false;  ///< its mtu= is what guests are told, not what a device has
};

std::span<const Mode> modes();
/// The locator's. Throws Error: unknown scheme (the sentence lists those there are), or a target
/// where none belongs.
const Mode& mode_of(const Locator& locator);

/// Adds mtu= to a locator that says none, if its mode tells guests; 0: leaves it. Throws Error.
void suggest_mtu(Locator& locator, unsigned mtu);

/// Tells what a switch with a port of this locator asks of the kernel once it is open. Throws
/// Error.
void tell_needs(const Locator& locator, bool door, const NeedSink& sink);

/// Opens what the locator names. Throws Error: as mode_of(), and whatever the mode finds wrong.
std::unique_ptr<sw::Port> open_port(const Locator& locator, const Opening& how);

}  // namespace rp::backend
