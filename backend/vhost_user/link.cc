// SPDX-License-Identifier: BSD-3-Clause
// link.cc - connecting, the messages that hand a plug over, and the thread that does it again.
#include "backend/vhost_user/link.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <initializer_list>
#include <utility>

#include "backend/vhost_user/channel.h"
#include "backend/vhost_user/features.h"
#include "base/descriptors.h"
#include "base/error.h"
#include "base/runtime_dir.h"
#include "base/unix_socket.h"

namespace rp::backend::vhost_user {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// For connecting and handing over.
constexpr auto kPatience = 2s;
/// Between two attempts to come back.
constexpr auto kRetry = 200ms;
constexpr auto kLongestPause = 5s;
/// Between two looks whether a door that has a crowd before it takes us.
constexpr auto kQueueing = 5ms;
/// GLib formats the log on it.
constexpr std::size_t kStack = std::size_t{256} << 10;

/// Where our memory lies in what we tell of our address space. Any number but 0.
constexpr std::uint64_t kUserBase = std::uint64_t{1} << 32;

/// virtio 1.2, 5.1.3. A plug's host may send any offload; what it takes is `can`.
constexpr std::uint64_t kRequired = bit(VIRTIO_F_VERSION_1) | bit(VIRTIO_F_IN_ORDER) |
                                    bit(VIRTIO_RING_F_EVENT_IDX) | bit(VIRTIO_NET_F_MRG_RXBUF) |
                                    bit(kFeatureProtocol) | bit(VIRTIO_NET_F_CSUM) |
                                    bit(VIRTIO_NET_F_HOST_TSO4) | bit(VIRTIO_NET_F_HOST_TSO6) |
                                    bit(VIRTIO_NET_F_HOST_ECN) | bit(kFeatureHostUso);
constexpr std::uint64_t kRequiredProtocol = bit(kReplyAck) | bit(kDoorbell);

std::uint64_t features_for(const sw::Offloads& can) noexcept {
  std::uint64_t f = kRequired;
  if (can.csum) f |= bit(VIRTIO_NET_F_GUEST_CSUM);
  if (can.tso4) f |= bit(VIRTIO_NET_F_GUEST_TSO4);
  if (can.tso6) f |= bit(VIRTIO_NET_F_GUEST_TSO6);
  if (can.ecn) f |= bit(VIRTIO_NET_F_GUEST_ECN);
  if (can.uso) f |= bit(kFeatureGuestUso4) | bit(kFeatureGuestUso6);
  return f;
}

int until(Clock::time_point deadline) noexcept {
  const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now()).count();
  return left > 0 ? static_cast<int>(left) : 0;
}

/// Requests to a back end, each answered before the next one is sent.
class Requests {
 public:
  Requests(int socket, int stop, Clock::time_point deadline, const std::string& what) noexcept
      : socket_(socket), stop_(stop), deadline_(deadline), what_(what) {}

  /// All throw Error.
  std::uint64_t ask(Request r) const {
    send(r, 0, nullptr, 0, -1);
    return answer(r);
  }
  template <typename T>
  void tell(Request r, const T& payload, int fd = -1) const {
    send(r, kNeedReply, &payload, sizeof payload, fd);
    confirm(r);
  }
  void tell(Request r) const {
    send(r, kNeedReply, nullptr, 0, -1);
    confirm(r);
  }
  /// Before replies are agreed on.
  void tell_blindly(Request r, std::uint64_t payload) const {
    send(r, 0, &payload, sizeof payload, -1);
  }

 private:
  void send(Request r, std::uint32_t flags, const void* payload, std::size_t size, int fd) const;
  std::uint64_t answer(Request r) const;
  void confirm(Request r) const;
  void read(void* to, std::size_t size) const;

  const int socket_, stop_;
  const Clock::time_point deadline_;
  const std::string& what_;
};

void Requests::send(Request r, std::uint32_t flags, const void* payload, std::size_t size,
                    int fd) const {
  const Header h{static_cast<std::uint32_t>(r), kVersion | flags, static_cast<std::uint32_t>(size)};
  // One short message at a time is under way: it always fits.
  if (!send_message(socket_, h, payload, fd)) throw Error(Errc::system, what_ + " hung up");
}

