// SPDX-License-Identifier: BSD-3-Clause
// flows.cc - counting sockets per guest and making room.
#include "slirp/flows.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/fd.h"
#include "switch/headers.h"

namespace rp::slirp {
namespace {

/// Connections that were told to go but whose sockets libslirp has not closed yet. They still hold
/// descriptors, so there are no more of them than newcomers could take.
constexpr std::uint32_t kMaxDying = Flows::kNewcomers;
/// libslirp gives a handshake up after 75 s of its slow timer's ticks.
constexpr auto kHandshake = 120s;
/// Descriptors that a connection to a service takes: libslirp's, and the two ends of our relay.
constexpr rlim_t kServiceCost = 3;
constexpr std::uint16_t kFragment = 0x3fff;  // more fragments, or an offset
constexpr std::uint16_t kDhcpServer = 67, kDhcpClient = 68, kTftp = 69, kDhcp6Server = 547;

struct Opening {
  FlowKey key;
  bool stream = false, syn = false;
  bool v6 = false, fragment = false;
  std::size_t l4 = 0;
};

/// Where the flow comes from and goes to; nothing when it is neither IPv4 nor IPv6.
std::optional<Opening> addresses_of(std::span<const std::uint8_t> frame) noexcept {
  const auto eth = read_at<sw::EthHeader>(frame, 0);
  if (!eth) return std::nullopt;
  Opening o;
  if (eth->type.get() == sw::kEtherIpv4) {
    const auto ip = read_at<sw::Ipv4Header>(frame, sizeof *eth);
    if (!ip) return std::nullopt;
    o.key.proto = ip->proto;
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&ip->src), 4, o.key.address.begin());
    std::copy_n(reinterpret_cast<const std::uint8_t*>(&ip->dst), 4, o.key.peer.begin());
    o.fragment = ip->frag.get() & kFragment;
    o.l4 = sizeof *eth + ip->header_len();
    return o;
  }
  const auto ip = read_at<sw::Ipv6Header>(frame, sizeof *eth);
  if (!ip || eth->type.get() != sw::kEtherIpv6) return std::nullopt;
  o.v6 = true;
  o.key.proto = ip->next;
  o.key.address = ip->src;
  o.key.peer = ip->dst;
  o.l4 = sizeof *eth + sizeof *ip;
  return o;
}

/// libslirp answers these by itself. The guard lets TFTP and DHCPv6 go to its servers only; DHCP to
/// another host comes from one port, so each address has one such socket at most.
bool for_a_service(const sw::UdpHeader& udp, bool v6) noexcept {
  const std::uint16_t to = udp.dport.get();
  return to == kTftp || (v6 && to == kDhcp6Server) ||
         (!v6 && to == kDhcpServer && udp.sport.get() == kDhcpClient);
}

/// The flow that this frame belongs to, with `syn` set when it asks for a connection; nothing when
/// libslirp opens no socket for its kind.
std::optional<Opening> opening_of(std::span<const std::uint8_t> frame) noexcept {
  auto o = addresses_of(frame);
  // There is no ping of hosts over IPv6; what comes is neighbour discovery.
  if (!o || o->key.proto == sw::kProtoIcmp6) return std::nullopt;
  if (o->key.proto == sw::kProtoTcp) {
    const auto tcp = read_at<sw::TcpHeader>(frame, o->l4);
    if (!tcp) return std::nullopt;
    o->syn = (tcp->flags & (sw::kTcpSyn | sw::kTcpAck)) == sw::kTcpSyn;
    o->stream = true;
    o->key.port = tcp->sport.get();
    o->key.peer_port = tcp->dport.get();
    return o;
  }
  o->key.peer = {};
  const auto udp = read_at<sw::UdpHeader>(frame, o->l4);
  if (o->fragment || !udp || o->key.proto != sw::kProtoUdp) return o;
  if (for_a_service(*udp, o->v6)) return std::nullopt;
  o->key.port = udp->sport.get();
  return o;
}

}  // namespace

rlim_t Flows::descriptors_left() noexcept {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  // The kernel gives the lowest free number, which tells how far the table is filled.
  const Fd probe(eventfd(0, EFD_CLOEXEC));
  const auto used = static_cast<rlim_t>(probe.get());
  return probe && used < limit.rlim_cur ? limit.rlim_cur - used : 0;
}

