// SPDX-License-Identifier: BSD-3-Clause
// l3_edge.cc - neighbours, questions and answers.
#include "tap/l3_edge.h"

#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "switch/checksum.h"

namespace rp::tap {
namespace {

using sw::Ip6Addr;
using sw::Mac;

constexpr std::uint16_t kArpRequest = 1, kArpReply = 2, kEthernet = 1;
/// RFC 4861, 4.1 to 4.5, and 4.6.1.
constexpr std::uint8_t kFirstNd = 133, kLastNd = 137, kSolicitation = 135, kAdvertisement = 136;
constexpr std::uint8_t kSourceLinkLayer = 1, kTargetLinkLayer = 2;
constexpr std::uint32_t kRouter = 0x80000000, kSolicited = 0x40000000, kOverride = 0x20000000;
/// Neighbour discovery is heard from the own link only.
constexpr std::uint8_t kNdHops = 255;

struct NdMessage {
  std::uint8_t type, code;
  Be16 checksum;
  Be32 flags;
  Ip6Addr target;
};
static_assert(sizeof(NdMessage) == 24);

struct NdLinkLayer {
  std::uint8_t type, length;  ///< length in 8 bytes
  Mac mac;
};
static_assert(sizeof(NdLinkLayer) == 8);

struct NdFrame {
  sw::EthHeader eth;
  sw::Ipv6Header ip;
  NdMessage nd;
  NdLinkLayer option;
};
static_assert(sizeof(NdFrame) == 86);

struct ArpFrame {
  sw::EthHeader eth;
  sw::ArpHeader arp;
};

bool is_multicast(std::uint32_t ip4) {
  return ip4 >> 28 == 14;
}

bool is_zero(const Ip6Addr& a) {
  return a == Ip6Addr{};
}

/// RFC 4291, 2.7.1; RFC 2464, 7.
Ip6Addr solicited_node(const Ip6Addr& ip) {
  Ip6Addr a{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  std::copy(ip.begin() + 13, ip.end(), a.begin() + 13);
  return a;
}

Mac multicast_mac(const Ip6Addr& ip) {
  return {{0x33, 0x33, ip[12], ip[13], ip[14], ip[15]}};
}

/// RFC 1112, 6.4.
Mac multicast_mac(std::uint32_t ip) {
  return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(ip >> 16 & 0x7f),
           static_cast<std::uint8_t>(ip >> 8), static_cast<std::uint8_t>(ip)}};
}

/// RFC 4291, appendix A.
Ip6Addr link_local_of(const Mac& mac) {
  const auto& m = mac.bytes;
  return {0xfe, 0x80, 0,    0,    0,    0,    0,   0, static_cast<std::uint8_t>(m[0] ^ 2),
          m[1], m[2], 0xff, 0xfe, m[3], m[4], m[5]};
}

std::uint32_t ipv4_of(const Ip& ip) {
  Be32 a;
  std::memcpy(&a, ip.bytes.data(), sizeof a);
  return a.get();
}

}  // namespace

L3Edge::L3Edge(const Mac& mac, const std::vector<Prefix>& addresses, bool proxy)
    : mac_(mac), proxy_(proxy), link_local_(link_local_of(mac)), neighbors_(kNeighbors) {
  ours_.push_back(link_local_);
  for (const Prefix& p : addresses) {
    if (p.ip.family == AF_INET6) {
      ours_.push_back(p.ip.bytes);
      continue;
    }
    ours_.push_back(key_of(p.ip.bytes.data()));
    const std::uint32_t ip = ipv4_of(p.ip);
    if (ip4_ == 0) ip4_ = ip;
    if (p.length < 31) broadcasts_.push_back(ip | (p.length == 0 ? ~0u : ~0u >> p.length));
  }
}