std::uint64_t Requests::answer(Request r) const {
  struct {
    Header header;
    std::uint32_t value[2];  // unaligned on the wire
  } reply;
  read(&reply, sizeof reply.header + sizeof reply.value);
  if (reply.header.request != static_cast<std::uint32_t>(r) ||
      reply.header.flags != (kVersion | kReply) || reply.header.size != sizeof reply.value)
    throw Error(Errc::unsupported, what_ + " answers as no back end of vhost-user does");
  std::uint64_t value;
  std::memcpy(&value, reply.value, sizeof value);
  return value;
}

void Requests::confirm(Request r) const {
  if (answer(r) != 0)
    throw Error(Errc::unsupported, what_ + " refuses message " +
                                       std::to_string(static_cast<std::uint32_t>(r)) +
                                       " of vhost-user");
}

void Requests::read(void* to, std::size_t size) const {
  auto* p = static_cast<std::uint8_t*>(to);
  while (size > 0) {
    pollfd fds[] = {{socket_, POLLIN, 0}, {stop_, POLLIN, 0}};
    const int n = poll(fds, 2, until(deadline_));
    if (n < 0 && errno != EINTR) throw_errno(what_, errno);
    if (n == 0) throw Error(Errc::system, what_ + " runs, but did not answer within 2 seconds");
    if (fds[1].revents) throw Error(Errc::closed, what_ + " is being left");
    if (n < 0) continue;
    const ssize_t got = recv(socket_, p, size, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) throw Error(Errc::system, what_ + " hung up");
    p += got;
    size -= static_cast<std::size_t>(got);
  }
}

/// set_mem_table with the one region that a plug has.
struct OneRegion {
  std::uint32_t count, padding;
  MemoryRegion region;
};
static_assert(sizeof(OneRegion) == 40);

struct Ring {
  std::uint32_t index;
  std::uint64_t place;   ///< in the plug's memory
  std::uint16_t base;    ///< where to go on
  int call_fd, kick_fd;  ///< -1: that side never waits
};
/// virtio 1.2, 5.1.2.
constexpr std::uint32_t kToGuest = 0, kFromGuest = 1;

void start_ring(const Requests& back_end, const Ring& r) {
  const RingAddress at = PlugLayout::ring(kUserBase + r.place);
  const auto which = [&](int fd) { return fd < 0 ? r.index | kVringNoFd : r.index; };
  back_end.tell(Request::set_vring_num, VringState{r.index, PlugLayout::kQueue});
  back_end.tell(Request::set_vring_base, VringState{r.index, r.base});
  back_end.tell(Request::set_vring_addr, VringAddr{r.index, 0, at.desc, at.used, at.avail, 0});
  back_end.tell(Request::set_vring_call, which(r.call_fd), r.call_fd);
  back_end.tell(Request::set_vring_enable, VringState{r.index, 1});
  back_end.tell(Request::set_vring_kick, which(r.kick_fd), r.kick_fd);
}

}  // namespace

Link::Link(const std::string& name, Plug& plug, sw::Offloads can, const Log& log, Restart restart)
    : what_("switch '" + name + "'"),
      address_(unix_address(runtime_path(name, ".plug"), what_)),
      plug_(plug),
      features_(features_for(can)),
      log_(log),
      restart_(std::move(restart)),
      stop_(make_event()) {
  try {
    connect(Attempt::first);
  } catch (const Error& e) {
    if (e.code() != Errc::not_found) throw;
    throw Error(Errc::not_found, "no " + what_ + " runs; start one: ringplug switch " + name);
  }
  thread_.start<&Link::run>(this, "rp-link", kStack, "starting the thread that watches " + what_);
}

Link::~Link() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(stop_.get(), &one, sizeof one);
  thread_.join();
  // Even if a child that the host forked holds the socket too.
  if (socket_) shutdown(socket_.get(), SHUT_RDWR);
}

/// Connected, and not yet told anything. Throws Error.
Fd Link::dial(Time deadline) {
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) throw_errno("making a socket", errno);
  while (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) !=
         0) {
    killed_ = errno == ECONNREFUSED;
    if (killed_ || errno == ENOENT) throw Error(Errc::not_found, what_);
    // EAGAIN: so many others wait before the door that there is no room to wait.
    if (errno != EAGAIN && errno != EINTR) throw_errno(what_, errno);
    if (Clock::now() > deadline)
      throw Error(Errc::system, what_ + " runs, but did not answer within 2 seconds");
    if (stopped(kQueueing)) throw Error(Errc::closed, what_ + " is being left");
  }
  return socket;
}

