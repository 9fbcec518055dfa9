// SPDX-License-Identifier: BSD-3-Clause
// vde_door.cc - accepting, hearing requests out, and refusing.
#include "sockets/vde_door.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/descriptors.h"
#include "base/error.h"
#include "sockets/vde_port.h"

namespace rp::sockets {
namespace {

/// Events looked at, and visitors let in, at once: frames of others wait meanwhile.
constexpr std::size_t kPerTurn = 16;
/// Requests under way; one more ends the oldest of them.
constexpr std::size_t kMostVisitors = 256;
/// Until descriptors may have become free.
constexpr Instant kBackOff = 100ms;
/// Between two lines in the log about who was refused.
constexpr Instant kQuiet = 1s;
/// Of a port's name.
constexpr std::size_t kLongestName = 80;

std::string name_of(const VdeRequest& r, const ucred& peer) {
  std::string s = r.description.substr(0, kLongestName);
  while (s.ends_with(' ')) s.pop_back();
  return s.empty() ? "vde:" + std::to_string(peer.pid) : s;
}

}  // namespace

VdeDoor::VdeDoor(const VdeDoorOptions& options, const Log& log)
    : options_(options),
      log_(log),
      folder_(std::make_shared<VdeFolder>(options.path, options.access, "vde:" + options.path)),
      control_(folder_->listen()),
      buffers_(std::make_shared<DatagramBuffers>()),
      timer_(make_timer()),
      epoll_(make_epoll()) {
  if (!options_.alias.empty()) alias_ = folder_->listen_on(options_.alias);
  watch(epoll_, timer_.get());
  watch(epoll_, control_.fd());
  if (alias_) watch(epoll_, alias_.fd());
}

VdeDoor::~VdeDoor() = default;

void VdeDoor::receive(sw::Burst&, Instant now) noexcept {
  epoll_event events[kPerTurn];
  const int n = epoll_wait(epoll_.get(), events, kPerTurn, 0);
  for (int i = 0; i < n; ++i) {
    const int fd = events[i].data.fd;
    try {
      if (fd == timer_.get())
        expire(now);
      else if (fd == control_.fd() || fd == alias_.fd())
        let_in(fd, now);
      else
        listen_to(fd, now);
    } catch (const std::exception&) {  // out of memory or descriptors
      back_off(now);
    }
  }
}

void VdeDoor::let_in(int listener, Instant now) {
  for (std::size_t i = 0; i < kPerTurn && closed_until_ == Instant{}; ++i) {
    Visitor v;
    v.control.reset(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!v.control) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      if (errno != EINTR && errno != ECONNABORTED) back_off(now);
      continue;
    }
    socklen_t size = sizeof v.peer;
    if (getsockopt(v.control.get(), SOL_SOCKET, SO_PEERCRED, &v.peer, &size) != 0 ||
        !folder_->admits(v.control, v.peer)) {
      refuse(v, "that user may not come in", now);
      continue;
    }
    v.since = now;
    if (visitors_.size() == kMostVisitors) {
      unwatch(visitors_.front());
      visitors_.erase(visitors_.begin());
      ++late_;
    }
    visitors_.reserve(kMostVisitors);
    watch(epoll_, v.control.get());
    visitors_.push_back(std::move(v));
    if (visitors_.size() == 1) set_timer(now);
  }
}

void VdeDoor::listen_to(int fd, Instant now) {
  const auto v = std::find_if(visitors_.begin(), visitors_.end(),
                              [fd](const Visitor& x) { return x.control.get() == fd; });
  if (v == visitors_.end()) return;  // it went while the events were looked at
  // More than a request may have says nothing more.
  const ssize_t n = recv(fd, v->said.data() + v->got, v->said.size() - v->got, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return;
  if (n <= 0) {
    ++vanished_;
    unwatch(*v);
    visitors_.erase(v);
    return;
  }
  v->got += static_cast<std::size_t>(n);
  const VdeParsed parsed = parse_vde_request({v->said.data(), v->got});
  if (parsed.state == VdeParsed::incomplete) return;
  unwatch(*v);
  Visitor done = std::move(*v);
  visitors_.erase(v);
  if (parsed.state == VdeParsed::refused)
    refuse(done, parsed.why, now);
  else
    admit(done, parsed.request, now);
}

/// By hand: a child that the host forked may hold the connection too, and keep the watch alive.
void VdeDoor::unwatch(const Visitor& v) noexcept {
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, v.control.get(), nullptr);
}

void VdeDoor::admit(Visitor& v, const VdeRequest& request, Instant now) {
  if (request.management && v.peer.uid != 0 && v.peer.uid != geteuid()) {
    refuse(v, "port 0 is for the switch's own user", now);
    return;
  }
  try {
    ready_.reserve(ready_.size() + 1);
    auto port = std::make_unique<VdePort>(VdeClient{std::move(v.control), v.peer, request}, folder_,
                                          buffers_, options_.queue);
    ready_.push_back({std::move(port), name_of(request, v.peer)});
    ++joined_;
  } catch (const Error& e) {
    refuse(v, e.what(), now);
  }
}

std::unique_ptr<sw::Port> VdeDoor::accept(std::string& name) noexcept {
  if (ready_.empty()) return nullptr;
  name = std::move(ready_.front().name);
  auto port = std::move(ready_.front().port);
  ready_.erase(ready_.begin());
  return port;
}

void VdeDoor::refuse(const Visitor& v, const std::string& why, Instant now) noexcept {
  ++refused_;
  if (now < next_complaint_) return;
  next_complaint_ = now + kQuiet;
  log_.warning("vde:", options_.path, ": refused process ", v.peer.pid, " of user ", v.peer.uid,
               ": ", why);
}

void VdeDoor::expire(Instant now) noexcept {
  fired(timer_);
  late_ += std::erase_if(visitors_, [&](const Visitor& v) {
    const bool late = now - v.since >= options_.patience;
    if (late) unwatch(v);
    return late;
  });
  if (closed_until_ != Instant{} && now >= closed_until_) {
    closed_until_ = {};
    epoll_event e{};
    e.events = EPOLLIN;
    for (const UnixListener* l : {&control_, &alias_}) {
      e.data.fd = l->fd();
      if (*l) epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, l->fd(), &e);
    }
  }
  set_timer(now);
}

/// For what comes next: the oldest visitor's end, or the door's opening again.
void VdeDoor::set_timer(Instant now) noexcept {
  Instant due = closed_until_;
  if (!visitors_.empty() && (due == Instant{} || visitors_.front().since + options_.patience < due))
    due = visitors_.front().since + options_.patience;
  rp::set_timer(timer_, due == Instant{} ? due : std::max<Instant>(due - now, 1ms));
}

void VdeDoor::back_off(Instant now) noexcept {
  epoll_event e{};
  for (const UnixListener* l : {&control_, &alias_}) {
    e.data.fd = l->fd();
    if (*l) epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, l->fd(), &e);
  }
  closed_until_ = now + kBackOff;
  ++back_offs_;
  set_timer(now);
}

void VdeDoor::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
  sink("door.refused", refused_);
  sink("door.vanished", vanished_);
  sink("door.late", late_);
  sink("door.back-offs", back_offs_);
}

}  // namespace rp::sockets