bool Flows::descriptors_scarce() noexcept {
  return descriptors_left() <= kReserve;
}

void Flows::add_service(std::uint32_t address, std::uint16_t port) {
  FlowKey key;
  const Be32 wire(address);
  std::memcpy(key.peer.data(), &wire, sizeof wire);
  key.peer_port = port;
  services_.push_back(key);
}

bool Flows::is_service(const FlowKey& key) const noexcept {
  return std::any_of(services_.begin(), services_.end(), [&](const FlowKey& s) {
    return s.peer_port == key.peer_port && s.peer == key.peer;
  });
}

void Flows::expire_handshakes(Guest& guest, Instant now) noexcept {
  while (!guest.handshakes.empty() && now - guest.handshakes.front().since > kHandshake) {
    guest.handshakes.pop_front();
    --handshakes_;
  }
}

/// key_ is a connection to a service. The SYN takes a place, which opened() turns into a socket: no
/// other frame gives it up, as libslirp may not take that frame for what it claims to be.
bool Flows::enter_service(Guest& g, bool syn, Instant now) noexcept {
  if (has_socket(g)) return true;
  expire_handshakes(g, now);
  const auto found = std::find_if(g.handshakes.begin(), g.handshakes.end(),
                                  [&](const Handshake& h) { return h.key == key_; });
  const bool known = found != g.handshakes.end();
  // A SYN sent again takes no second place; without a handshake libslirp answers with a reset and
  // opens nothing.
  if (known == syn) return true;
  if (descriptors_left() <= kReserve + kServiceCost) {
    ++refused_scarce_;
    return false;
  }
  if (!syn) return true;
  if (g.flows + g.handshakes.size() >= max_) {
    ++refused_quota_;
    return false;
  }
  g.handshakes.push_back({key_, now});
  ++handshakes_;
  return true;
}

bool Flows::enter(std::span<const std::uint8_t> frame, sw::PortId guest, Instant now) noexcept {
  owner_ = guest;
  const auto opening = opening_of(frame);
  key_ = opening ? opening->key : FlowKey{};
  if (!opening) return true;
  const bool service = opening->stream && !services_.empty() && is_service(key_);
  if (opening->stream && !opening->syn && !service) return true;
  Guest& g = guests_[guest];
  if (service) return enter_service(g, opening->syn, now);
  if (!opening->fragment && key_.proto != sw::kProtoIcmp && has_socket(g)) return true;
  const rlim_t left = descriptors_left();
  const bool full = g.flows + g.handshakes.size() >= max_;
  const bool scarce = left <= kReserve || (g.flows >= kFew && left <= kReserve + kNewcomers);
  if (!full && !scarce) return true;
  const bool made_room = opening->stream && g.dying < kMaxDying && evict_half_open(g);
  // What was evicted keeps its descriptor until libslirp looks again.
  if (made_room && left > kReserve) return true;
  ++(full ? refused_quota_ : refused_scarce_);
  return false;
}

/// A frame of a flow that has its socket opens none: a datagram, or a SYN that is sent again.
bool Flows::has_socket(Guest& guest) const noexcept {
  const auto is_it = [&](const Flow& f) { return f.open && f.owner == owner_ && f.key == key_; };
  if (guest.last < flows_.size() && is_it(flows_[guest.last])) return true;
  const auto found = std::find_if(flows_.begin(), flows_.end(), is_it);
  if (found == flows_.end()) return false;
  guest.last = static_cast<std::size_t>(found - flows_.begin());
  return true;
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
  handshakes_ -= std::erase_if(g.handshakes, [&](const Handshake& h) { return h.key == key_; });
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
  if (const auto g = guests_.find(guest); g != guests_.end()) {
    handshakes_ -= g->second.handshakes.size();
    guests_.erase(g);
  }
}

void Flows::report(const CounterSink& sink) const {
  sink("flows.open", count_);
  sink("flows.refused.max-flows", refused_quota_);
  sink("flows.refused.descriptors", refused_scarce_);
  sink("flows.half-open-evicted", evicted_);
}

}  // namespace rp::slirp