L3Edge::Key L3Edge::key_of(const std::uint8_t* ipv4) noexcept {
  Key k{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  std::copy_n(ipv4, 4, k.begin() + 12);
  return k;
}

std::size_t L3Edge::slot_of(const Key& ip) noexcept {
  std::uint64_t a, b;
  std::memcpy(&a, ip.data(), sizeof a);
  std::memcpy(&b, ip.data() + sizeof a, sizeof b);
  return (a ^ b * 0x9e3779b97f4a7c15u) * 0x9e3779b97f4a7c15u >> 52;
}
static_assert(std::size_t{1} << (64 - 52) == 4096);

bool L3Edge::is_ours(const Key& ip) const noexcept {
  return std::find(ours_.begin(), ours_.end(), ip) != ours_.end();
}

bool L3Edge::answers_for(const Key& ip) const noexcept {
  return is_ours(ip) || (proxy_ && !find(ip));
}

const Mac* L3Edge::find(const Key& ip) const noexcept {
  const Neighbor& n = neighbors_[slot_of(ip)];
  return n.ip == ip && !n.mac.is_zero() ? &n.mac : nullptr;
}

/// The last one that uses a slot has it.
void L3Edge::learn(const Key& ip, const Mac& mac) noexcept {
  if (mac.is_group() || mac.is_zero() || mac == mac_ || is_ours(ip)) return;
  neighbors_[slot_of(ip)] = {ip, mac};
}

bool L3Edge::from_guest(const sw::Frame& f) noexcept {
  const auto eth = read_at<sw::EthHeader>(f.head_bytes(), 0);
  if (!eth || (eth->dst != mac_ && !eth->dst.is_group())) return false;
  switch (eth->type.get()) {
    case sw::kEtherArp:
      return arp(f);
    case sw::kEtherIpv4:
      return ipv4(f, eth->src);
    case sw::kEtherIpv6:
      return ipv6(f, eth->src);
    default:
      return false;
  }
}

bool L3Edge::arp(const sw::Frame& f) noexcept {
  const auto a = read_at<sw::ArpHeader>(f.head_bytes(), sizeof(sw::EthHeader));
  if (!a || a->htype.get() != kEthernet || a->ptype.get() != sw::kEtherIpv4 || a->hlen != 6 ||
      a->plen != 4)
    return false;
  const std::uint32_t spa = a->spa.get(), tpa = a->tpa.get();
  const auto key = [](const Be32& ip) {
    return key_of(reinterpret_cast<const std::uint8_t*>(&ip));
  };
  if (spa != 0 && !is_multicast(spa)) learn(key(a->spa), a->sha);
  // A probe (RFC 5227) asks whether an address is free: only ours are not.
  const bool probe = spa == 0 || spa == tpa;
  if (a->op.get() == kArpRequest && (probe ? is_ours(key(a->tpa)) : answers_for(key(a->tpa))))
    send_arp(kArpReply, a->sha, tpa, spa);
  return false;
}

bool L3Edge::ipv4(const sw::Frame& f, const Mac& from) noexcept {
  const auto ip = read_at<sw::Ipv4Header>(f.head_bytes(), sizeof(sw::EthHeader));
  if (!ip || ip->version() != 4) return false;
  const std::uint32_t src = ip->src.get();
  if (src != 0 && src != ~0u && !is_multicast(src))
    learn(key_of(reinterpret_cast<const std::uint8_t*>(&ip->src)), from);
  return true;
}

bool L3Edge::ipv6(const sw::Frame& f, const Mac& from) noexcept {
  const auto ip = read_at<sw::Ipv6Header>(f.head_bytes(), sizeof(sw::EthHeader));
  if (!ip || ip->version() != 6) return false;
  if (ip->src[0] == 0xff) return false;
  if (!is_zero(ip->src)) learn(ip->src, from);
  if (ip->next != sw::kProtoIcmp6) return true;
  const auto type = read_at<std::uint8_t>(f.head_bytes(), sizeof(sw::EthHeader) + sizeof *ip);
  if (!type || *type < kFirstNd || *type > kLastNd) return true;
  return solicited(f, *ip, from);
}

/// Neighbour discovery ends here: the device has no neighbours.
bool L3Edge::solicited(const sw::Frame& f, const sw::Ipv6Header& ip, const Mac& from) noexcept {
  const auto nd = read_at<NdMessage>(f.head_bytes(), sizeof(sw::EthHeader) + sizeof ip);
  if (!nd || nd->type != kSolicitation || ip.hop_limit != kNdHops) return false;
  const bool probe = is_zero(ip.src);
  if (probe ? !is_ours(nd->target) : !answers_for(nd->target)) return false;
  const Ip6Addr all_nodes{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  if (probe)
    send_nd(kAdvertisement, kRouter | kOverride, multicast_mac(all_nodes), all_nodes, nd->target);
  else
    send_nd(kAdvertisement, kRouter | kSolicited | kOverride, from, ip.src, nd->target);
  return false;
}

bool L3Edge::to_guest(std::span<const std::uint8_t> packet, sw::EthHeader& eth) noexcept {
  eth.src = mac_;
  if (packet.empty()) return false;
  if (packet[0] >> 4 == 4) {
    const auto ip = read_at<sw::Ipv4Header>(packet, 0);
    if (!ip) return false;
    eth.type.set(sw::kEtherIpv4);
    const std::uint32_t dst = ip->dst.get();
    if (dst == ~0u || std::find(broadcasts_.begin(), broadcasts_.end(), dst) != broadcasts_.end()) {
      eth.dst = sw::kBroadcast;
    } else if (is_multicast(dst)) {
      eth.dst = multicast_mac(dst);
    } else if (const Mac* m = find(key_of(reinterpret_cast<const std::uint8_t*>(&ip->dst)))) {
      eth.dst = *m;
    } else {
      ask4(dst);
      return false;
    }
    return true;
  }
  const auto ip = read_at<sw::Ipv6Header>(packet, 0);
  if (!ip || ip->version() != 6) return false;
  eth.type.set(sw::kEtherIpv6);
  if (ip->dst[0] == 0xff) {
    eth.dst = multicast_mac(ip->dst);
  } else if (const Mac* m = find(ip->dst)) {
    eth.dst = *m;
  } else {
    ask6(ip->dst);
    return false;
  }
  return true;
}

void L3Edge::ask4(std::uint32_t ip) noexcept {
  send_arp(kArpRequest, sw::kBroadcast, ip4_, ip);
}

void L3Edge::ask6(const Ip6Addr& ip) noexcept {
  const Ip6Addr group = solicited_node(ip);
  send_nd(kSolicitation, 0, multicast_mac(group), group, ip);
}

/// Room for a frame of its own; none when so many wait that whoever asked may ask again.
std::span<std::uint8_t> L3Edge::own_slot(std::size_t size) noexcept {
  if (own_n_ == kOwn) return {};
  Own& o = own_[own_n_++];
  o.size = size;
  return {o.bytes.data(), size};
}

void L3Edge::send_arp(std::uint16_t op, const Mac& to, std::uint32_t spa,
                      std::uint32_t tpa) noexcept {
  ArpFrame f{};
  f.eth = {to, mac_, {}};
  f.eth.type.set(sw::kEtherArp);
  f.arp.htype.set(kEthernet);
  f.arp.ptype.set(sw::kEtherIpv4);
  f.arp.hlen = 6;
  f.arp.plen = 4;
  f.arp.op.set(op);
  f.arp.sha = mac_;
  f.arp.spa.set(spa);
  if (op == kArpReply) f.arp.tha = to;
  f.arp.tpa.set(tpa);
  write_at(own_slot(sizeof f), 0, f);
}

void L3Edge::send_nd(std::uint8_t type, std::uint32_t flags, const Mac& to, const Ip6Addr& dst,
                     const Ip6Addr& target) noexcept {
  constexpr std::uint32_t kLength = sizeof(NdMessage) + sizeof(NdLinkLayer);
  NdFrame f{};
  f.eth = {to, mac_, {}};
  f.eth.type.set(sw::kEtherIpv6);
  f.ip.version_class_flow.set(6u << 28);
  f.ip.payload_len.set(kLength);
  f.ip.next = sw::kProtoIcmp6;
  f.ip.hop_limit = kNdHops;
  f.ip.src = type == kAdvertisement ? target : link_local_;
  f.ip.dst = dst;
  f.nd.type = type;
  f.nd.flags.set(flags);
  f.nd.target = target;
  f.option = {type == kSolicitation ? kSourceLinkLayer : kTargetLinkLayer, 1, mac_};
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&f);
  const std::uint32_t sum = sw::checksum_add(sw::pseudo_sum(f.ip, sw::kProtoIcmp6, kLength),
                                             {bytes + sizeof f.eth + sizeof f.ip, kLength});
  f.nd.checksum.set(sw::checksum_finish(sum));
  write_at(own_slot(sizeof f), 0, f);
}

void L3Edge::clear(std::size_t n) noexcept {
  std::move(own_.begin() + static_cast<std::ptrdiff_t>(n),
            own_.begin() + static_cast<std::ptrdiff_t>(own_n_), own_.begin());
  own_n_ -= n;
}

}  // namespace rp::tap
