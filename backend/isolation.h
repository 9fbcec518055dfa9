// SPDX-License-Identifier: BSD-3-Clause
// isolation.h - isolate=on: a mode in a process of its own, joined by the shared-memory ring.
//
// The process is a switch with a private name whose uplink is the mode. It ends when we leave it,
// and is started again when it dies; the ring goes on, the connections that it carried are lost.
#pragma once

#include <string>

#include "backend/locator.h"
#include "backend/vhost_user/link.h"
#include "base/log.h"
#include "base/option.h"

namespace rp::backend {

OptionDoc isolate_option();

/// Takes `isolate` out of the locator's params. Throws Error.
bool take_isolate(Locator& locator);

class Isolated {
 public:
  /// Starts the process with the locator, of which the params count, as its uplink. Throws Error.
  Isolated(const Locator& locator, const Log& log);

  const std::string& name() const noexcept { return name_; }
  /// Starts it again, however it ended: it is nobody else's.
  vhost_user::Restart restart() const;

 private:
  std::string name_, uplink_;
  Log log_;
};

}  // namespace rp::backend
