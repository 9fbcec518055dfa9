// SPDX-License-Identifier: BSD-3-Clause
// stream_uplink.cc - connecting without waiting, and again.
#include "sockets/stream_uplink.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/descriptors.h"

namespace rp::sockets {
namespace {

/// Between two tries: at first, and at most.
constexpr Instant kFirstPause = 100ms, kLongestPause = 10s;
/// What lasts for so long was a connection.
constexpr Instant kLasts = 5s;
/// A TCP connection that is not there by then will not come.
constexpr Instant kPatience = 10s;

}  // namespace

StreamUplink::StreamUplink(const StreamOptions& o, const Log& log, Instant now)
    : address_(parse_stream_address(o.target)),
      log_(log),
      timer_(make_timer()),
      epoll_(make_epoll()),
      stream_(epoll_.get(), o.limits),
      pause_(kFirstPause) {
  watch(epoll_, timer_.get());
  dial(now);
}

StreamUplink::~StreamUplink() = default;

void StreamUplink::dial(Instant now) noexcept {
  ++attempts_;
  Fd s(socket(address_.address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!s) return failed(errno, now);
  if (connect(s.get(), address_.generic(), address_.size) == 0) return take(std::move(s), now);
  if (errno != EINPROGRESS) return failed(errno, now);
  epoll_event e{};
  e.events = EPOLLOUT;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, s.get(), &e) != 0) return failed(errno, now);
  dialing_ = std::move(s);
  set_timer(timer_, kPatience);
}

/// Of a connection under way: it is there, or will not come, or is to be waited for.
void StreamUplink::finish(Instant now) noexcept {
  const bool late = fired(timer_);
  pollfd p{dialing_.get(), POLLOUT, 0};
  if (poll(&p, 1, 0) == 0 && !late) return;
  int error = 0;
  socklen_t size = sizeof error;
  getsockopt(dialing_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, dialing_.get(), nullptr);
  Fd s = std::move(dialing_);
  if (error == 0 && p.revents == 0) error = ETIMEDOUT;
  if (error != 0) return failed(error, now);
  take(std::move(s), now);
}

void StreamUplink::take(Fd s, Instant now) noexcept {
  tune_stream(s.get());
  if (!stream_.open(std::move(s))) return failed(ENOMEM, now);
  set_timer(timer_, Instant{});
  up_ = true;
  up_since_ = now;
  ++connections_;
  if (complained_) log_.info(address_.text, ": connected");
  complained_ = false;
}

void StreamUplink::failed(int error, Instant now) noexcept {
  if (!complained_)
    log_.warning(address_.text, ": ", std::strerror(error), "; trying again until it works");
  complained_ = true;
  later(now);
}

void StreamUplink::later(Instant) noexcept {
  set_timer(timer_, pause_);
  pause_ = std::min(2 * pause_, kLongestPause);
}

void StreamUplink::hang_up(Instant now) noexcept {
  if (stream_.bad_length() != 0)
    log_.warning(address_.text, ": a frame of ", stream_.bad_length(),
                 " bytes was announced, which no frame has; hung up");
  else if (!complained_)
    log_.warning(address_.text, ": the connection closed; trying again until it works");
  complained_ = true;
  stream_.close();
  up_ = false;
  if (now - up_since_ >= kLasts) pause_ = kFirstPause;
  later(now);
}

void StreamUplink::receive(sw::Burst& burst, Instant now) noexcept {
  if (up_) {
    stream_.receive(burst);
    if (burst.empty() && stream_.ended()) hang_up(now);
    return;
  }
  if (dialing_) return finish(now);
  if (fired(timer_)) dial(now);
}

void StreamUplink::report(const CounterSink& sink) const {
  sink("stream.connections", connections_);
  sink("stream.attempts", attempts_);
  stream_.report(sink);
}

}  // namespace rp::sockets
