// SPDX-License-Identifier: BSD-3-Clause
// vde_cable.cc - the thread: opening, waiting for the end, and carrying frames.
#include "sockets/vde_cable.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

extern "C" {
#include <libvdeplug.h>
}

#include "base/descriptors.h"
#include "base/error.h"
#include "sockets/vxlan_quirk.h"

namespace rp::sockets {
namespace {

using std::chrono::milliseconds;

/// Between two attempts: at first, and at most.
constexpr milliseconds kRetry = 100ms, kRarest = 5s;
/// How long a frame may wait for the port to make room for it.
constexpr milliseconds kRoom = 100ms;
/// libvdeplug keeps paths and what it reads of a frame's tail there, its modules more.
constexpr std::size_t kStack = std::size_t{1} << 20;
/// Errors in a row that end a connection: one alone may be of an earlier frame.
constexpr unsigned kMostFailures = 16;
/// Frames carried to the network between two looks at what comes from it.
constexpr int kTurn = 64;

void signal(const Fd& event) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(event.get(), &one, sizeof one);
}

/// Every signal is blocked on this thread for its lifetime.
class NoSignals {
 public:
  NoSignals() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_;
};

/// The peer of a connection that says nothing has closed it.
bool hung_up(int fd) noexcept {
  char c;
  const ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);
  return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

}  // namespace

void VdeCable::Closer::operator()(vdeconn* conn) const noexcept {
  vde_close(conn);
}

VdeCable::VdeCable(const VdeUplinkOptions& options, const Log& log, int epoll,
                   std::shared_ptr<DatagramBuffers> buffers)
    : options_(options),
      what_("vde:" + options.url),
      vxlan_(needs_vxlan_recv(options.url)),
      log_(log),
      epoll_(epoll),
      buffers_(std::move(buffers)),
      stop_(make_event()),
      news_(make_event()),
      frame_(std::make_unique<std::uint8_t[]>(sw::kMaxFrame)) {
  pthread_sigmask(SIG_SETMASK, nullptr, &signals_);
  epoll_event e{};
  e.events = EPOLLIN;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, news_.get(), &e) != 0)
    throw_errno("watching an eventfd", errno);
  try {
    open();
  } catch (const Error& refused) {
    if (!options_.wait) throw;
    log_.info(refused.what(), "; trying again");
  }
  if (conn_) tell(plug_in());
  thread_.start<&VdeCable::run>(this, "rp-vde", kStack, what_ + ": starting a thread");
}

VdeCable::~VdeCable() {
  signal(stop_);
  thread_.join();
}

void VdeCable::run() noexcept {
  for (;;) {
    if (!conn_ && !reopen()) break;
    const bool ended = relay_ ? relay() : wait_for_end();
    tell(nullptr);
    conn_.reset();
    relay_.reset();
    if (!ended) break;
    log_.info(what_, ": the far end hung up; trying again");
  }
}

/// False: to stop.
bool VdeCable::reopen() noexcept {
  bool told = false;
  for (milliseconds pause = kRetry; !stopped(pause); pause = std::min(2 * pause, kRarest)) {
    try {
      open();
      tell(plug_in());
      log_.info(what_, ": connected");
      return true;
    } catch (const std::exception& e) {
      conn_.reset();
      if (!told) log_.info(e.what(), "; trying again");
      told = true;
    }
  }
  return false;
}

void VdeCable::open() {
  // libvdeplug writes into both.
  std::vector<char> url(options_.url.begin(), options_.url.end());
  url.push_back('\0');
  char description[] = "ringplug";
  vde_open_args arguments{};
  arguments.mode = 0700;
  errno = 0;
  // A command that a module starts must not inherit what our thread blocks.
  sigset_t ours;
  const bool starts_a_command = options_.url.starts_with("cmd://");
  if (starts_a_command) pthread_sigmask(SIG_SETMASK, &signals_, &ours);
  vdeconn* const conn = vde_open(url.data(), description, &arguments);
  const int error = errno;
  if (starts_a_command) pthread_sigmask(SIG_SETMASK, &ours, nullptr);
  if (conn == nullptr) {
    if (error == EPROTONOSUPPORT)
      throw Error(Errc::unsupported, what_ + ": libvdeplug has no module of that name");
    throw_errno(what_ + ": libvdeplug can't open it", error ? error : EIO);
  }
  conn_.reset(conn);
  failures_ = 0;
  ++connections_;
}

/// vde:// itself and no file that holds another URL.
bool VdeCable::is_plain_path() const {
  const std::string& url = options_.url;
  if (url.find("://") != url.npos) return url.starts_with("vde://");
  struct stat st;
  return stat(url.c_str(), &st) != 0 || !S_ISREG(st.st_mode);
}

