// SPDX-License-Identifier: BSD-3-Clause
// port.cc - the socket, the turns and the rings of a vhost-user port.
#include "backend/vhost_user/port.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/descriptors.h"
#include "base/error.h"
#include "switch/flow.h"

namespace rp::backend::vhost_user {
namespace {

/// Between two attempts to reach a front end that does not listen yet, or to let one in.
constexpr Instant kPause = 200ms;

Fd duplicate(int fd) {
  Fd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) throw_errno("vhost-user: fd=" + std::to_string(fd), errno);
  return copy;
}

bool listens(int fd) {
  int on = 0;
  socklen_t length = sizeof on;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &length) != 0)
    throw_errno("vhost-user: fd=" + std::to_string(fd), errno);
  return on != 0;
}

}  // namespace

Port::Port(std::size_t queues) : epoll_(make_epoll()), device_(queues, epoll_.get()) {
  from_.reserve(device_.pairs());
  to_.reserve(device_.pairs());
}

Port::Port(const PortOptions& o) : Port(o.queues) {
  if (o.fd >= 0 && !listens(o.fd)) {
    once_ = true;
    take(duplicate(o.fd));
    keep_state(o);
    return;
  }
  later_ = make_timer();
  watch(later_.get());
  if (o.fd >= 0) {
    given_ = duplicate(o.fd);
    fcntl(given_.get(), F_SETFL, fcntl(given_.get(), F_GETFL) | O_NONBLOCK);
    watch(given_.get());
    keep_state(o);
    return;
  }
  const std::string what = "vhost-user:" + o.path;
  address_ = unix_address(o.path, what);
  if (o.connect) {
    dial();
  } else {
    listener_ = UnixListener(address_, 1, what);
    watch(listener_.fd());
  }
  keep_state(o);
}

Port::Port(Fd connection, std::size_t queues, std::uint64_t mentioned) : Port(queues) {
  once_ = true;
  device_.mention(mentioned);
  take(std::move(connection));
}

Port::~Port() {
  // Nobody is attached who would come back to where its rings were.
  if (state_ && !channel_) state_->clear();
}

/// Once the path is ours: the state belongs to whoever serves it.
void Port::keep_state(const PortOptions& o) {
  const std::string path = o.state.empty() && !o.path.empty() ? o.path + ".state" : o.state;
  if (path.empty()) return;
  state_ = std::make_unique<StateFile>(path, device_.queues().size());
  device_.keep_state(state_->rings());
}

void Port::watch(int fd) {
  epoll_event e{};
  e.events = EPOLLIN;
  e.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) throw_errno("watching a socket", errno);
}

void Port::take(Fd socket) {
  watch(socket.get());
  channel_ = std::make_unique<Channel>(std::move(socket));
  ++connections_;
}

