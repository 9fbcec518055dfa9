// SPDX-License-Identifier: BSD-3-Clause
// stream_door.cc - accepting, and waiting for descriptors.
#include "sockets/stream_door.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace rp::sockets {
namespace {

/// Let in at once: frames of others wait meanwhile.
constexpr unsigned kPerTurn = 16;
/// Until descriptors may have become free.
constexpr long kBackOffMs = 100;

}  // namespace

StreamDoor::StreamDoor(const StreamOptions& o, const Log& log)
    : most_guests_(o.guests),
      house_(std::make_shared<StreamHouse>()),
      listener_(parse_stream_address(o.target)) {
  house_->name = "stream:" + o.target;
  house_->log = log;
  house_->limits = o.limits;
  timer_.reset(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!timer_) throw_errno("making a timer", errno);
  epoll_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) throw_errno("making an epoll descriptor", errno);
  watch(listener_.fd(), EPOLL_CTL_ADD, EPOLLIN);
  watch(timer_.get(), EPOLL_CTL_ADD, EPOLLIN);
}

StreamDoor::~StreamDoor() = default;

void StreamDoor::watch(int fd, int operation, std::uint32_t events) {
  epoll_event e{};
  e.events = events;
  if (epoll_ctl(epoll_.get(), operation, fd, &e) != 0) throw_errno("watching a socket", errno);
}

void StreamDoor::receive(sw::Burst&, Instant now) noexcept {
  now_ = now;
  left_in_turn_ = kPerTurn;
  std::uint64_t fired;
  if (!closed_ || ::read(timer_.get(), &fired, sizeof fired) < 0) return;
  watch(listener_.fd(), EPOLL_CTL_MOD, EPOLLIN);  // a change of events never fails
  closed_ = false;
}

void StreamDoor::back_off() noexcept {
  watch(listener_.fd(), EPOLL_CTL_MOD, 0);
  itimerspec t{};
  t.it_value.tv_nsec = kBackOffMs * 1000000;
  timerfd_settime(timer_.get(), 0, &t, nullptr);
  closed_ = true;
  ++back_offs_;
}

std::unique_ptr<sw::Port> StreamDoor::accept(std::string& name) noexcept {
  while (!closed_ && left_in_turn_ > 0) {
    Fd peer(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno != EINTR && errno != ECONNABORTED) back_off();
      continue;
    }
    --left_in_turn_;
    try {
      const std::string who = stream_peer(peer.get());
      if (house_->guests >= most_guests_) {
        ++refused_;
        house_->complain("hung up on " + who + ", as " + std::to_string(house_->guests) +
                             " are connected already; clients= allows more",
                         now_);
        continue;
      }
      tune_stream(peer.get());
      auto port = std::make_unique<StreamPort>(std::move(peer), who, house_);
      name = house_->name + " " + who;
      ++joined_;
      return port;
    } catch (const std::exception&) {  // out of memory or descriptors
      back_off();
    }
  }
  return nullptr;
}

void StreamDoor::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
  sink("door.refused", refused_);
  sink("door.back-offs", back_offs_);
}

}  // namespace rp::sockets
