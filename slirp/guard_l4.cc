// SPDX-License-Identifier: BSD-3-Clause
// guard_l4.cc - the check in front of libslirp: TCP, UDP and ICMP headers.
#include "slirp/guard_state.h"
#include "slirp/tcp_options.h"
#include "switch/checksum.h"

namespace rp::slirp {
namespace {

constexpr std::uint16_t kDhcpServer = 67, kTftp = 69, kDhcp6Server = 547;
constexpr std::uint8_t kEchoRequest = 8;

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

std::uint16_t tcp_sum(const Packet& p) noexcept {
  const auto len = static_cast<std::uint32_t>(p.l4.size());
  const std::size_t at = sizeof(sw::EthHeader);
  const std::uint32_t sum =
      p.v6 ? sw::pseudo_sum(*read_at<sw::Ipv6Header>(p.frame, at), sw::kProtoTcp, len)
           : sw::pseudo_sum(*read_at<sw::Ipv4Header>(p.frame, at), sw::kProtoTcp, len);
  return sw::checksum_finish(sw::checksum_add(sum, p.l4));
}

Refusal Guard::State::tcp(Packet& p) noexcept {
  auto tcp = read_at<sw::TcpHeader>(p.l4, 0);
  if (!tcp) return Refusal::tcp_header;
  const std::size_t header = tcp->header_len();
  if (header < sizeof *tcp || header > p.l4.size()) return Refusal::tcp_header;
  const Bytes options = p.l4.subspan(sizeof *tcp, header - sizeof *tcp);
  if (!sound_tcp_options(options)) return Refusal::tcp_header;
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
  learn_lengths(connection, p, *tcp, options);
  constexpr std::uint8_t kSynAck = sw::kTcpSyn | sw::kTcpAck;
  // libslirp drops one of a wrong sum.
  if ((tcp->flags & kSynAck) == kSynAck && tcp_sum(p) == 0 && syn_acks.repeated(connection, *tcp)) {
    strip_mss(options);
    recompute_checksum(p, *tcp);
  }
  if ((tcp->flags & sw::kTcpUrg) || tcp->urgent.get() != 0) {
    clear_urgent(*tcp);
    write_at(p.l4, 0, *tcp);
  }
  return Refusal::none;
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