void Link::connect(Attempt attempt) {
  const Time deadline = Clock::now() + kPatience;
  Fd socket = dial(deadline);
  hand_over(socket.get(), attempt, deadline);
  socket_ = std::move(socket);
  connections_.fetch_add(1, std::memory_order_relaxed);
  up_.store(true, std::memory_order_relaxed);
}

/// Tells the back end all that it must know, and starts the rings. Throws Error.
void Link::hand_over(int socket, Attempt attempt, Time deadline) {
  const Requests back_end(socket, stop_.get(), deadline, what_);
  const std::uint64_t offered = back_end.ask(Request::get_features);
  const std::uint64_t protocol =
      has(offered, kFeatureProtocol) ? back_end.ask(Request::get_protocol_features) : 0;
  if ((~offered & kRequired) != 0 || (~protocol & kRequiredProtocol) != 0)
    throw Error(Errc::unsupported, what_ + ": what listens on " + address_.sun_path +
                                       " is no switch of this version of ringplug");
  on_demand_ = has(protocol, kOnDemand);
  back_end.tell_blindly(Request::set_protocol_features, kRequiredProtocol);
  back_end.tell(Request::set_owner);
  back_end.tell(Request::set_features, features_ & offered);

  // Nobody serves the rings now: the last back end hung up, this one does not know them.
  if (attempt == Attempt::again) plug_.relink();
  const PlugMemory& shared = plug_.shared();
  back_end.tell(Request::set_mem_table, OneRegion{1, 0, {0, PlugLayout::kSize, kUserBase, 0}},
                shared.memory.get());
  back_end.tell(Request::set_doorbell, DoorbellPlace{kUserBase});
  const Plug::Completed from = plug_.completed();
  start_ring(back_end, {kToGuest, PlugLayout::kToGuest, from.to_guest, shared.call.get(), -1});
  start_ring(back_end,
             {kFromGuest, PlugLayout::kFromGuest, from.from_guest, -1, shared.kick.get()});
}

bool Link::stopped(milliseconds patience) const noexcept {
  pollfd stop{stop_.get(), POLLIN, 0};
  return poll(&stop, 1, static_cast<int>(patience.count())) == 1;
}

/// False: we are to stop.
bool Link::wait_for_hang_up() const noexcept {
  pollfd fds[] = {{socket_.get(), POLLIN | POLLRDHUP, 0}, {stop_.get(), POLLIN, 0}};
  // A back end that says what nobody asked for is left as well.
  while (poll(fds, 2, -1) < 0) {
  }
  return fds[1].revents == 0;
}

/// False: not yet. `told`: the last reason that was logged. `started`: a process was, or should
/// have been.
bool Link::reconnect(std::string& told, bool& started) noexcept {
  started = false;
  try {
    try {
      connect(Attempt::again);
      return true;
    } catch (const Error& e) {
      if (e.code() != Errc::not_found || !restart_) throw;
    }
    started = true;
    started = restart_({stop_.get(), on_demand_, killed_});
    if (started) connect(Attempt::again);
    return started;
  } catch (const Error& e) {
    const bool news = e.code() != Errc::not_found && e.code() != Errc::closed && told != e.what();
    if (!news) return false;
    log_.warning(e.what());
    told = e.what();
  } catch (const std::exception&) {
    // Out of memory: perhaps not any more next time.
  }
  return false;
}

void Link::run() noexcept {
  while (wait_for_hang_up()) {
    up_.store(false, std::memory_order_relaxed);
    socket_.reset();
    log_.warning(what_, " is gone; its plugs wait for it to come back");
    std::string told;
    milliseconds pause = kRetry;
    bool started = false;
    do {
      // What can't be started costs a process each time.
      if (started) pause = std::min<milliseconds>(2 * pause, kLongestPause);
      if (stopped(pause)) return;
    } while (!reconnect(told, started));
    log_.info(what_, " is back");
  }
}

}  // namespace rp::backend::vhost_user
