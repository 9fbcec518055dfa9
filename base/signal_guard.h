// SPDX-License-Identifier: BSD-3-Clause
// signal_guard.h - keeps signals that our own work raises from reaching the host.
#pragma once

#include <signal.h>
#include <time.h>

namespace rp {

/// Blocks every signal on this thread for its lifetime, but for SIGBUS, which is how the thread's
/// own touch of memory that a guest took away shows (lost_memory.h). A SIGPIPE raised meanwhile is
/// swallowed, as libslirp writes to sockets without MSG_NOSIGNAL; one that was pending before stays
/// pending.
class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
    sigset_t pending;
    sigpending(&pending);
    pipe_was_pending_ = sigismember(&pending, SIGPIPE) == 1;
  }
  ~SignalsBlocked() {
    if (!pipe_was_pending_) {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      const timespec none{};
      sigtimedwait(&pipe, nullptr, &none);
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
  bool pipe_was_pending_;
};

}  // namespace rp
