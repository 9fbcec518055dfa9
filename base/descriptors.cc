// SPDX-License-Identifier: BSD-3-Clause
// descriptors.cc - epoll, timerfd and eventfd.
#include "base/descriptors.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <cerrno>
#include <cstdint>

#include "base/error.h"

namespace rp {
namespace {

Fd checked(int fd, const char* what) {
  if (fd < 0) throw_errno(what, errno);
  return Fd(fd);
}

}  // namespace

Fd make_epoll() {
  return checked(epoll_create1(EPOLL_CLOEXEC), "making an epoll descriptor");
}

Fd make_timer() {
  return checked(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "making a timer");
}

Fd make_event() {
  return checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "making an eventfd");
}

void watch(const Fd& epoll, int fd) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = fd;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &e) != 0)
    throw_errno("watching a descriptor", errno);
}

void set_timer(const Fd& timer, Instant in) noexcept {
  itimerspec t{};
  t.it_value.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(in).count();
  t.it_value.tv_nsec = (in % std::chrono::seconds(1)).count();
  timerfd_settime(timer.get(), 0, &t, nullptr);
}

bool fired(const Fd& timer) noexcept {
  std::uint64_t times;
  return ::read(timer.get(), &times, sizeof times) > 0;
}

}  // namespace rp
