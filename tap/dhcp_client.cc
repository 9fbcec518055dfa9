// SPDX-License-Identifier: BSD-3-Clause
// dhcp_client.cc - DHCPDISCOVER, DHCPREQUEST, and what comes back (RFC 2131, RFC 2132).
#include "tap/dhcp_client.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "switch/checksum.h"
#include "switch/headers.h"
#include "switch/offload.h"

namespace rp::tap {
namespace {

constexpr std::uint16_t kServerPort = 67, kClientPort = 68;
constexpr std::uint8_t kBootRequest = 1, kBootReply = 2;
constexpr std::uint32_t kCookie = 0x63825363;
constexpr std::uint16_t kBroadcastFlag = 0x8000;
constexpr std::size_t kOptionsAt = 240;
/// BOOTP's least message (RFC 1542, 2.1).
constexpr std::size_t kMessage = 300;
/// Ethernet's and DHCP's usual most; more is not looked at.
constexpr std::size_t kMostMessage = 1472;

enum Option : std::uint8_t {
  kPad = 0,
  kMask = 1,
  kRouter = 3,
  kDns = 6,
  kDomain = 15,
  kWantedAddress = 50,
  kLeaseTime = 51,
  kType = 53,
  kServer = 54,
  kParameters = 55,
  kEnd = 255
};
enum Type : std::uint8_t { kDiscover = 1, kOffer = 2, kRequest = 3, kAck = 5, kNak = 6 };

constexpr auto kFirstPause = 250ms, kLastPause = 16000ms;
constexpr std::chrono::seconds kLeastLease = 60s, kMostLease = 30 * 24h;

struct BootHeader {
  std::uint8_t op, htype, hlen, hops;
  Be32 xid;
  Be16 secs, flags;
  std::uint8_t ciaddr[4], yiaddr[4], siaddr[4], giaddr[4];
  std::uint8_t chaddr[16];
  std::uint8_t sname[64], file[128];
  Be32 cookie;
};
static_assert(sizeof(BootHeader) == kOptionsAt);

struct Headers {
  sw::EthHeader eth;
  sw::Ipv4Header ip;
  sw::UdpHeader udp;
  BootHeader boot;
};
static_assert(sizeof(Headers) == 14 + 20 + 8 + kOptionsAt);

/// The value of an option; empty: it is not there.
std::span<const std::uint8_t> option(std::span<const std::uint8_t> options, Option wanted) {
  for (std::size_t at = 0; at < options.size() && options[at] != kEnd;) {
    if (options[at] == kPad) {
      ++at;
      continue;
    }
    if (at + 2 > options.size() || at + 2 + options[at + 1] > options.size()) return {};
    if (options[at] == wanted) return options.subspan(at + 2, options[at + 1]);
    at += 2u + options[at + 1];
  }
  return {};
}

std::optional<std::uint32_t> number(std::span<const std::uint8_t> value) {
  const auto n = read_at<Be32>(value, 0);
  return n ? std::optional(n->get()) : std::nullopt;
}

Ip ipv4_at(std::span<const std::uint8_t> value, std::size_t at) {
  Ip ip{AF_INET, {}};
  std::copy_n(value.begin() + static_cast<std::ptrdiff_t>(at), 4, ip.bytes.begin());
  return ip;
}

/// A name that may stand in a resolver's file.
std::string clean_domain(std::span<const std::uint8_t> value) {
  const std::string name(value.begin(), value.end());
  constexpr const char* kAllowed =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-";
  return name.find_first_not_of(kAllowed) == name.npos ? name : "";
}

unsigned length_of(std::uint32_t mask) {
  return static_cast<unsigned>(std::countl_one(mask));
}

Lease read_lease(const BootHeader& boot, std::span<const std::uint8_t> options) {
  Lease l;
  l.address.ip = ipv4_at(boot.yiaddr, 0);
  l.address.length = length_of(number(option(options, kMask)).value_or(0xffffff00));
  if (const auto v = option(options, kRouter); v.size() >= 4) l.gateway = ipv4_at(v, 0);
  const auto dns = option(options, kDns);
  for (std::size_t at = 0; at + 4 <= dns.size() && l.dns.size() < 3; at += 4)
    l.dns.push_back(ipv4_at(dns, at));
  l.domain = clean_domain(option(options, kDomain));
  const auto time = std::chrono::seconds(number(option(options, kLeaseTime)).value_or(3600));
  l.time = std::clamp<std::chrono::seconds>(time, kLeastLease, kMostLease);
  return l;
}

}  // namespace

std::span<const std::uint8_t> DhcpClient::due(Instant now) noexcept {
  if (now < next_) return {};
  if (state_ == State::bound && now >= expires_) state_ = State::discover;
  // An offer that nothing came of, or an answer that did not come.
  if (state_ == State::request && tries_ >= 4) {
    state_ = State::discover;
    tries_ = 0;
  }
  build(now);
  const auto pause = std::min<Instant>(kFirstPause * (1u << std::min(tries_, 10u)), kLastPause);
  ++tries_;
  next_ = now + (state_ == State::bound ? std::max<Instant>((expires_ - now) / 2, 1s) : pause);
  return {frame_.data(), frame_len_};
}

void DhcpClient::build(Instant) noexcept {
  Headers h{};
  h.eth = {sw::kBroadcast, mac_, {}};
  h.eth.type.set(sw::kEtherIpv4);
  h.ip.version_ihl = 0x45;
  h.ip.ttl = 64;
  h.ip.proto = sw::kProtoUdp;
  h.ip.total_len.set(static_cast<std::uint16_t>(sizeof h.ip + sizeof h.udp + kMessage));
  h.ip.dst.set(0xffffffff);
  h.udp.sport.set(kClientPort);
  h.udp.dport.set(kServerPort);
  h.udp.len.set(static_cast<std::uint16_t>(sizeof h.udp + kMessage));
  h.boot.op = kBootRequest;
  h.boot.htype = 1;
  h.boot.hlen = 6;
  h.boot.xid.set(id_);
  h.boot.flags.set(kBroadcastFlag);
  std::copy(mac_.bytes.begin(), mac_.bytes.end(), h.boot.chaddr);
  h.boot.cookie.set(kCookie);
  std::array<std::uint8_t, kMessage - kOptionsAt> options{};
  std::size_t n = 0;
  const auto put = [&](std::uint8_t code, std::span<const std::uint8_t> value) {
    options[n++] = code;
    options[n++] = static_cast<std::uint8_t>(value.size());
    n = static_cast<std::size_t>(
        std::copy(value.begin(), value.end(), options.begin() + static_cast<long>(n)) -
        options.begin());
  };
  const std::uint8_t type = state_ == State::discover ? kDiscover : kRequest;
  put(kType, {&type, 1});
  if (state_ == State::request) {
    put(kWantedAddress, wanted_);
    put(kServer, server_);
  } else if (state_ == State::bound) {
    std::copy(wanted_.begin(), wanted_.end(), h.boot.ciaddr);
    std::copy(wanted_.begin(), wanted_.end(), reinterpret_cast<std::uint8_t*>(&h.ip.src));
  }
  constexpr std::array<std::uint8_t, 4> kAsked = {kMask, kRouter, kDns, kDomain};
  put(kParameters, kAsked);
  options[n] = kEnd;
  h.ip.checksum.set(sw::checksum_finish(
      sw::checksum_add(0, {reinterpret_cast<const std::uint8_t*>(&h.ip), sizeof h.ip})));
  std::memcpy(frame_.data(), &h, sizeof h);
  std::memcpy(frame_.data() + sizeof h, options.data(), options.size());
  frame_len_ = sizeof h + options.size();
  const std::span<std::uint8_t> frame(frame_.data(), frame_len_);
  const std::size_t udp = sizeof h.eth + sizeof h.ip;
  const std::uint32_t sum = sw::checksum_add(
      sw::pseudo_sum(h.ip, sw::kProtoUdp, static_cast<std::uint32_t>(frame_len_ - udp)),
      frame.subspan(udp));
  const std::uint16_t checksum = sw::checksum_finish(sum);
  write_at(frame, udp + 6, Be16(checksum == 0 ? std::uint16_t{0xffff} : checksum));
}

bool DhcpClient::input(const sw::Frame& frame, Instant now) {
  sw::Layers l;
  if (frame.len < sizeof(Headers) || !sw::locate(frame, l) || l.proto != sw::kProtoUdp ||
      l.type != sw::kEtherIpv4)
    return false;
  const auto udp = read_at<sw::UdpHeader>(frame.head_bytes(), l.l4);
  if (!udp || udp->dport.get() != kClientPort || udp->sport.get() != kServerPort) return false;
  const std::size_t at = l.l4 + sizeof *udp;
  if (frame.len > at + kMostMessage) return false;
  std::array<std::uint8_t, kMostMessage + 256> bytes;
  frame.copy_to(bytes.data());
  return offered({bytes.data() + at, frame.len - at}, now);
}

bool DhcpClient::offered(std::span<const std::uint8_t> message, Instant now) {
  const auto boot = read_at<BootHeader>(message, 0);
  if (!boot || boot->op != kBootReply || boot->xid.get() != id_ || boot->cookie.get() != kCookie ||
      !std::equal(mac_.bytes.begin(), mac_.bytes.end(), boot->chaddr))
    return false;
  const auto options = message.subspan(kOptionsAt);
  const auto type = option(options, kType), server = option(options, kServer);
  if (type.size() != 1) return false;
  if (type[0] == kOffer && state_ == State::discover && server.size() == 4) {
    std::copy_n(boot->yiaddr, 4, wanted_.begin());
    std::copy_n(server.begin(), 4, server_.begin());
    state_ = State::request;
    tries_ = 0;
    next_ = now;
  } else if (type[0] == kNak && state_ != State::discover) {
    state_ = State::discover;
    tries_ = 0;
    next_ = now + kFirstPause;
  } else if (type[0] == kAck && state_ != State::discover) {
    Lease fresh = read_lease(*boot, options);
    std::copy_n(boot->yiaddr, 4, wanted_.begin());
    state_ = State::bound;
    tries_ = 0;
    next_ = now + fresh.time / 2;
    expires_ = now + fresh.time;
    const bool another = !lease_ || lease_->address.ip.bytes != fresh.address.ip.bytes ||
                         lease_->address.length != fresh.address.length ||
                         lease_->gateway.has_value() != fresh.gateway.has_value() ||
                         (fresh.gateway && lease_->gateway->bytes != fresh.gateway->bytes);
    lease_ = std::move(fresh);
    return another;
  }
  return false;
}

}  // namespace rp::tap
