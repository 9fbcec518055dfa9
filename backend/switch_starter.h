// SPDX-License-Identifier: BSD-3-Clause
// switch_starter.h - starts the switch that a locator names, when none of that name runs.
//
// The switch is `ringplug switch NAME --on-demand`, a process of its own that is nobody's child: it
// outlives whoever started it as long as others are on it, and ends when its last visitor has gone.
// When it is killed, its plugs start it again: each of them tries, and one process gets the name.
// One that ended when it was told to stays ended until somebody asks for it, and one that somebody
// started by hand is theirs to start: a plug knows neither its uplinks nor its settings.
#pragma once

#include <string>

#include "backend/vhost_user/link.h"
#include "base/error.h"
#include "base/log.h"

namespace rp::backend {

/// Starts the switch, with an uplink if one is given, and waits until it is ready, 10 seconds at
/// most. Returns as well when another process was faster. What it says meanwhile is logged. Throws
/// Error: there is no `ringplug` to run, what it complains of, or `stop` became readable.
void start_switch(const std::string& name, const Log& log, const std::string& uplink = {},
                  int stop = -1);

/// Of plugs that may start the switch.
vhost_user::Restart restart_when_killed(const std::string& name, const Log& log);

/// A name that no switch of this process has had, nor one of another process.
std::string private_name(const std::string& prefix);

/// open(), which throws Errc::not_found when no switch `name` runs; that is started then, if
/// `start`.
template <typename Open>
auto joined(const std::string& name, bool start, const Log& log, Open&& open) {
  // One that was ending while we came is gone when we come again.
  for (int attempts = start ? 3 : 0;; --attempts) {
    try {
      return open();
    } catch (const Error& e) {
      if (e.code() != Errc::not_found || attempts == 0) throw;
    }
    start_switch(name, log);
  }
}

}  // namespace rp::backend
