// SPDX-License-Identifier: BSD-3-Clause
// network.h - a network namespace of a test's own, and a look at its devices from the other side.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "tap/links.h"

namespace rp::test {

using Bytes = std::vector<std::uint8_t>;

inline bool write_file(const std::string& path, const std::string& text) {
  std::ofstream out(path);
  out << text << std::flush;
  return out.good();
}

/// Moves this process, a child, to a network of its own, whose owner it is. False: this host allows
/// no such thing.
inline bool enter_own_network() {
  if (geteuid() == 0) return unshare(CLONE_NEWNET) == 0;
  const std::string uid = std::to_string(getuid()), gid = std::to_string(getgid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  write_file("/proc/self/setgroups", "deny");
  return write_file("/proc/self/uid_map", "0 " + uid + " 1") &&
         write_file("/proc/self/gid_map", "0 " + gid + " 1");
}

inline constexpr int kSkipped = 77;

/// Runs `work` in a child in a network of its own, which the kernel takes down with it. `node` has
/// to be there. An alarm ends it at the latest.
template <typename Work>
void in_network(Work&& work, const char* node = "/dev/net/tun") {
  if (access(node, R_OK | W_OK) != 0) GTEST_SKIP() << "no " << node << " here";
  std::fflush(nullptr);
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    alarm(50);
    if (!enter_own_network()) _exit(kSkipped);
    try {
      work();
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
    std::fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  if (WEXITSTATUS(status) == kSkipped) GTEST_SKIP() << "no network namespaces here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

/// The sentence of the Error that `fn` throws; empty: none.
template <typename Fn>
std::string error_of(Fn&& fn, Errc code) {
  try {
    fn();
  } catch (const Error& e) {
    EXPECT_EQ(static_cast<int>(e.code()), static_cast<int>(code)) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

inline bool there(const std::string& name) {
  return if_nametoindex(name.c_str()) != 0;
}

/// The host's side of a device: sends and receives whole frames on it.
class Wire {
 public:
  explicit Wire(const std::string& device)
      : fd_(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL))) {
    sockaddr_ll at{};
    at.sll_family = AF_PACKET;
    at.sll_protocol = htons(ETH_P_ALL);
    at.sll_ifindex = static_cast<int>(if_nametoindex(device.c_str()));
    EXPECT_EQ(bind(fd_.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0) << errno;
  }

  bool send(const Bytes& frame) {
    return ::send(fd_.get(), frame.data(), frame.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(frame.size());
  }
  /// The next frame that came in from the device with this ethertype; empty: none does in time.
  Bytes receive(std::uint16_t type = 0x88b5, int timeout_ms = 2000) {
    pollfd p{fd_.get(), POLLIN, 0};
    while (poll(&p, 1, timeout_ms) > 0) {
      Bytes b(70000);
      sockaddr_ll from{};
      socklen_t length = sizeof from;
      const ssize_t n =
          recvfrom(fd_.get(), b.data(), b.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (n < 0) return {};
      b.resize(static_cast<std::size_t>(n));
      if (from.sll_pkttype != PACKET_OUTGOING && ntohs(from.sll_protocol) == type) return b;
    }
    return {};
  }

 private:
  Fd fd_;
};

}  // namespace rp::test
