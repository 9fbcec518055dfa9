// SPDX-License-Identifier: BSD-3-Clause
// flows.cc - counting sockets per guest and making room.
#include "slirp/flows.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <optional>

#include "base/fd.h"
#include "switch/headers.h"

namespace rp::slirp {
namespace {

/// Connections that were told to go but whose sockets libslirp has not closed yet; more than a
/// burst's worth of them and newcomers wait.
constexpr std::uint32_t kMaxDying = 128;

struct Opening {
  FlowKey key;
  bool stream;
};

/// The flow that this frame may open; nothing when it can't open one.
std::optional<Opening> opening_of(std::span<const std::uint8_t> frame) noexcept {
  const auto eth = read_at<sw::EthHeader>(frame, 0);
  if (!eth) return std::nullopt;
  Opening o{};
  std::size_t l4 = 0;
  if (eth->type.get() == sw::kEtherIpv4) {
    const auto ip = read_at<sw::Ipv4Header>(frame, sizeof *eth);
    if (!ip) return std::nullopt;
    o.key.proto = ip->proto;
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&ip->src), 4, o.key.address.begin());
    l4 = sizeof *eth + ip->header_len();
  } else if (eth->type.get() == sw::kEtherIpv6) {
    const auto ip = read_at<sw::Ipv6Header>(frame, sizeof *eth);
    if (!ip) return std::nullopt;
    o.key.proto = ip->next;
    o.key.address = ip->src;
    l4 = sizeof *eth + sizeof *ip;
  } else {
    return std::nullopt;
  }
  if (o.key.proto == sw::kProtoTcp) {
    const auto tcp = read_at<sw::TcpHeader>(frame, l4);
    if (!tcp || (tcp->flags & (sw::kTcpSyn | sw::kTcpAck)) != sw::kTcpSyn) return std::nullopt;
    o.stream = true;
    o.key.port = tcp->sport.get();
  } else if (const auto udp = read_at<sw::UdpHeader>(frame, l4);
             udp && o.key.proto == sw::kProtoUdp) {
    o.key.port = udp->sport.get();
  }
  return o;
}

}  // namespace

bool Flows::descriptors_scarce() noexcept {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return true;
  // The kernel gives the lowest free number, which tells how far the table is filled.
  const Fd probe(eventfd(0, EFD_CLOEXEC));
  return !probe || static_cast<rlim_t>(probe.get()) + kReserve >= limit.rlim_cur;
}

bool Flows::enter(std::span<const std::uint8_t> frame, sw::PortId guest) noexcept {
  owner_ = guest;
  const auto opening = opening_of(frame);
  if (!opening) {
    key_ = {};
    return true;
  }
  key_ = opening->key;
  Guest& g = guests_[guest];
  if (g.flows >= max_ && over_quota(g, key_, opening->stream)) {
    ++refused_quota_;
    return false;
  }
  if (opening->stream && descriptors_scarce() && !evict_half_open(g)) {
    ++refused_scarce_;
    return false;
  }
  return true;
}

bool Flows::over_quota(Guest& guest, const FlowKey& key, bool stream) noexcept {
  if (stream) return guest.dying >= kMaxDying || !evict_half_open(guest);
  // A datagram of a flow that has its socket opens none.
  return key.proto != sw::kProtoUdp ||
         std::none_of(flows_.begin(), flows_.end(),
                      [&](const Flow& f) { return f.open && f.owner == owner_ && f.key == key; });
}

bool Flows::evict_half_open(Guest& guest) noexcept {
  while (!guest.connecting.empty()) {
    const auto [fd, serial] = guest.connecting.front();
    guest.connecting.pop_front();
    Flow& f = flows_[static_cast<std::size_t>(fd)];
    if (!f.open || f.serial != serial) continue;
    tcp_info info{};
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 || info.tcpi_state != TCP_SYN_SENT)
      continue;
    // Ends the attempt; libslirp sees the error at its next poll, resets the guest and closes.
    shutdown(fd, SHUT_RDWR);
    f.dying = true;
    ++guest.dying;
    --guest.flows;
    ++evicted_;
    return true;
  }
  return false;
}

void Flows::opened(int fd) noexcept {
  if (fd < 0) return;
  const auto i = static_cast<std::size_t>(fd);
  if (i >= flows_.size()) flows_.resize(i + 64);
  if (flows_[i].open) closed(fd);
  int type = 0;
  socklen_t len = sizeof type;
  getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
  flows_[i] = {owner_, key_, true, type == SOCK_STREAM, false, ++serial_};
  ++count_;
  streams_ += flows_[i].stream;
  if (owner_ == sw::kNoPort) return;
  Guest& g = guests_[owner_];
  ++g.flows;
  if (flows_[i].stream) g.connecting.emplace_back(fd, serial_);
  // Entries of sockets that are gone or connected are dropped when they come to the front; a
  // guest that opens and closes for ever must not grow the queue meanwhile.
  if (g.connecting.size() > std::size_t{max_} * 2 + 64)
    std::erase_if(g.connecting, [&](const auto& c) {
      const Flow& f = flows_[static_cast<std::size_t>(c.first)];
      return !f.open || f.serial != c.second;
    });
}

void Flows::closed(int fd) noexcept {
  const auto i = static_cast<std::size_t>(fd);
  if (fd < 0 || i >= flows_.size() || !flows_[i].open) return;
  Flow& f = flows_[i];
  --count_;
  streams_ -= f.stream;
  if (const auto g = guests_.find(f.owner); g != guests_.end())
    --(f.dying ? g->second.dying : g->second.flows);
  f = {};
}

bool Flows::known(int fd) const noexcept {
  const auto i = static_cast<std::size_t>(fd);
  return fd >= 0 && i < flows_.size() && flows_[i].open;
}

void Flows::forget(sw::PortId guest) noexcept {
  for (Flow& f : flows_) {
    if (f.open && f.owner == guest) f.owner = sw::kNoPort;
  }
  guests_.erase(guest);
}

void Flows::report(const CounterSink& sink) const {
  sink("flows.open", count_);
  sink("flows.refused.max-flows", refused_quota_);
  sink("flows.refused.descriptors", refused_scarce_);
  sink("flows.half-open-evicted", evicted_);
}

}  // namespace rp::slirp