std::unique_ptr<DatagramSocket> VdeCable::plug_in() {
  Fd socket;
  if (is_plain_path() && vde_ctlfd(conn_.get()) >= 0) {
    socket.reset(fcntl(vde_datafd(conn_.get()), F_DUPFD_CLOEXEC, 0));
    if (!socket) throw_errno(what_ + ": duplicating its socket", errno);
  } else {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0)
      throw_errno(what_ + ": making sockets", errno);
    socket.reset(ends[0]);
    relay_.reset(ends[1]);
  }
  return std::make_unique<DatagramSocket>(std::move(socket), epoll_, DatagramSocket::Watched::all,
                                          buffers_, options_.queue);
}

void VdeCable::tell(std::unique_ptr<DatagramSocket> socket) noexcept {
  // Under the lock: a signal that came after its news were heard would never be read.
  const std::lock_guard lock(mutex_);
  fresh_ = std::move(socket);
  ++told_;
  signal(news_);
}

bool VdeCable::news(std::unique_ptr<DatagramSocket>& socket) noexcept {
  if (told_.load(std::memory_order_acquire) == heard_) return false;
  std::unique_ptr<DatagramSocket> old;  // closed without the lock
  const std::lock_guard lock(mutex_);
  std::uint64_t count;
  [[maybe_unused]] const auto n = ::read(news_.get(), &count, sizeof count);
  heard_ = told_.load(std::memory_order_relaxed);
  old = std::exchange(socket, std::move(fresh_));
  return true;
}

bool VdeCable::stopped(milliseconds patience) const noexcept {
  pollfd p{stop_.get(), POLLIN, 0};
  return poll(&p, 1, static_cast<int>(patience.count())) == 1;
}

/// False: to stop.
bool VdeCable::wait_for_end() const noexcept {
  const int control = vde_ctlfd(conn_.get());
  for (;;) {
    pollfd p[] = {{stop_.get(), POLLIN, 0}, {control, POLLIN, 0}};
    if (poll(p, std::size(p), -1) < 0 && errno != EINTR) return false;
    if (p[0].revents) return false;
    if (p[1].revents && hung_up(control)) return true;
  }
}

/// False: to stop.
bool VdeCable::relay() noexcept {
  const int data = vde_datafd(conn_.get()), control = vde_ctlfd(conn_.get());
  for (bool ended = false; !ended;) {
    pollfd p[] = {{stop_.get(), POLLIN, 0},
                  {relay_.get(), POLLIN, 0},
                  {data, POLLIN, 0},
                  {control, POLLIN, 0}};
    if (poll(p, std::size(p), -1) < 0) continue;
    if (p[0].revents) return false;
    if (p[3].revents && hung_up(control)) return true;
    if (p[2].revents && !from_network(ended)) return false;
    if (p[1].revents && !to_network()) return true;
  }
  return true;
}

/// One frame, as a module may block when asked for a second. False: to stop.
bool VdeCable::from_network(bool& ended) noexcept {
  const ssize_t n = vxlan_ ? vxlan_recv(conn_.get(), frame_.get(), sw::kMaxFrame)
                           : vde_recv(conn_.get(), frame_.get(), sw::kMaxFrame, 0);
  if (n == 1) return true;  // libvdeplug's word for no frame
  if (n <= 0) {
    ++failed_;
    // A command that ended says 0, once.
    ended = (n == 0 && options_.url.starts_with("cmd://")) || ++failures_ >= kMostFailures;
    return true;
  }
  failures_ = 0;
  const auto len = static_cast<std::size_t>(n);
  for (int tries = 0; send(relay_.get(), frame_.get(), len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0;) {
    pollfd p[] = {{stop_.get(), POLLIN, 0}, {relay_.get(), POLLOUT, 0}};
    if ((errno != EAGAIN && errno != EWOULDBLOCK) || tries++ > 0) {
      ++dropped_;
      break;
    }
    if (poll(p, std::size(p), static_cast<int>(kRoom.count())) > 0 && p[0].revents) return false;
  }
  return true;
}

/// False: the network is gone.
bool VdeCable::to_network() noexcept {
  for (int i = 0; i < kTurn; ++i) {
    const ssize_t n = recv(relay_.get(), frame_.get(), sw::kMaxFrame, MSG_DONTWAIT);
    if (n <= 0) return true;
    if (vde_send(conn_.get(), frame_.get(), static_cast<std::size_t>(n), 0) > 0) continue;
    ++failed_;
    if (errno == EPIPE) return false;
  }
  return true;
}

void VdeCable::report(const CounterSink& sink) const {
  sink("cable.connections", connections_.load(std::memory_order_relaxed));
  sink("cable.dropped", dropped_.load(std::memory_order_relaxed));
  sink("cable.failed", failed_.load(std::memory_order_relaxed));
}

}  // namespace rp::sockets
