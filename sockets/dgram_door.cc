// SPDX-License-Identifier: BSD-3-Clause
// dgram_door.cc - sorting datagrams by who sent them.
#include "sockets/dgram_door.h"

#include <sys/epoll.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/error.h"
#include "sockets/dgram_port.h"
#include "sockets/udp_socket.h"

namespace rp::sockets {
namespace {

/// Between two lines in the log.
constexpr Instant kQuiet = 1s;
/// Who was silent for so long may have to make room.
constexpr Instant kForgotten = 60s;
/// Between two looks for somebody who has left, while there is no room.
constexpr Instant kLookEvery = 100ms;
/// What clients for vfkit's sockets may say first.
constexpr std::string_view kGreeting = "VFKT";

bool is_greeting(std::span<const std::uint8_t> b) noexcept {
  return b.size() == kGreeting.size() && std::memcmp(b.data(), kGreeting.data(), b.size()) == 0;
}

UnixListener listen_at(const SocketAddress& a) {
  if (!a.is_unix()) return {};
  sockaddr_un un;
  std::memcpy(&un, &a.address, sizeof un);
  return {un, 0, a.text, SOCK_DGRAM};
}

/// What is looked at of all that came before a socket was its peer's alone: more than its buffer
/// holds, unless the peer goes on sending.
constexpr unsigned kMostBefore = 8192;

}  // namespace

DgramDoor::DgramDoor(const DgramOptions& o, const Log& log)
    : options_(o),
      address_(parse_address("dgram", o.target, SOCK_DGRAM)),
      log_(log),
      unix_(listen_at(address_)),
      udp_(unix_ ? Fd() : udp_socket(address_, false)),
      buffers_(std::make_shared<DatagramBuffers>()),
      epoll_(make_epoll()),
      names_(DatagramBuffers::kFrames) {
  if (!o.local.empty())
    throw Error(Errc::invalid, address_.text + ": local= is for uplinks, this is a door");
  if (udp_) share_port(udp_, address_.text);
  watch(epoll_, fd());
}

DgramDoor::~DgramDoor() {
  for (const auto& [name, box] : peers_) box->close();
}

void DgramDoor::receive(sw::Burst&, Instant now) noexcept {
  const auto in = buffers_->in();
  for (std::size_t i = 0; i < in.size(); ++i) {
    in[i].msg_hdr.msg_name = &names_[i];
    in[i].msg_hdr.msg_namelen = sizeof names_[i];
  }
  const int n = recvmmsg(fd(), in.data(), static_cast<unsigned>(in.size()), MSG_DONTWAIT, nullptr);
  // Who joins may get this socket: then it is read there to the end, with other memory.
  for (int i = 0; i < n; ++i) {
    const auto& m = in[static_cast<std::size_t>(i)].msg_hdr;
    if (m.msg_flags & MSG_TRUNC)
      ++truncated_;
    else
      take(buffers_->received(static_cast<std::size_t>(i)), m, now);
  }
  for (mmsghdr& m : in) {
    m.msg_hdr.msg_name = nullptr;
    m.msg_hdr.msg_namelen = 0;
  }
}

void DgramDoor::take(std::span<const std::uint8_t> frame, const msghdr& from,
                     Instant now) noexcept {
  if (from.msg_namelen <= offsetof(sockaddr_un, sun_path)) {
    ++nameless_;
    if (may_complain(now))
      log_.warning(address_.text, ": a client has no address to be answered at; it must bind ",
                   "its socket");
    return;
  }
  const auto name = std::string_view(static_cast<const char*>(from.msg_name), from.msg_namelen);
  const auto known = peers_.find(name);
  if (known != peers_.end() && !known->second->left) {
    if (!is_greeting(frame)) known->second->put(frame, now);
    return;
  }
  if (known != peers_.end()) peers_.erase(known);
  if (!has_room(now)) {
    ++refused_;
    if (may_complain(now))
      log_.warning(address_.text, ": has ", peers_.size(),
                   " clients already; clients= allows more");
    return;
  }
  try {
    SocketAddress peer;
    std::memcpy(&peer.address, from.msg_name, from.msg_namelen);
    peer.size = from.msg_namelen;
    admit(std::move(peer), frame, now);
  } catch (const std::exception& e) {
    ++refused_;
    if (may_complain(now)) log_.warning(address_.text, ": refused ", e.what());
  }
}

void DgramDoor::admit(SocketAddress peer, std::span<const std::uint8_t> frame, Instant now) {
  ready_.reserve(ready_.size() + 1);
  std::string name = "dgram:" + text_of(peer), key(peer.bytes());
  const auto box = std::make_shared<Mailbox>();
  box->heard = now;
  if (!is_greeting(frame)) box->put(frame, now);
  Fd socket = socket_to(peer, *box, now);
  auto port = std::make_unique<DgramPort>(std::move(socket), std::move(peer), box, buffers_,
                                          options_.queue);
  peers_.emplace(std::move(key), box);
  ready_.push_back({std::move(port), std::move(name)});
  ++joined_;
}

bool DgramDoor::has_room(Instant now) noexcept {
  if (peers_.size() < options_.guests) return true;
  if (now < next_look_) return false;
  next_look_ = now + kLookEvery;
  std::erase_if(peers_, [](const auto& p) { return p.second->left; });
  if (peers_.size() < options_.guests) return true;
  const auto oldest = std::min_element(
      peers_.begin(), peers_.end(),
      [](const auto& a, const auto& b) { return a.second->heard < b.second->heard; });
  if (now - oldest->second->heard < kForgotten) return false;
  oldest->second->close();
  peers_.erase(oldest);
  return true;
}

Fd DgramDoor::socket_to(const SocketAddress& peer, Mailbox& box, Instant now) {
  return peer.is_unix() ? unix_to(peer, box, now) : udp_to(peer);
}

Fd DgramDoor::udp_to(const SocketAddress& peer) {
  SocketAddress mine = address_;
  Fd s = udp_socket(mine, true);
  if (connect(s.get(), peer.generic(), peer.size) != 0) throw_errno(text_of(peer), errno);
  // Between the two it was anybody's.
  std::uint8_t byte;
  for (unsigned n = 0; n < kMostBefore && recv(s.get(), &byte, 1, MSG_DONTWAIT) >= 0; ++n)
    ++strays_;
  return s;
}

Fd DgramDoor::unix_to(const SocketAddress& peer, Mailbox& box, Instant now) {
  Fd s(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!s) throw_errno("making a socket", errno);
  if (connect(s.get(), peer.generic(), peer.size) == 0) return s;
  if (errno != EPERM) throw_errno(text_of(peer), errno);
  // It hears the door's socket only.
  const int old = fd();
  if (connect(old, peer.generic(), peer.size) != 0) throw_errno(text_of(peer), errno);
  try {
    s = unix_.renew(address_.text);
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, old, nullptr);
    watch(epoll_, fd());
  } catch (...) {
    const sockaddr nobody{AF_UNSPEC, {}};
    connect(old, &nobody, sizeof nobody);
    throw;
  }
  // What came before, of others too, who may not speak to it any more.
  const auto bytes = std::make_unique<std::uint8_t[]>(sw::kMaxFrame);
  sockaddr_storage name;
  iovec v{bytes.get(), sw::kMaxFrame};
  for (unsigned i = 0; i < kMostBefore; ++i) {
    msghdr m{};
    m.msg_name = &name;
    m.msg_namelen = sizeof name;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    const ssize_t n = recvmsg(s.get(), &m, MSG_DONTWAIT);
    if (n < 0) return s;
    const std::span<const std::uint8_t> frame(bytes.get(), static_cast<std::size_t>(n));
    const auto from = std::string_view(reinterpret_cast<const char*>(&name), m.msg_namelen);
    const auto known = peers_.find(from);
    if (m.msg_flags & MSG_TRUNC)
      ++truncated_;
    else if (is_greeting(frame))
      continue;
    else if (from == peer.bytes())
      box.put(frame, now);
    else if (known != peers_.end())
      known->second->put(frame, now);
    else
      ++strays_;
  }
  return s;
}

std::unique_ptr<sw::Port> DgramDoor::accept(std::string& name) noexcept {
  if (ready_.empty()) return nullptr;
  name = std::move(ready_.front().name);
  auto port = std::move(ready_.front().port);
  ready_.erase(ready_.begin());
  return port;
}

bool DgramDoor::may_complain(Instant now) noexcept {
  if (now < next_complaint_) return false;
  next_complaint_ = now + kQuiet;
  return true;
}

void DgramDoor::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
  sink("door.refused", refused_);
  sink("door.nameless", nameless_);
  sink("door.strays", strays_);
  sink("drop.truncated", truncated_);
}

}  // namespace rp::sockets
