// SPDX-License-Identifier: BSD-3-Clause
// dgram_uplink.cc - connecting, and again.
#include "sockets/dgram_uplink.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/descriptors.h"
#include "base/error.h"
#include "sockets/udp_socket.h"

namespace rp::sockets {
namespace {

/// Between two tries: at first, and at most.
constexpr Instant kFirstPause = 100ms, kLongestPause = 10s;

}  // namespace

DgramUplink::DgramUplink(const DgramOptions& o, const Log& log)
    : options_(o),
      address_(parse_address("dgram", o.target, SOCK_DGRAM)),
      log_(log),
      buffers_(std::make_shared<DatagramBuffers>()),
      timer_(make_timer()),
      epoll_(make_epoll()),
      pause_(kFirstPause) {
  if (!o.local.empty()) {
    local_ = parse_address("dgram", o.local, SOCK_DGRAM);
    if (local_.address.ss_family != address_.address.ss_family)
      throw Error(Errc::invalid,
                  address_.text + ": local=" + o.local + " is an address of another kind");
  }
  if (local_.is_unix() && local_.size != 0) {
    sockaddr_un un;
    std::memcpy(&un, &local_.address, sizeof un);
    path_ = UnixListener(un, 0, local_.text, SOCK_DGRAM);
  }
  watch(epoll_, timer_.get());
  if (address_.is_unix()) {
    dial();
    return;
  }
  Fd s = end();
  if (connect(s.get(), address_.generic(), address_.size) != 0) throw_errno(address_.text, errno);
  data_ = std::make_unique<DatagramSocket>(std::move(s), epoll_.get(), DatagramSocket::Watched::all,
                                           buffers_, options_.queue);
}

DgramUplink::~DgramUplink() = default;

/// Our end, bound, not connected.
Fd DgramUplink::end() {
  if (!address_.is_unix()) {
    SocketAddress any;
    any.address.ss_family = address_.address.ss_family;
    any.size = address_.size;
    any.text = address_.text;
    return udp_socket(local_.size != 0 ? local_ : any, false);
  }
  Fd s(path_ ? fcntl(path_.fd(), F_DUPFD_CLOEXEC, 0)
             : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  // A name of the kernel's choice, so that the peer can answer.
  const sockaddr_un unnamed{AF_UNIX, {}};
  if (!s || (!path_ && bind(s.get(), reinterpret_cast<const sockaddr*>(&unnamed),
                            sizeof unnamed.sun_family) != 0))
    throw_errno("making a socket", errno);
  return s;
}

void DgramUplink::dial() noexcept {
  ++attempts_;
  try {
    Fd s = end();
    if (connect(s.get(), address_.generic(), address_.size) != 0)
      return failed(std::strerror(errno));
    data_ = std::make_unique<DatagramSocket>(
        std::move(s), epoll_.get(), DatagramSocket::Watched::all, buffers_, options_.queue);
    data_->follow(address_.generic(), address_.size);
  } catch (const std::exception& e) {
    return failed(e.what());
  }
  set_timer(timer_, Instant{});
  pause_ = kFirstPause;
  ++connections_;
  if (complained_) log_.info(address_.text, ": connected");
  complained_ = false;
}

void DgramUplink::failed(const char* why) noexcept {
  if (!complained_) log_.warning(address_.text, ": ", why, "; trying again until it works");
  complained_ = true;
  set_timer(timer_, pause_);
  pause_ = std::min(2 * pause_, kLongestPause);
}

void DgramUplink::receive(sw::Burst& burst, Instant now) noexcept {
  if (data_) data_->receive(burst, now);
  if (burst.empty() && lost()) {
    data_.reset();
    dial();
  } else if (!data_ && fired(timer_)) {
    dial();
  }
}

std::size_t DgramUplink::send(std::span<const sw::Frame* const> frames, Instant) noexcept {
  return data_ ? data_->send(frames) : frames.size();
}

void DgramUplink::report(const CounterSink& sink) const {
  sink("dgram.connections", connections_);
  sink("dgram.attempts", attempts_);
  if (data_) data_->report(sink);
}

}  // namespace rp::sockets
