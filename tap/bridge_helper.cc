// SPDX-License-Identifier: BSD-3-Clause
// bridge_helper.cc - starts the helper, which is setuid root, and waits for its descriptor.
#include "tap/bridge_helper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/orphan.h"
#include "tap/pass_fd.h"

namespace rp::tap {
namespace {

constexpr int kPatienceMs = 10000;
/// The helper's ends of the socket and of the pipe for what it says.
constexpr int kSocket = 3, kStderr = 2;

/// What the helper says until it ends, on one line.
std::string read_all(const Fd& fd) {
  std::string text;
  std::array<char, 512> part;
  pollfd p{fd.get(), POLLIN, 0};
  while (text.size() < part.size() && poll(&p, 1, kPatienceMs) > 0) {
    const ssize_t n = read(fd.get(), part.data(), part.size());
    if (n <= 0) break;
    text.append(part.data(), static_cast<std::size_t>(n));
  }
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

}  // namespace

Fd from_bridge_helper(const std::string& helper, const std::string& bridge,
                      const std::string& what) {
  int sockets[2], pipes[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) throw_errno(what, errno);
  const Fd ours(sockets[0]);
  Fd theirs(sockets[1]);
  if (pipe2(pipes, O_CLOEXEC) != 0) throw_errno(what, errno);
  const Fd says(pipes[0]);
  Fd said(pipes[1]);
  const std::string br = "--br=" + bridge;
  const char* argv[] = {helper.c_str(), "--use-vnet", "--fd=3", br.c_str(), nullptr};
  const Inherited inherited[] = {{said.get(), kStderr}, {theirs.get(), kSocket}};
  start_orphan(argv, inherited, what);
  theirs.reset();
  said.reset();
  Fd fd = receive_fd(ours.get(), kPatienceMs);
  if (fd) return fd;
  const std::string text = read_all(says);
  throw Error(Errc::denied, what + ": it sent no device for bridge " + bridge +
                                (text.empty() ? "" : ": " + text) +
                                "; it has to be setuid root, with `allow " + bridge +
                                "` in /etc/qemu/bridge.conf");
}

}  // namespace rp::tap
