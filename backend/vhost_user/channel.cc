// SPDX-License-Identifier: BSD-3-Clause
// channel.cc - recvmsg and sendmsg with descriptors.
#include "backend/vhost_user/channel.h"

#include <sys/socket.h>

#include <cerrno>

namespace rp::backend::vhost_user {

Channel::Status Channel::fail(const char* why) noexcept {
  fault_ = why;
  partial_.fds.clear();
  return Status::closed;
}

/// Keeps the descriptors of one recvmsg(). False: more than any message has.
bool Channel::collect(msghdr& m) noexcept {
  // The kernel has closed what did not fit.
  bool all = !(m.msg_flags & MSG_CTRUNC);
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < n; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      all &= partial_.fds.add(Fd(fd));
    }
  }
  return all;
}

Channel::Status Channel::take(void* to, std::size_t want, std::size_t& have) noexcept {
  while (have < want) {
    iovec v{static_cast<std::uint8_t*>(to) + have, want - have};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kMaxFds)> control;
    msghdr m{};
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    m.msg_control = control.data();
    m.msg_controllen = control.size();
    const ssize_t n = recvmsg(socket_.get(), &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) return Status::none;
      // A peer that died before it read all has hung up as well.
      return fail(errno == ECONNRESET ? "" : "the connection broke");
    }
    if (!collect(m)) return fail("more descriptors than a message has");
    if (n == 0) return fail(have == 0 && header_have_ == 0 ? "" : "the peer hung up in a message");
    have += static_cast<std::size_t>(n);
  }
  return Status::message;
}

Channel::Status Channel::read(Message& out) noexcept {
  if (const Status s = take(&partial_.header, sizeof(Header), header_have_); s != Status::message)
    return s;
  if ((partial_.header.flags & kVersionMask) != kVersion) return fail("another protocol version");
  if (partial_.header.flags & kReply) return fail("a reply that nobody asked for");
  if (partial_.header.size > kMaxPayload) return fail("a payload longer than any message's");
  if (const Status s = take(partial_.payload.data(), partial_.header.size, payload_have_);
      s != Status::message)
    return s;
  header_have_ = payload_have_ = 0;
  out.header = partial_.header;
  out.payload = partial_.payload;
  out.fds.take(partial_.fds);
  return Status::message;
}

bool Channel::reply(const Message& request, const void* payload, std::uint32_t size,
                    int fd) noexcept {
  return send_message(socket_.get(), {request.header.request, kVersion | kReply, size}, payload,
                      fd);
}

bool send_message(int socket, Header h, const void* payload, int fd) noexcept {
  iovec v[2] = {{&h, sizeof h}, {const_cast<void*>(payload), h.size}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
  msghdr m{};
  m.msg_iov = v;
  m.msg_iovlen = 2;
  if (fd >= 0) {
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  // A message is far shorter than a socket's buffer: a short write means a peer that never reads.
  return sendmsg(socket, &m, MSG_DONTWAIT | MSG_NOSIGNAL) ==
         static_cast<ssize_t>(sizeof h + h.size);
}

}  // namespace rp::backend::vhost_user
