// SPDX-License-Identifier: BSD-3-Clause
// step_through.h - every state that shared memory goes through while a device works.
//
// A child process works under ptrace, one instruction at a time: each state that it leaves behind
// is what a SIGKILL would leave.
#pragma once

#include <gtest/gtest.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>

namespace rp::backend {

/// Runs `child` in a process of its own and calls `look` after each of its instructions. False:
/// this machine lets nobody trace.
inline bool step_through(const std::function<void()>& child, const std::function<void()>& look) {
  const pid_t pid = fork();
  if (pid == 0) {
    if (ptrace(PTRACE_TRACEME, 0, nullptr, nullptr) != 0) _exit(77);
    raise(SIGSTOP);
    child();
    _exit(0);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
    look();
    if (ptrace(PTRACE_SINGLESTEP, pid, nullptr, nullptr) != 0) kill(pid, SIGKILL);
  }
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status) != 77;
}

}  // namespace rp::backend
