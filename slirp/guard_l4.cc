// SPDX-License-Identifier: BSD-3-Clause
// guard_l4.cc - the check in front of libslirp: TCP, UDP and ICMP headers.
#include "slirp/guard_state.h"
#include "switch/checksum.h"

namespace rp::slirp {
namespace {

constexpr std::uint16_t kDhcpServer = 67, kTftp = 69, kDhcp6Server = 547;
constexpr std::uint8_t kEchoRequest = 8;
/// Linux's least (net.ipv4.tcp_min_snd_mss): a guest must not have segments cut into dust.
constexpr std::uint16_t kLeastMss = 48;
constexpr std::uint8_t kOptionEnd = 0, kOptionNop = 1, kOptionMss = 2;

// RFC 9293 3.1 and 3.7.1. libslirp divides its window by the segment size.
bool sound_options(ConstBytes options) noexcept {
  while (!options.empty() && options[0] != kOptionEnd) {
    if (options[0] == kOptionNop) {
      options = options.subspan(1);
      continue;
    }
    const std::size_t len = options.size() < 2 ? 0 : options[1];
    if (len < 2 || len > options.size()) return false;
    if (options[0] == kOptionMss && (len != 4 || read_at<Be16>(options, 2)->get() == 0))
      return false;
    options = options.subspan(len);
  }
  return true;
}

// Of sound options. 0: they say nothing.
std::uint16_t stated_mss(ConstBytes options) noexcept {
  while (!options.empty() && options[0] != kOptionEnd) {
    if (options[0] == kOptionMss) return read_at<Be16>(options, 2)->get();
    options = options.subspan(options[0] == kOptionNop ? 1 : options[1]);
  }
  return 0;
}

std::uint16_t word(const std::uint8_t high, const std::uint8_t low) noexcept {
  return static_cast<std::uint16_t>((high << 8) | low);
}

// libslirp 4.7 sends as many bytes as the urgent pointer says, whether it has them or not
// (CVE-2026-9539). Urgent data reaches the host as ordinary data: RFC 6093 asks for no more.
void clear_urgent(sw::TcpHeader& tcp) noexcept {
  std::uint16_t sum = tcp.checksum.get();
  const std::uint16_t before = word(tcp.data_offset, tcp.flags);
  tcp.flags = static_cast<std::uint8_t>(tcp.flags & ~sw::kTcpUrg);
  sum = sw::checksum_update(sum, before, word(tcp.data_offset, tcp.flags));
  sum = sw::checksum_update(sum, tcp.urgent.get(), 0);
  tcp.urgent.set(0);
  tcp.checksum.set(sum);
}

// Sums up pseudo header and segment; the checksum of a sound segment comes out as 0.
std::uint16_t tcp_sum(const Packet& p) noexcept {
  const auto len = static_cast<std::uint32_t>(p.l4.size());
  const std::size_t at = sizeof(sw::EthHeader);
  const std::uint32_t sum =
      p.v6 ? sw::pseudo_sum(*read_at<sw::Ipv6Header>(p.frame, at), sw::kProtoTcp, len)
           : sw::pseudo_sum(*read_at<sw::Ipv4Header>(p.frame, at), sw::kProtoTcp, len);
  return sw::checksum_finish(sw::checksum_add(sum, p.l4));
}

void recompute_checksum(Packet& p, sw::TcpHeader& tcp) noexcept {
  tcp.checksum.set(0);
  write_at(p.l4, 0, tcp);
  tcp.checksum.set(tcp_sum(p));
  write_at(p.l4, 0, tcp);
}

void shorten_ip(Packet& p) noexcept {
  const std::size_t at = sizeof(sw::EthHeader);
  if (p.v6) {
    auto ip = *read_at<sw::Ipv6Header>(p.frame, at);
    ip.payload_len.set(static_cast<std::uint16_t>(ip.payload_len.get() - 1));
    write_at(p.frame, at, ip);
  } else {
    auto ip = *read_at<sw::Ipv4Header>(p.frame, at);
    const std::uint16_t before = ip.total_len.get();
    ip.total_len.set(static_cast<std::uint16_t>(before - 1));
    ip.checksum.set(sw::checksum_update(ip.checksum.get(), before, ip.total_len.get()));
    write_at(p.frame, at, ip);
  }
}

// What libslirp reads of a SYN's options. The bytes stay, as NOPs.
void strip_mss(Packet& p, sw::TcpHeader& tcp) noexcept {
  Bytes options = p.l4.subspan(sizeof tcp, tcp.header_len() - sizeof tcp);
  while (!options.empty() && options[0] != kOptionEnd) {
    const std::size_t len = options[0] == kOptionNop ? 1 : options[1];
    if (options[0] == kOptionMss) std::fill_n(options.begin(), len, kOptionNop);
    options = options.subspan(len);
  }
  recompute_checksum(p, tcp);
}

// The guest sends the byte again, with what follows it. A FIN would come too early now.
bool cut_last_byte(Packet& p, sw::TcpHeader& tcp) noexcept {
  if (tcp_sum(p) != 0) return false;
  shorten_ip(p);
  p.frame = p.frame.first(p.frame.size() - 1);
  p.l4 = p.l4.first(p.l4.size() - 1);
  tcp.flags = static_cast<std::uint8_t>(tcp.flags & ~sw::kTcpFin);
  recompute_checksum(p, tcp);
  return true;
}

}  // namespace

Refusal Guard::State::tcp(Packet& p) noexcept {
  auto tcp = read_at<sw::TcpHeader>(p.l4, 0);
  if (!tcp) return Refusal::tcp_header;
  const std::size_t header = tcp->header_len();
  if (header < sizeof *tcp || header > p.l4.size()) return Refusal::tcp_header;
  const Bytes options = p.l4.subspan(sizeof *tcp, header - sizeof *tcp);
  if (!sound_options(options)) return Refusal::tcp_header;
  const auto data = static_cast<std::uint32_t>(p.l4.size() - header);
  const Connection connection = connection_from(p.src, p.dst, *tcp);
  switch (seq_trap.judge(connection, p.v6, *tcp, data)) {
    case SeqTrap::Verdict::pass:
      break;
    case SeqTrap::Verdict::cut_one:
      if (!cut_last_byte(p, *tcp)) return Refusal::tcp_header;
      break;
    case SeqTrap::Verdict::refuse:
      return Refusal::tcp_header;
  }
  if (tcp->flags & sw::kTcpSyn) learn_mss(connection, p.v6, options);
  if (segment_sizes.took_long(connection, *tcp)) owners.set_long_packets(p.src, LongPackets::taken);
  constexpr std::uint8_t kSynAck = sw::kTcpSyn | sw::kTcpAck;
  // libslirp drops one of a wrong sum.
  if ((tcp->flags & kSynAck) == kSynAck && tcp_sum(p) == 0 && syn_acks.repeated(connection, *tcp))
    strip_mss(p, *tcp);
  // By itself it takes off IPv6's headers in either case.
  if (segment_sizes.ends_handshake(connection, *tcp) &&
      unsigned{mss_of(connection, p.v6)} + tcp_headers(true) < config.mtu && tcp_sum(p) == 0)
    untold_mss = mss_of(connection, p.v6);
  if ((tcp->flags & sw::kTcpUrg) || tcp->urgent.get() != 0) {
    clear_urgent(*tcp);
    write_at(p.l4, 0, *tcp);
  }
  return Refusal::none;
}

// A guest says what its device takes, less the headers (RFC 6691).
void Guard::State::learn_mss(const Connection& of, bool v6, ConstBytes options) noexcept {
  const std::uint16_t stated = stated_mss(options);
  const std::uint16_t mss = stated == 0 ? stated : std::max(stated, kLeastMss);
  segment_sizes.stated(of, mss);
  if (mss == 0) return;
  const unsigned mtu = unsigned{mss} + tcp_headers(v6);
  owners.set_mtu(of.guest, static_cast<std::uint16_t>(std::min(mtu, 65535u)));
}

// Where nothing is known, Ethernet's, or what the guest said last where that is less.
std::uint16_t Guard::State::mss_of(const Connection& connection, bool v6) const noexcept {
  const std::uint16_t stated = segment_sizes.of(connection);
  if (stated > ethernet_mss(v6) && owners.long_packets(connection.guest) == LongPackets::lost)
    return ethernet_mss(v6);
  if (stated != 0) return stated;
  const std::uint16_t mtu = owners.mtu_of(connection.guest);
  if (mtu == 0 || mtu >= kEthernetMtu) return ethernet_mss(v6);
  return static_cast<std::uint16_t>(mtu - tcp_headers(v6));
}

// No less than Ethernet's: small stacks say little, and put no fragments together.
std::uint16_t Guard::State::mtu_of(const sw::Ip6Addr& guest) const noexcept {
  const bool loses = owners.long_packets(guest) == LongPackets::lost;
  return loses ? kEthernetMtu : std::max(kEthernetMtu, owners.mtu_of(guest));
}

Refusal Guard::State::udp(const Packet& p, const Sender& s) noexcept {
  const auto udp = read_at<sw::UdpHeader>(p.l4, 0);
  if (!udp || udp->len.get() < sizeof *udp || udp->len.get() != p.l4.size())
    return Refusal::udp_header;
  switch (udp->dport.get()) {
    case kTftp:
      return tftp(p, s);
    case kDhcp6Server:
      return p.v6 ? dhcp6(p) : Refusal::none;
    case kDhcpServer: {
      const bool ours = p.dst == mapped(config.gateway) || p.dst == mapped(0xffffffff);
      return !p.v6 && ours ? dhcp4(p, s) : Refusal::none;
    }
    default:
      return Refusal::none;
  }
}

Refusal Guard::State::icmp4(ConstBytes l4) const noexcept {
  const bool sound = l4.size() >= sizeof(sw::IcmpHeader) && l4[0] == kEchoRequest;
  return sound ? Refusal::none : Refusal::icmp;
}

}  // namespace rp::slirp
