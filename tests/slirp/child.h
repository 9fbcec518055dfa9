// SPDX-License-Identifier: BSD-3-Clause
// child.h - runs part of a test in a process of its own, which may spoil its limits and namespaces.
#pragma once

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "tests/slirp/host.h"

namespace rp::test {

inline constexpr int kSkipped = 77;

/// Runs `work` in a forked child that an alarm ends at the latest. Returns what waitpid() says.
/// What the child's expectations say goes to stderr; a failure is its exit status 1.
template <typename Work>
int in_child(Work&& work) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(50);
    work();
    std::fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

inline bool write_text(const char* path, const std::string& text) {
  std::ofstream out(path);
  out << text << std::flush;
  return out.good();
}

/// Gives `name` an IPv4 address and brings it up.
inline bool bring_up(const char* name, const char* ip) {
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq r{};
  std::snprintf(r.ifr_name, sizeof r.ifr_name, "%s", name);
  Address a = address(ip, 0);
  std::memcpy(&r.ifr_addr, a.raw(), sizeof r.ifr_addr);
  if (ioctl(fd.get(), SIOCSIFADDR, &r) != 0) return false;
  ioctl(fd.get(), SIOCGIFFLAGS, &r);
  r.ifr_flags = static_cast<short>(r.ifr_flags | IFF_UP);
  return ioctl(fd.get(), SIOCSIFFLAGS, &r) == 0;
}

/// Moves this process, a child, to a network of its own, where it is root: lo with 127.0.0.1 and
/// 192.0.2.1. False: this host allows no such thing.
inline bool enter_own_network() {
  const std::string uid = std::to_string(getuid()), gid = std::to_string(getgid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  write_text("/proc/self/setgroups", "deny");
  return write_text("/proc/self/uid_map", "0 " + uid + " 1") &&
         write_text("/proc/self/gid_map", "0 " + gid + " 1") && bring_up("lo", "127.0.0.1") &&
         bring_up("lo:1", "192.0.2.1");
}

/// in_child() in a network of its own.
template <typename Work>
void in_own_network(Work&& work) {
  const int status = in_child([&] {
    if (!enter_own_network()) _exit(kSkipped);
    work();
  });
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == kSkipped) GTEST_SKIP() << "no network namespaces here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace rp::test
