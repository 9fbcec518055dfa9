// SPDX-License-Identifier: BSD-3-Clause
// acceptor.cc - accept4(), and waiting for descriptors.
#include "base/acceptor.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/descriptors.h"

namespace rp {
namespace {

/// Until descriptors may have become free.
constexpr Instant kBackOff = 100ms;

}  // namespace

Acceptor::Acceptor(int listener) : listener_(listener), timer_(make_timer()), epoll_(make_epoll()) {
  watch(epoll_, timer_.get());
  watch(epoll_, listener_);
}

void Acceptor::listen_for(std::uint32_t events) noexcept {
  epoll_event e{};
  e.events = events;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener_, &e);  // a change of events never fails
}

void Acceptor::turn(unsigned most) noexcept {
  left_in_turn_ = most;
  if (!closed_ || !fired(timer_)) return;
  listen_for(EPOLLIN);
  closed_ = false;
}

Fd Acceptor::next() noexcept {
  while (!closed_ && left_in_turn_ > 0) {
    --left_in_turn_;
    Fd peer(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (peer) return peer;
    if (errno == EAGAIN || errno == EWOULDBLOCK) break;
    if (errno != EINTR && errno != ECONNABORTED) back_off();
  }
  return {};
}

void Acceptor::back_off() noexcept {
  listen_for(0);
  set_timer(timer_, kBackOff);
  closed_ = true;
  ++back_offs_;
}

}  // namespace rp
