// SPDX-License-Identifier: BSD-3-Clause
// thread.h - a thread of ours in somebody else's process.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <string>

#include "base/error.h"
#include "base/signal_guard.h"

namespace rp {

/// All signals are blocked in it but SIGBUS, its stack has the size that is asked for, and its
/// owner joins it: it is never cancelled or detached.
class Thread {
 public:
  Thread() = default;
  Thread(const Thread&) = delete;
  Thread& operator=(const Thread&) = delete;

  /// Runs self->*Run() on a thread called `name` (15 characters at most). Throws Error, whose
  /// sentence `what` starts.
  template <auto Run, typename Owner>
  void start(Owner* self, const char* name, std::size_t stack, const std::string& what) {
    const SignalsBlocked inherited_by_the_thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, stack);
    const int error = pthread_create(
        &id_, &attributes,
        [](void* owner) -> void* {
          (static_cast<Owner*>(owner)->*Run)();
          return nullptr;
        },
        self);
    pthread_attr_destroy(&attributes);
    if (error != 0) throw_errno(what, error);
    runs_ = true;
    pthread_setname_np(id_, name);
  }
  /// Waits for its end, if it was started.
  void join() noexcept {
    if (runs_) pthread_join(id_, nullptr);
    runs_ = false;
  }
  bool runs() const noexcept { return runs_; }

 private:
  pthread_t id_{};
  bool runs_ = false;
};

}  // namespace rp
