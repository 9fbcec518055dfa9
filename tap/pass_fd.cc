// SPDX-License-Identifier: BSD-3-Clause
// pass_fd.cc - one descriptor a message.
#include "tap/pass_fd.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace rp::tap {
namespace {

/// A message of one byte with room for one descriptor.
struct Message {
  char byte = 0;
  iovec io{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))]{};
  msghdr header{};

  Message() {
    header.msg_iov = &io;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof control;
  }
  Message(Message&&) = delete;
};

}  // namespace

bool send_fd(int socket, int fd) noexcept {
  Message m;
  cmsghdr* c = CMSG_FIRSTHDR(&m.header);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return sendmsg(socket, &m.header, MSG_NOSIGNAL) == 1;
}

Fd receive_fd(int socket, int timeout_ms) noexcept {
  pollfd p{socket, POLLIN, 0};
  int ready;
  while ((ready = poll(&p, 1, timeout_ms)) < 0 && errno == EINTR) {
  }
  Message m;
  if (ready <= 0 || recvmsg(socket, &m.header, MSG_CMSG_CLOEXEC) <= 0) return {};
  const cmsghdr* c = CMSG_FIRSTHDR(&m.header);
  if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) return {};
  int fd;
  std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return Fd(fd);
}

}  // namespace rp::tap
