// SPDX-License-Identifier: BSD-3-Clause
// guard_nat.cc - the other way: frames from libslirp must fit together, and teach us leases.
#include "slirp/guard_state.h"

namespace rp::slirp {
namespace {

constexpr std::uint16_t kDhcpServer = 67, kDhcpClient = 68, kTftp = 69;
constexpr std::uint8_t kUnreachable = 3, kTimeExceeded = 11;
constexpr std::uint16_t kMoreFragments = 0x2000, kOffset = 0x1fff;

// Ethernet pads to 60 bytes, or 64 with the room for a frame check sequence.
bool fits(std::size_t packet, std::size_t room) noexcept {
  const std::size_t frame = room + sizeof(sw::EthHeader);
  return packet == room || (packet < room && (frame == 60 || frame == 64));
}

// RFC 792: an error quotes the packet that caused it, and no byte that was not part of that packet.
bool sound_error(ConstBytes l4) noexcept {
  const auto quoted = read_at<sw::Ipv4Header>(l4, sizeof(sw::IcmpHeader));
  if (!quoted || quoted->header_len() < sizeof *quoted) return false;
  const std::size_t have = l4.size() - sizeof(sw::IcmpHeader);
  return have >= quoted->header_len() && have <= quoted->total_len.get();
}

bool sound_icmp(ConstBytes l4) noexcept {
  if (l4.size() < sizeof(sw::IcmpHeader)) return false;
  return (l4[0] != kUnreachable && l4[0] != kTimeExceeded) || sound_error(l4);
}

bool sound_udp(ConstBytes l4, bool whole) noexcept {
  const auto udp = read_at<sw::UdpHeader>(l4, 0);
  if (!udp || udp->len.get() < sizeof *udp) return false;
  return whole ? udp->len.get() == l4.size() : udp->len.get() >= l4.size();
}

}  // namespace

FromNat Guard::State::from_nat(ConstBytes frame, Instant now) noexcept {
  const auto eth = read_at<sw::EthHeader>(frame, 0);
  if (!eth) return {};
  switch (eth->type.get()) {
    case sw::kEtherArp:
      return {config.ipv4 && frame.size() >= sizeof *eth + sizeof(sw::ArpHeader)};
    case sw::kEtherIpv4:
      return config.ipv4 ? ipv4_from_nat(frame, now) : FromNat{};
    case sw::kEtherIpv6:
      return config.ipv6 ? ipv6_from_nat(frame, now) : FromNat{};
    default:
      return {};
  }
}

FromNat Guard::State::ipv4_from_nat(ConstBytes frame, Instant now) noexcept {
  const ConstBytes packet = frame.subspan(sizeof(sw::EthHeader));
  const auto ip = read_at<sw::Ipv4Header>(packet, 0);
  if (!ip || ip->version() != 4 || ip->header_len() != sizeof *ip) return {};
  const std::uint16_t total = ip->total_len.get();
  if (total < sizeof *ip || !fits(total, packet.size()) || (ip->src.get() >> 24) == 127) return {};
  const ConstBytes l4 = packet.subspan(sizeof *ip, total - sizeof *ip);
  const sw::Ip6Addr guest = mapped(ip->dst.get()), peer = mapped(ip->src.get());
  if (ip->proto == sw::kProtoTcp && !(ip->frag.get() & kOffset))
    return tcp_from_nat(guest, peer, false, l4);
  FromNat f{datagram_from_nat(*ip, l4, now)};
  if (total > mtu_of(guest)) f.mtu = mtu_of(guest);
  return f;
}

bool Guard::State::datagram_from_nat(const sw::Ipv4Header& ip, ConstBytes l4,
                                     Instant now) noexcept {
  if (ip.frag.get() & kOffset) return !l4.empty();
  const bool whole = (ip.frag.get() & kMoreFragments) == 0;
  switch (ip.proto) {
    case sw::kProtoIcmp:
      return whole ? sound_icmp(l4) : l4.size() >= sizeof(sw::IcmpHeader);
    case sw::kProtoUdp: {
      if (!sound_udp(l4, whole)) return false;
      const auto udp = *read_at<sw::UdpHeader>(l4, 0);
      const bool ours = whole && ip.src.get() == config.gateway;
      if (ours && udp.sport.get() == kDhcpServer && udp.dport.get() == kDhcpClient)
        learn_lease(l4.subspan(sizeof udp), now);
      if (ours && udp.sport.get() == kTftp) learn_tftp(mapped(ip.dst.get()), l4);
      return true;
    }
    default:
      return false;
  }
}

FromNat Guard::State::ipv6_from_nat(ConstBytes frame, Instant) noexcept {
  const ConstBytes packet = frame.subspan(sizeof(sw::EthHeader));
  const auto ip = read_at<sw::Ipv6Header>(packet, 0);
  if (!ip || ip->version() != 6) return {};
  const std::size_t len = ip->payload_len.get();
  if (!fits(sizeof *ip + len, packet.size())) return {};
  const ConstBytes l4 = packet.subspan(sizeof *ip, len);
  switch (ip->next) {
    case sw::kProtoTcp:
      return tcp_from_nat(ip->dst, ip->src, true, l4);
    case sw::kProtoIcmp6:
      return {l4.size() >= sizeof(sw::IcmpHeader)};
    case sw::kProtoUdp:
      if (!sound_udp(l4, true)) return {};
      if (ip->src == config.gateway6 && read_at<Be16>(l4, 0)->get() == kTftp)
        learn_tftp(ip->dst, l4);
      return {true};
    default:
      return {};
  }
}

FromNat Guard::State::tcp_from_nat(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer, bool v6,
                                   ConstBytes l4) noexcept {
  const auto tcp = read_at<sw::TcpHeader>(l4, 0);
  if (!tcp || tcp->header_len() < sizeof *tcp || tcp->header_len() > l4.size()) return {};
  const Connection connection = connection_to(guest, peer, *tcp);
  seq_trap.learn(connection, v6, *tcp);
  syn_acks.learn(connection, *tcp);
  segment_sizes.offered(connection, *tcp);
  const auto data = static_cast<std::uint32_t>(l4.size() - tcp->header_len());
  return {true, mss_to_cut_to(connection, v6, *tcp, data)};
}

// Both offer and acknowledgement use up an address of libslirp's pool; only the latter is a lease.
void Guard::State::learn_lease(ConstBytes bytes, Instant now) noexcept {
  const auto bootp = read_at<Bootp>(bytes, 0);
  if (!bootp || bootp->op != 2) return;
  const auto options = read_dhcp_options(bytes.subspan(sizeof *bootp));
  const std::uint32_t address = bootp->yiaddr.get();
  if (!options || !usable4(address)) return;
  if (options->type != DhcpType::offer && options->type != DhcpType::ack) return;
  pool.given(address, bootp->mac(), owners.port_of(bootp->mac()));
  if (options->type == DhcpType::ack) owners.lease(mapped(address), bootp->mac(), now);
}

void Guard::State::learn_tftp(const sw::Ip6Addr& client, ConstBytes l4) noexcept {
  const auto op = read_at<Be16>(l4, sizeof(sw::UdpHeader));
  if (!op) return;
  const std::size_t header = sizeof(sw::UdpHeader) + 4;
  const std::size_t data = l4.size() > header ? l4.size() - header : 0;
  tftp_sessions.answered(client, read_at<Be16>(l4, 2)->get(), op->get(), data);
}

}  // namespace rp::slirp
