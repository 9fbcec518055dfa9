// SPDX-License-Identifier: BSD-3-Clause
// guard_ipv6.cc - the check in front of libslirp: IPv6 headers, addresses, ICMPv6 and NDP.
#include "slirp/guard_state.h"
#include "switch/checksum.h"

namespace rp::slirp {
namespace {

using sw::Ip6Addr;

constexpr Ip6Addr kUnspecified{};
constexpr Ip6Addr kLinkLocal{0xfe, 0x80};
constexpr Ip6Addr kSolicitedNode{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff};
constexpr Ip6Addr kNat64{0x00, 0x64, 0xff, 0x9b};        // RFC 6052 2.1
constexpr Ip6Addr kSixToFour{0x20, 0x02};                // RFC 3056
constexpr Ip6Addr kMetadataAws{0xfd, 0x00, 0x0e, 0xc2};  // fd00:ec2::254
constexpr Ip6Addr kMetadataGcp{0xfd, 0x20, 0x00, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54};
constexpr std::uint8_t kEchoRequest = 128, kRouterSolicit = 133, kRouterAdvert = 134;
constexpr std::uint8_t kNeighborSolicit = 135, kNeighborAdvert = 136, kRedirect = 137;

bool same_prefix(const Ip6Addr& a, const Ip6Addr& b, unsigned bits) noexcept {
  bits = std::min(bits, 128u);
  if (std::memcmp(a.data(), b.data(), bits / 8) != 0) return false;
  return bits % 8 == 0 || ((a[bits / 8] ^ b[bits / 8]) >> (8 - bits % 8)) == 0;
}

bool multicast6(const Ip6Addr& a) noexcept {
  return a[0] == 0xff;
}

// The link-local address that libslirp answers to besides `a`: the same interface identifier.
bool link_local_twin(const Ip6Addr& of, const Ip6Addr& a) noexcept {
  return same_prefix(a, kLinkLocal, 64) && std::equal(a.begin() + 8, a.end(), of.begin() + 8);
}

std::uint32_t ipv4_at(const Ip6Addr& a, std::size_t at) noexcept {
  return read_at<Be32>(a, at)->get();
}

// RFC 8200 section 4 and the IANA registry of extension headers, with "no next header".
bool extension(std::uint8_t next) noexcept {
  switch (next) {
    case 0:
    case 43:
    case 44:
    case 50:
    case 51:
    case 59:
    case 60:
    case 135:
    case 139:
    case 140:
    case 253:
    case 254:
      return true;
    default:
      return false;
  }
}

struct NdpOptions {
  bool sound = true, source = false;
};

// RFC 4861 4.6. An address option that names another station would redirect its traffic.
NdpOptions read_ndp_options(ConstBytes options, const sw::Mac& sender) noexcept {
  NdpOptions found;
  while (!options.empty()) {
    const std::size_t len = options.size() < 2 ? 0 : options[1] * 8u;
    if (len == 0 || len > options.size()) return {false, false};
    if (options[0] == 1 || options[0] == 2) {
      if (len != 8 || *read_at<sw::Mac>(options, 2) != sender) return {false, false};
      found.source |= options[0] == 1;
    }
    options = options.subspan(len);
  }
  return found;
}

}  // namespace

bool Guard::State::gateways6(const Ip6Addr& a) const noexcept {
  Ip6Addr two = kLinkLocal, three = kLinkLocal;
  two[15] = 2;
  three[15] = 3;
  return a == config.gateway6 || a == config.dns6 || a == two || a == three ||
         link_local_twin(config.gateway6, a) || link_local_twin(config.dns6, a);
}

// May this be a guest's address at all?
bool Guard::State::usable6(const Ip6Addr& a) const noexcept {
  if (multicast6(a) || gateways6(a)) return false;
  return same_prefix(a, config.prefix6, config.prefix6_len) || same_prefix(a, kLinkLocal, 10);
}

// An address without an address behind it may only ask: RFC 4861 4.1 and 4.3.
Refusal Guard::State::source6(const sw::Ipv6Header& ip, ConstBytes l4, const Sender& s) noexcept {
  if (ip.src == kUnspecified) {
    const bool asks = ip.next == sw::kProtoIcmp6 && !l4.empty() &&
                      (l4[0] == kNeighborSolicit || l4[0] == kRouterSolicit);
    return asks ? Refusal::none : Refusal::spoofed_source;
  }
  if (!usable6(ip.src) || !owners.admit(ip.src, s.mac, s.port, s.now))
    return Refusal::spoofed_source;
  return Refusal::none;
}

// A translator further out would turn NAT64 and 6to4 addresses back into the IPv4 ones inside.
Refusal Guard::State::target6(const Ip6Addr& dst, std::uint8_t proto) const noexcept {
  constexpr Refusal kNo = Refusal::forbidden_target;
  if (same_prefix(dst, kUnspecified, 80)) {  // ::, ::1, IPv4-compatible, IPv4-mapped
    const bool low = dst[10] == dst[11] && (dst[10] == 0 || dst[10] == 0xff);
    if (low) return kNo;
  }
  if (same_prefix(dst, kNat64, 96) && forbidden4(ipv4_at(dst, 12))) return kNo;
  if (same_prefix(dst, kSixToFour, 16) && forbidden4(ipv4_at(dst, 2))) return kNo;
  if (multicast6(dst) && proto == sw::kProtoTcp) return kNo;
  if (config.link_local_targets || gateways6(dst)) return Refusal::none;
  const bool near =
      same_prefix(dst, kLinkLocal, 10) || same_prefix(dst, kMetadataAws, 32) || dst == kMetadataGcp;
  return near ? kNo : Refusal::none;
}

Refusal Guard::State::ipv6(Bytes& frame, const Sender& s) noexcept {
  const Bytes packet = frame.subspan(sizeof(sw::EthHeader));
  const auto ip = read_at<sw::Ipv6Header>(packet, 0);
  if (!ip) return Refusal::runt;
  const std::size_t len = ip->payload_len.get();
  if (ip->version() != 6 || len > packet.size() - sizeof *ip) return Refusal::ip_header;
  frame = frame.first(sizeof(sw::EthHeader) + sizeof *ip + len);
  const Bytes l4 = packet.subspan(sizeof *ip, len);

  if (extension(ip->next)) return Refusal::ip6_extension;
  if (ip->next != sw::kProtoTcp && ip->next != sw::kProtoUdp && ip->next != sw::kProtoIcmp6)
    return Refusal::protocol;
  if (const Refusal r = target6(ip->dst, ip->next); r != Refusal::none) return r;
  if (const Refusal r = source6(*ip, l4, s); r != Refusal::none) return r;
  if (ip->next == sw::kProtoIcmp6) return icmp6(*ip, l4, s);
  Packet p{frame, l4, ip->src, ip->dst, true, multicast6(ip->dst)};
  const Refusal r = ip->next == sw::kProtoTcp ? tcp(p) : udp(p, s);
  frame = p.frame;
  return r;
}

Refusal Guard::State::icmp6(const sw::Ipv6Header& ip, ConstBytes l4, const Sender& s) noexcept {
  if (l4.size() < sizeof(sw::IcmpHeader)) return Refusal::icmp;
  switch (l4[0]) {
    case kEchoRequest:  // libslirp forwards none, and would log each that is not for itself
      return gateways6(ip.dst) ? Refusal::none : Refusal::icmp;
    case kRouterSolicit:
    case kNeighborSolicit:
    case kNeighborAdvert:
      return ndp(ip, l4, s);
    case kRouterAdvert:
    case kRedirect:
      return Refusal::ndp;
    default:
      return Refusal::icmp;
  }
}

// RFC 4861 6.1.1, 7.1.1 and 7.1.2.
Refusal Guard::State::ndp(const sw::Ipv6Header& ip, ConstBytes l4, const Sender& s) noexcept {
  const std::uint8_t type = l4[0];
  const std::size_t fixed = type == kRouterSolicit ? 8 : 24;
  if (ip.hop_limit != 255 || l4[1] != 0 || l4.size() < fixed) return Refusal::ndp;
  const auto len = static_cast<std::uint32_t>(l4.size());
  const std::uint32_t sum = sw::pseudo_sum(ip, sw::kProtoIcmp6, len);
  if (sw::checksum_finish(sw::checksum_add(sum, l4)) != 0) return Refusal::ndp;
  const NdpOptions options = read_ndp_options(l4.subspan(fixed), s.mac);
  if (!options.sound) return Refusal::ndp;
  if (ip.src == kUnspecified && options.source) return Refusal::ndp;
  if (type == kRouterSolicit) return Refusal::none;

  const Ip6Addr target = *read_at<Ip6Addr>(l4, 8);
  if (multicast6(target)) return Refusal::ndp;
  if (type == kNeighborSolicit) {
    const bool probe = ip.src == kUnspecified;
    return probe && !same_prefix(ip.dst, kSolicitedNode, 104) ? Refusal::ndp : Refusal::none;
  }
  if (multicast6(ip.dst) && (l4[4] & 0x40)) return Refusal::ndp;  // solicited, yet to a group
  if (!usable6(target) || !owners.admit(target, s.mac, s.port, s.now))
    return Refusal::spoofed_source;
  return Refusal::none;
}

}  // namespace rp::slirp
