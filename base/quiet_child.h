// SPDX-License-Identifier: BSD-3-Clause
// quiet_child.h - runs a little code in a child process that the host never hears of.
//
// The child has no exit signal, so no SIGCHLD comes and no wait() of the host's finds it. It is a
// copy of a process that may have threads, so only async-signal-safe calls may be made in it.
#pragma once

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace rp {

/// Runs fn(), whose value (0 to 254) becomes the exit status, with all signals blocked. Returns it,
/// 255 when the child was killed, or -1 with errno when there was none.
template <typename Fn>
int in_quiet_child(Fn&& fn) noexcept {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  // As fork(), but for the exit signal and the handlers of pthread_atfork().
  const auto pid = static_cast<pid_t>(syscall(SYS_clone, 0, nullptr, nullptr, nullptr, nullptr));
  if (pid == 0) _exit(fn());
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) {
    errno = error;
    return -1;
  }
  int status = 0;
  while (waitpid(pid, &status, static_cast<int>(__WCLONE)) < 0)
    if (errno != EINTR) return 255;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

}  // namespace rp
