// SPDX-License-Identifier: BSD-3-Clause
// poll_set.cc - epoll_ctl by difference, and one timerfd.
#include "slirp/poll_set.h"

#include <slirp/libslirp.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/descriptors.h"

namespace rp::slirp {
namespace {

std::uint32_t to_epoll(int events) noexcept {
  std::uint32_t e = 0;
  if (events & SLIRP_POLL_IN) e |= EPOLLIN;
  if (events & SLIRP_POLL_OUT) e |= EPOLLOUT;
  if (events & SLIRP_POLL_PRI) e |= EPOLLPRI;
  // Always reported; named so that it can be all that is waited for.
  if (events & (SLIRP_POLL_HUP | SLIRP_POLL_ERR)) e |= EPOLLERR;
  return e;
}

int from_epoll(std::uint32_t events) noexcept {
  int e = 0;
  if (events & EPOLLIN) e |= SLIRP_POLL_IN;
  if (events & EPOLLOUT) e |= SLIRP_POLL_OUT;
  if (events & EPOLLPRI) e |= SLIRP_POLL_PRI;
  if (events & EPOLLERR) e |= SLIRP_POLL_ERR;
  if (events & EPOLLHUP) e |= SLIRP_POLL_HUP;
  return e;
}

/// So many sockets that nobody asks for cost more in each look than leaving them in spares, and may
/// hide others.
constexpr std::size_t kMuch = 16;

}  // namespace

PollSet::PollSet() : epoll_(make_epoll()), timer_(make_timer()) {
  watch(epoll_, timer_.get());
}

PollSet::Entry& PollSet::entry(int fd) {
  const auto i = static_cast<std::size_t>(fd);
  if (i >= entries_.size()) entries_.resize(i + 64);
  return entries_[i];
}

bool PollSet::control(int fd, std::uint32_t was, std::uint32_t events) noexcept {
  epoll_event e{};
  e.events = events;
  e.data.fd = fd;
  if (was != 0 && epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &e) == 0) return true;
  if (was != 0 && errno != ENOENT) return false;
  return epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) == 0;
}

int PollSet::add(int fd, int events) noexcept {
  if (fd < 0) return -1;
  Entry& e = entry(fd);
  const std::uint32_t want = to_epoll(events);
  if (want == 0) return -1;
  if ((want & ~e.events) != 0) {
    if (!control(fd, e.events, want)) return -1;
    if (!std::exchange(e.listed, true)) watched_.push_back(fd);
    e.events = want;
  }
  e.wanted = want;
  e.round = round_;
  return fd;
}

void PollSet::drop(int fd) noexcept {
  if (fd < 0) return;
  Entry& e = entry(fd);
  if (e.events == 0) return;
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  e.events = e.wanted = e.ready = 0;
}

int PollSet::poll() noexcept {
  clear();
  bool timer = false;
  std::size_t surplus = 0;
  std::array<epoll_event, 256> events;
  int n;
  do {
    n = epoll_wait(epoll_.get(), events.data(), events.size(), 0);
    for (int i = 0; i < n; ++i) {
      const epoll_event& e = events[static_cast<std::size_t>(i)];
      if (e.data.fd == timer_.get()) {
        std::uint64_t count;
        [[maybe_unused]] const auto r = ::read(timer_.get(), &count, sizeof count);
        timer_at_ = Instant::max();
        timer = true;
      } else if (!found(e.data.fd, e.events)) {
        ++surplus;
      }
    }
    if (surplus <= kMuch) break;
    shed();
    surplus = 0;
  } while (n == static_cast<int>(events.size()));
  return static_cast<int>(ready_.size()) + timer;
}

/// False: nobody asks for it.
bool PollSet::found(int fd, std::uint32_t events) {
  Entry& e = entry(fd);
  const std::uint32_t asked = wanted(e);
  const std::uint32_t ready = asked == 0 ? 0 : events & (asked | EPOLLERR | EPOLLHUP);
  if (ready == 0) return false;
  if (e.ready == 0) ready_.push_back(fd);
  e.ready = ready;
  return true;
}

void PollSet::shed() noexcept {
  std::erase_if(watched_, [&](int fd) {
    Entry& e = entry(fd);
    const std::uint32_t asked = wanted(e);
    if (asked == 0) drop(fd);
    if (asked != e.events && control(fd, e.events, asked)) e.events = asked;
    e.listed = e.events != 0;
    return !e.listed;
  });
}

int PollSet::revents(int index) const noexcept {
  const auto i = static_cast<std::size_t>(index);
  return i < entries_.size() ? from_epoll(entries_[i].ready) : 0;
}

void PollSet::clear() noexcept {
  for (int fd : ready_) entry(fd).ready = 0;
  ready_.clear();
}

void PollSet::set_timer(Instant when) noexcept {
  if (when == timer_at_) return;
  timer_at_ = when;
  itimerspec t{};
  if (when != Instant::max()) {
    const auto s = std::chrono::duration_cast<std::chrono::seconds>(when);
    t.it_value.tv_sec = s.count();
    t.it_value.tv_nsec = std::max<long>((when - s).count(), 1);
  }
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &t, nullptr);
}

}  // namespace rp::slirp