void Port::let_in() noexcept {
  Fd peer(accept4(listening(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!peer) {
    // Out of descriptors, or it was shut down: a listener that stays readable must not keep us
    // awake.
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listening(), nullptr);
    later();
    return;
  }
  // One front end at a time: another one sees its connection close and may come again.
  if (channel_) return;
  try {
    take(std::move(peer));
  } catch (const std::exception&) {
    // Out of memory or descriptors: as above.
  }
}

void Port::dial() noexcept {
  try {
    Fd peer(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (peer &&
        connect(peer.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0) {
      take(std::move(peer));
      return;
    }
  } catch (const std::exception&) {
    // Out of memory or descriptors: perhaps not any more next time.
  }
  later();
}

void Port::later() noexcept {
  set_timer(later_, kPause);
}

void Port::try_again() noexcept {
  fired(later_);
  if (listening() < 0) {
    if (!channel_) dial();
    return;
  }
  try {
    watch(listening());
  } catch (const std::exception&) {
    later();
  }
}

void Port::hang_up() noexcept {
  if (*channel_->fault()) ++protocol_faults_;
  device_.reset();
  channel_.reset();
  look_again();
  if (later_ && listening() < 0) later();
}

/// Looks at what the descriptor woke us for.
void Port::serve() noexcept {
  std::array<epoll_event, 32> events;
  const int n = epoll_wait(epoll_.get(), events.data(), events.size(), 0);
  bool knocked = false, heard = false;
  for (int i = 0; i < n; ++i) {
    const int fd = events[static_cast<std::size_t>(i)].data.fd;
    if (fd < 0) continue;  // a kick, which is all it had to say
    looks_.found();
    if (channel_ && fd == channel_->fd()) {
      heard = converse();
    } else if (fd == later_.get()) {
      try_again();
    } else {
      knocked = true;
    }
  }
  // Who knocks may come after a front end that has hung up, behind its last messages.
  if (knocked && !heard) let_in();
}

/// Applies one message, no more: some cost as much as thousands of frames, and a front end that
/// talks without end must keep nobody waiting. False: there was none, or no more will come.
bool Port::converse() noexcept {
  // What was sent since the last flush must be seen before a ring stops.
  flush({});
  Message m;
  const Channel::Status status = channel_->read(m);
  if (status == Channel::Status::none) return false;
  if (status == Channel::Status::closed || !device_.handle(m, *channel_)) {
    hang_up();
    return false;
  }
  look_again();
  return true;
}

/// Brings what the bursts use in line with the device.
void Port::look_again() noexcept {
  from_.clear();
  to_.clear();
  for (Virtqueue& q : device_.queues()) {
    if (q.from_guest()) from_.push_back(&q);
    if (q.to_guest() && q.enabled()) to_.push_back(&q);
  }
  offloads_ = offloads_of(device_.features());
  link_up_ = device_.link_up();
}

void Port::receive(sw::Burst& burst, Instant) noexcept {
  if (looks_.turn()) serve();
  if (device_.lost()) hang_up();
  announce(burst);
  // A queue that fills every burst would keep the others out: each comes first in its turn.
  if (from_.size() > 1) std::rotate(from_.begin(), from_.begin() + 1, from_.end());
  for (const Virtqueue* q : from_) {
    // vhost-user specification, "Ring states": what comes on a disabled ring is discarded.
    if (q->enabled())
      q->from_guest()->lend(burst);
    else
      q->from_guest()->discard();
  }
}

/// A RARP request in the name of a guest that has just moved in, so that every switch learns where
/// it is (RFC 903; the front end asks for it after a live migration).
void Port::announce(sw::Burst& burst) noexcept {
  const auto mac = device_.take_announcement();
  if (!mac) return;
  rarp_.fill(0);
  std::uint8_t* p = rarp_.data();
  const auto put = [&p](const void* bytes, std::size_t n) {
    p = static_cast<std::uint8_t*>(std::memcpy(p, bytes, n)) + n;
  };
  put(sw::kBroadcast.bytes.data(), 6);
  put(mac->bytes.data(), 6);
  constexpr std::uint8_t kRequestReverse[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};
  put(kRequestReverse, sizeof kRequestReverse);
  put(mac->bytes.data(), 6);
  p += 4;
  put(mac->bytes.data(), 6);
  burst.add(rarp_);
}

void Port::release() noexcept {
  for (Virtqueue* q : from_) {
    if (q->from_guest()->release()) q->call();
    q->report_fault();
  }
}

std::size_t Port::send(std::span<const sw::Frame* const> frames, Instant) noexcept {
  if (to_.empty()) return frames.size();
  if (to_.size() == 1) return frames.size() - to_.front()->to_guest()->send(frames);
  std::size_t sent = 0;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const std::size_t queue = sw::flow_hash(*frames[i]) % to_.size();
    sent += to_[queue]->to_guest()->send(frames.subspan(i, 1));
  }
  return frames.size() - sent;
}

bool Port::flush(Instant) noexcept {
  for (Virtqueue* q : to_) {
    ToGuestQueue* queue = q->to_guest();
    if (queue->publish() && !device_.ring_doorbell(queue->published())) q->call();
    if (q->report_fault()) link_up_ = device_.link_up();
  }
  return device_.lost();
}

bool Port::arm(Instant) noexcept {
  bool quiet = true;
  for (const Virtqueue* q : from_) quiet &= !q->polled() && q->queue()->enable_notifications();
  // The loop's edge for what came while we were polled is gone.
  pollfd waiting{epoll_.get(), POLLIN, 0};
  if (quiet && poll(&waiting, 1, 0) == 0) return true;
  if (quiet) looks_.ask();
  hush();
  return false;
}

void Port::disarm() noexcept {
  looks_.ask_at_once();
  hush();
}

/// A kick may be of a queue that just started.
void Port::told() noexcept {
  looks_.ask();
  hush();
}

void Port::hush() noexcept {
  for (const Virtqueue* q : from_) q->queue()->disable_notifications();
}

void Port::report(const CounterSink& sink) const {
  sink("vhost-user.connections", connections_);
  sink("vhost-user.protocol-faults", protocol_faults_);
  sink("vhost-user.refused-messages", device_.refused());
  std::uint64_t short_chains = 0;
  for (const Virtqueue& q : device_.queues()) short_chains += q.short_chains();
  sink("ring.short-chain", short_chains);
  for (const Virtqueue& q : device_.queues()) {
    if (q.broken()) sink(std::string("ring.broken.") + ring_fault_name(q.queue()->fault()), 1);
  }
}

std::string Port::describe() const {
  if (!channel_) return "waiting";
  std::string words = "queue-pairs=" + std::to_string(std::max(from_.size(), to_.size()));
  const std::string features = feature_names(device_.features());
  return features.empty() ? words : words + " " + features;
}

}  // namespace rp::backend::vhost_user
