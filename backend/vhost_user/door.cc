// SPDX-License-Identifier: BSD-3-Clause
// door.cc - accepting, checking who it is, and waiting for descriptors.
#include "backend/vhost_user/door.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "backend/vhost_user/port.h"
#include "base/error.h"
#include "base/runtime_dir.h"

namespace rp::backend::vhost_user {
namespace {

/// Connections that wait before the door; more are told to come again.
constexpr int kBacklog = 128;
/// Let in at once: frames of others wait meanwhile.
constexpr unsigned kPerTurn = 16;
/// Turns between two looks at the listener while the door is polled.
constexpr unsigned kLookEvery = 64;
/// Until descriptors may have become free.
constexpr long kBackOffMs = 100;

/// False, with errno: it can't be added; a change of events never fails.
bool watch(const Fd& epoll, int operation, int fd, std::uint32_t events) noexcept {
  epoll_event e{};
  e.events = events;
  return epoll_ctl(epoll.get(), operation, fd, &e) == 0;
}

bool ready(int fd) noexcept {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, 0) != 0;
}

/// Who is at the other end; pid 0: not to be seen from here.
bool is_ours(const Fd& connection, pid_t& pid) noexcept {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  pid = peer.pid;
  return peer.uid == geteuid();
}

}  // namespace

Door::Door(const std::string& name) {
  const std::string what = "switch:" + name;
  listener_ = UnixListener(unix_address(runtime_path(name, ".plug"), what), kBacklog, what);
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) throw_errno("making a timer", errno);
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) throw_errno("making an epoll descriptor", errno);
  if (!watch(epoll_, EPOLL_CTL_ADD, listener_.fd(), EPOLLIN) ||
      !watch(epoll_, EPOLL_CTL_ADD, timer_.get(), EPOLLIN))
    throw_errno("watching a door", errno);
}

Door::~Door() = default;

void Door::receive(sw::Burst&, Instant) noexcept {
  // A door that is polled with the rest must not cost them a system call a turn.
  left_in_turn_ = turns_++ % kLookEvery == 0 ? kPerTurn : 0;
  std::uint64_t fired;
  if (!closed_ || ::read(timer_.get(), &fired, sizeof fired) < 0) return;
  watch(epoll_, EPOLL_CTL_MOD, listener_.fd(), EPOLLIN);
  closed_ = false;
}

void Door::back_off() noexcept {
  watch(epoll_, EPOLL_CTL_MOD, listener_.fd(), 0);
  itimerspec t{};
  t.it_value.tv_nsec = kBackOffMs * 1000000;
  timerfd_settime(timer_.get(), 0, &t, nullptr);
  closed_ = true;
  ++back_offs_;
}

std::unique_ptr<sw::Port> Door::accept(std::string& name) noexcept {
  while (!closed_ && left_in_turn_ > 0) {
    Fd peer(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer) {
      if (errno == EAGAIN) break;
      if (errno != EINTR && errno != ECONNABORTED) back_off();
      continue;
    }
    --left_in_turn_;
    pid_t pid = 0;
    if (!is_ours(peer, pid)) {
      ++foreign_;
      continue;
    }
    try {
      name = "plug:" + std::to_string(pid);
      auto port = std::make_unique<vhost_user::Port>(std::move(peer), 1);
      ++joined_;
      return port;
    } catch (const std::exception&) {
      back_off();
    }
  }
  return nullptr;
}

bool Door::arm(Instant) noexcept {
  // The loop's edge for what came while we were polled is gone.
  return !ready(epoll_.get());
}

void Door::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
  sink("door.foreign-user", foreign_);
  sink("door.back-offs", back_offs_);
}

}  // namespace rp::backend::vhost_user
