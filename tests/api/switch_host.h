// SPDX-License-Identifier: BSD-3-Clause
// switch_host.h - runs switch_host, which ends at the latest when its owner does.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace rp::test {

class SwitchHost {
 public:
  /// Returns when the switch listens.
  explicit SwitchHost(const std::string& name) {
    int in[2], out[2];
    EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, out[1], STDOUT_FILENO);
    std::string program = RP_SWITCH_HOST, argument = name;
    char* arguments[] = {program.data(), argument.data(), nullptr};
    EXPECT_EQ(posix_spawn(&pid_, program.c_str(), &files, nullptr, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&files);
    close(in[0]);
    close(out[1]);
    stdin_ = in[1];
    char line[6] = {};
    pollfd said{out[0], POLLIN, 0};
    EXPECT_EQ(poll(&said, 1, 20'000), 1) << "the switch does not start";
    EXPECT_EQ(read(out[0], line, sizeof line), 6) << "the switch died";
    close(out[0]);
  }
  ~SwitchHost() {
    close(stdin_);
    wait();
  }
  SwitchHost(const SwitchHost&) = delete;
  SwitchHost& operator=(const SwitchHost&) = delete;

  pid_t pid() const { return pid_; }
  /// Ends it without a chance to tidy up.
  void kill() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }

 private:
  void wait() {
    if (pid_ > 0) waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid_ = 0;
  int stdin_ = -1;
};

}  // namespace rp::test
