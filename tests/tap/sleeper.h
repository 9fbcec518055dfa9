// SPDX-License-Identifier: BSD-3-Clause
// sleeper.h - another network namespace, for tests.
#pragma once

#include <fcntl.h>
#include <sched.h>

#include <sys/syscall.h>

#include <thread>

#include "tests/tap/network.h"

namespace rp::test {

/// A process that sleeps in a network, and maybe a user namespace, of its own.
class Sleeper {
 public:
  explicit Sleeper(int namespaces = CLONE_NEWNET) {
    int ends[2];
    EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const Fd ready(ends[0]);
    Fd told(ends[1]);
    int life[2];
    EXPECT_EQ(pipe2(life, O_CLOEXEC), 0);
    Fd dies_with_us(life[0]);
    life_.reset(life[1]);
    // Not fork() and unshare(): ThreadSanitizer gives a child a thread, and a process of two
    // threads may not make a user namespace.
    pid_ = static_cast<pid_t>(syscall(SYS_clone, namespaces | SIGCHLD, 0, 0, 0, 0));
    if (pid_ == 0) {
      life_.reset();
      char c;
      if (write(told.get(), "+", 1) == 1)
        while (read(dies_with_us.get(), &c, 1) > 0) {
        }
      _exit(1);
    }
    told.reset();
    char c;
    EXPECT_EQ(read(ready.get(), &c, 1), 1) << "no namespace";
  }
  ~Sleeper() { end(); }
  Sleeper(Sleeper&&) = delete;

  std::string pid() const { return std::to_string(pid_); }
  std::string path() const { return "/proc/" + pid() + "/ns/net"; }
  void end() {
    life_.reset();
    // One that a test has given up the right to kill ends by the pipe.
    if (pid_ > 0 && kill(pid_, SIGKILL) == 0) waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  /// Runs fn on a thread that is in the network.
  template <typename Fn>
  void inside(Fn&& fn) {
    const Fd net(::open(path().c_str(), O_RDONLY | O_CLOEXEC));
    std::thread([&] {
      ASSERT_EQ(setns(net.get(), CLONE_NEWNET), 0) << errno;
      fn();
    }).join();
  }

 private:
  pid_t pid_;
  Fd life_;
};

}  // namespace rp::test
