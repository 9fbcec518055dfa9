// SPDX-License-Identifier: BSD-3-Clause
// fresh_image.h - becomes a program that inherits nothing but the descriptors it is given.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace rp {

/// Becomes the program in a child process: no descriptor from `first_closed` on, every signal at
/// its default and unblocked. Async-signal-safe. Returns when it can't be run.
inline void become(const char* program, char* const* argv, unsigned first_closed) noexcept {
  syscall(SYS_close_range, first_closed, ~0u, 0u);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) sigaction(s, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(program, argv);
}

}  // namespace rp
