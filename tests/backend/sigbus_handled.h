// SPDX-License-Identifier: BSD-3-Clause
// sigbus_handled.h - a process that survives memory that is cut short.
#pragma once

#include <signal.h>
#include <unistd.h>

#include "backend/lost_memory.h"

namespace rp::backend {

/// What a switch process has (tools/service.cc).
class SigbusHandled {
 public:
  SigbusHandled() {
    struct sigaction action {};
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
      if (!replace_lost_memory(info->si_addr)) _exit(99);
    };
    sigaction(SIGBUS, &action, &before_);
  }
  ~SigbusHandled() { sigaction(SIGBUS, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

}  // namespace rp::backend
