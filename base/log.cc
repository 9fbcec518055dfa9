// SPDX-License-Identifier: BSD-3-Clause
// log.cc - the default sink: GLib's structured log under the domain "ringplug".
#include "base/log.h"

#include <glib.h>

namespace rp {

void Log::emit(LogLevel level, const char* sentence) const noexcept {
  if (fn_) {
    fn_(opaque_, static_cast<int>(level), sentence);
    return;
  }
  // Errors go out as MESSAGE: WARNING and above can be made fatal to the host by G_DEBUG.
  GLogLevelFlags flags = G_LOG_LEVEL_MESSAGE;
  if (level == LogLevel::info) flags = G_LOG_LEVEL_INFO;
  if (level == LogLevel::debug) flags = G_LOG_LEVEL_DEBUG;
  g_log_structured("ringplug", flags, "MESSAGE", "%s", sentence);
}

}  // namespace rp
