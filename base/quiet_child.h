// SPDX-License-Identifier: BSD-3-Clause
// quiet_child.h - runs a little code in a child process that the host never hears of.
//
// The child has no exit signal, so no SIGCHLD comes and no wait() of the host's finds it. It is a
// copy of a process that may have threads, so only async-signal-safe calls may be made in it.
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.h"

namespace rp {

/// Until a child that somebody stopped is killed.
constexpr long kQuietChildMs = 10000;

/// Waits until the child has ended, or kills it.
inline void end_in_time(pid_t pid, long patience_ms) noexcept {
  // Where there is no pidfd_open() (Linux 5.3), it is waited for as long as it takes.
  const Fd child(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (!child) return;
  const auto now_ms = [] {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000L + t.tv_nsec / 1000000;
  };
  const long end = now_ms() + patience_ms;
  for (;;) {
    pollfd p{child.get(), POLLIN, 0};
    const long left = end - now_ms();
    const int n = left > 0 ? poll(&p, 1, static_cast<int>(left)) : 0;
    if (n > 0) return;
    if (n == 0 || errno != EINTR) break;
  }
  syscall(SYS_pidfd_send_signal, child.get(), SIGKILL, nullptr, 0);
}

/// Runs fn(), whose value (0 to 254) becomes the exit status, with all signals blocked. Returns it,
/// 255 when the child was killed, also for not ending within patience_ms, or -1 with errno when
/// there was none.
template <typename Fn>
int in_quiet_child(Fn&& fn, long patience_ms = kQuietChildMs) noexcept {
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
  end_in_time(pid, patience_ms);
  int status = 0;
  while (waitpid(pid, &status, static_cast<int>(__WCLONE)) < 0)
    if (errno != EINTR) return 255;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

}  // namespace rp
