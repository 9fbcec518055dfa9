// SPDX-License-Identifier: BSD-3-Clause
// guard_ipv4.cc - the check in front of libslirp: IPv4 headers, addresses and fragments.
#include "slirp/guard_state.h"
#include "switch/checksum.h"

namespace rp::slirp {
namespace {

constexpr std::uint32_t kEverybody = 0xffffffff;
constexpr std::uint16_t kReservedBit = 0x8000, kMoreFragments = 0x2000, kOffset = 0x1fff;
constexpr std::uint16_t kDhcpServer = 67, kDhcpClient = 68, kTftp = 69;

bool multicast4(std::uint32_t a) noexcept {
  return (a >> 28) == 0xe;
}

Refusal header4(const sw::Ipv4Header& ip, ConstBytes packet) noexcept {
  const std::size_t total = ip.total_len.get(), header = ip.header_len();
  if (ip.version() != 4 || header < sizeof ip || header > total || total > packet.size())
    return Refusal::ip_header;
  if (header != sizeof ip) return Refusal::ip_options;
  if (sw::checksum_finish(sw::checksum_add(0, packet.first(sizeof ip))) != 0)
    return Refusal::checksum;
  return Refusal::none;
}

}  // namespace

bool Guard::State::broadcast4(std::uint32_t a) const noexcept {
  return a == kEverybody || (~config.mask > 1 && a == (config.net | ~config.mask));
}

// May this be a guest's address at all?
bool Guard::State::usable4(std::uint32_t a) const noexcept {
  if ((a & config.mask) != (config.net & config.mask) || broadcast4(a)) return false;
  const bool network = ~config.mask > 1 && a == (config.net & config.mask);
  return !network && a != config.gateway && a != config.dns;
}

bool Guard::State::forbidden4(std::uint32_t a) const noexcept {
  const std::uint32_t top = a >> 24;
  if (top == 0 || top == 127 || (top >= 240 && a != kEverybody)) return true;
  return !config.link_local_targets && (a >> 16) == 0xa9fe;  // RFC 3927; cloud metadata
}

Refusal Guard::State::target4(std::uint32_t dst, std::uint8_t proto) const noexcept {
  const bool group = multicast4(dst) || broadcast4(dst);
  if (forbidden4(dst) || (group && proto != sw::kProtoUdp)) return Refusal::forbidden_target;
  return Refusal::none;
}

// RFC 2131 4.1: a client without an address sends from 0.0.0.0, and only to a DHCP server.
Refusal Guard::State::source4(const sw::Ipv4Header& ip, ConstBytes l4, const Sender& s) noexcept {
  const std::uint32_t src = ip.src.get(), dst = ip.dst.get();
  if (src == 0) {
    const auto udp = read_at<sw::UdpHeader>(l4, 0);
    const bool dhcp = ip.proto == sw::kProtoUdp && udp && udp->sport.get() == kDhcpClient &&
                      udp->dport.get() == kDhcpServer &&
                      (dst == kEverybody || dst == config.gateway);
    const bool whole = (ip.frag.get() & (kMoreFragments | kOffset)) == 0;
    return dhcp && whole ? Refusal::none : Refusal::spoofed_source;
  }
  if (!usable4(src) || !owners.admit(mapped(src), s.mac, s.port, s.now))
    return Refusal::spoofed_source;
  return Refusal::none;
}

Refusal Guard::State::ipv4(Bytes& frame, const Sender& s) noexcept {
  const Bytes packet = frame.subspan(sizeof(sw::EthHeader));
  const auto ip = read_at<sw::Ipv4Header>(packet, 0);
  if (!ip) return Refusal::runt;
  if (const Refusal r = header4(*ip, packet); r != Refusal::none) return r;
  frame = frame.first(sizeof(sw::EthHeader) + ip->total_len.get());
  const Bytes l4 = packet.subspan(sizeof *ip, ip->total_len.get() - sizeof *ip);

  if (ip->proto != sw::kProtoTcp && ip->proto != sw::kProtoUdp && ip->proto != sw::kProtoIcmp)
    return Refusal::protocol;
  // The reserved bit makes libslirp throw away fragments that we know of.
  if (ip->frag.get() & kReservedBit) return Refusal::fragment;
  if (const Refusal r = target4(ip->dst.get(), ip->proto); r != Refusal::none) return r;
  if (const Refusal r = source4(*ip, l4, s); r != Refusal::none) return r;
  if (ip->frag.get() & (kMoreFragments | kOffset)) return fragment(*ip, l4, s);

  if (ip->proto == sw::kProtoIcmp) return icmp4(l4);
  const std::uint32_t dst = ip->dst.get();
  Packet p{frame,       l4,    mapped(ip->src.get()),
           mapped(dst), false, multicast4(dst) || broadcast4(dst)};
  const Refusal r = ip->proto == sw::kProtoTcp ? tcp(p) : udp(p, s);
  frame = p.frame;
  return r;
}

// Services read whole datagrams, so what is for them may not come in pieces. libslirp drops a piece
// whose time to live is 0, which would part its books from ours.
Refusal Guard::State::fragment(const sw::Ipv4Header& ip, ConstBytes l4, const Sender& s) noexcept {
  if (ip.proto == sw::kProtoTcp || ip.ttl == 0) return Refusal::fragment;
  const std::uint32_t offset = (ip.frag.get() & kOffset) * 8u;
  const std::uint32_t len = static_cast<std::uint32_t>(l4.size());
  std::uint32_t claimed = 0;
  if (offset == 0 && ip.proto == sw::kProtoIcmp) {
    if (icmp4(l4) != Refusal::none) return Refusal::icmp;
  } else if (offset == 0) {
    const auto udp = read_at<sw::UdpHeader>(l4, 0);
    if (!udp) return Refusal::fragment;
    claimed = udp->len.get();
    const std::uint16_t to = udp->dport.get();
    if (claimed < len || claimed > Fragments::kMaxPayload) return Refusal::udp_header;
    if (to == kDhcpServer || to == kTftp) return Refusal::fragment;
  }
  const Fragments::Key key{ip.src.get(), ip.dst.get(), ip.id.get(), ip.proto};
  const Fragments::Piece piece{offset, len, (ip.frag.get() & kMoreFragments) != 0, claimed};
  return fragments.admit(s.port, key, piece, s.now) ? Refusal::none : Refusal::fragment;
}

}  // namespace rp::slirp
