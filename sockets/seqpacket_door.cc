// SPDX-License-Identifier: BSD-3-Clause
// seqpacket_door.cc - accepting, checking who it is, and waiting for descriptors.
#include "sockets/seqpacket_door.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"

namespace rp::sockets {
namespace {

/// Connections that wait before the door; more are told to come again.
constexpr int kBacklog = 128;
/// Let in at once: frames of others wait meanwhile.
constexpr unsigned kPerTurn = 16;
/// Until descriptors may have become free.
constexpr long kBackOffMs = 100;

constexpr Option<SeqpacketOptions> kOptions[] = {
    {{"queue", "1..65536", "128", "frames that wait for each slow reader, up to 1 MiB of them"},
     [](SeqpacketOptions& o, const std::string& v) { o.queue.frames = parse_number(v, 1, 65536); }},
};

void listen_for(const Fd& epoll, int listener, std::uint32_t events) noexcept {
  epoll_event e{};
  e.events = events;
  epoll_ctl(epoll.get(), EPOLL_CTL_MOD, listener, &e);
}

}  // namespace

std::span<const Option<SeqpacketOptions>> seqpacket_options() {
  return kOptions;
}

SeqpacketOptions make_seqpacket_options(
    const std::string& path, const std::vector<std::pair<std::string, std::string>>& params) {
  SeqpacketOptions o;
  o.path = path;
  if (path.empty())
    throw Error(Errc::invalid, "seqpacket: no path, as in seqpacket:/tmp/uml0.sock");
  for (const auto& [key, value] : params)
    set_option(seqpacket_options(), o, "seqpacket", key, value);
  return o;
}

SeqpacketPort::SeqpacketPort(Fd connection, pid_t peer, std::shared_ptr<DatagramBuffers> buffers,
                             const QueueLimits& limits)
    : peer_(peer),
      epoll_(make_epoll()),
      data_(std::move(connection), epoll_.get(), std::move(buffers), limits) {}

SeqpacketDoor::SeqpacketDoor(const SeqpacketOptions& options)
    : options_(options),
      listener_(unix_address(options.path, "seqpacket:" + options.path), kBacklog,
                "seqpacket:" + options.path, SOCK_SEQPACKET),
      buffers_(std::make_shared<DatagramBuffers>()),
      timer_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)),
      epoll_(make_epoll()) {
  if (!timer_) throw_errno("making a timer", errno);
  watch(epoll_, timer_.get());
  watch(epoll_, listener_.fd());
}

void SeqpacketDoor::receive(sw::Burst&, Instant) noexcept {
  left_in_turn_ = kPerTurn;
  std::uint64_t fired;
  if (!closed_ || ::read(timer_.get(), &fired, sizeof fired) < 0) return;
  listen_for(epoll_, listener_.fd(), EPOLLIN);
  closed_ = false;
}

void SeqpacketDoor::back_off() noexcept {
  listen_for(epoll_, listener_.fd(), 0);
  itimerspec t{};
  t.it_value.tv_nsec = kBackOffMs * 1000000;
  timerfd_settime(timer_.get(), 0, &t, nullptr);
  closed_ = true;
  ++back_offs_;
}

std::unique_ptr<sw::Port> SeqpacketDoor::accept(std::string& name) noexcept {
  while (!closed_ && left_in_turn_ > 0) {
    --left_in_turn_;
    Fd peer(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!peer) {
      if (errno == EAGAIN || errno == EWOULDBLOCK) break;
      if (errno != EINTR && errno != ECONNABORTED) back_off();
      continue;
    }
    ucred who{};
    socklen_t size = sizeof who;
    if (getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 ||
        (who.uid != geteuid() && who.uid != 0)) {
      ++foreign_;
      continue;
    }
    try {
      name = "seqpacket:" + std::to_string(who.pid);
      auto port =
          std::make_unique<SeqpacketPort>(std::move(peer), who.pid, buffers_, options_.queue);
      ++joined_;
      return port;
    } catch (const std::exception&) {
      back_off();
    }
  }
  return nullptr;
}

void SeqpacketDoor::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
  sink("door.foreign-user", foreign_);
  sink("door.back-offs", back_offs_);
}

}  // namespace rp::sockets
