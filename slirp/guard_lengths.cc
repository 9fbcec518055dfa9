// SPDX-License-Identifier: BSD-3-Clause
// guard_lengths.cc - how long a packet each guest takes, as far as it has said and shown.
#include "slirp/guard_state.h"
#include "slirp/tcp_options.h"

namespace rp::slirp {
namespace {

/// Linux's least (net.ipv4.tcp_min_snd_mss): a guest must not have segments cut into dust.
constexpr std::uint16_t kLeastMss = 48;

/// IP and TCP, without options.
constexpr std::uint16_t tcp_headers(bool v6) noexcept {
  return static_cast<std::uint16_t>((v6 ? sizeof(sw::Ipv6Header) : sizeof(sw::Ipv4Header)) +
                                    sizeof(sw::TcpHeader));
}
constexpr std::uint16_t ethernet_mss(bool v6) noexcept {
  return static_cast<std::uint16_t>(kEthernetMtu - tcp_headers(v6));
}

}  // namespace

void Guard::State::learn_lengths(const Connection& of, const Packet& p, const sw::TcpHeader& tcp,
                                 ConstBytes options) noexcept {
  if (tcp.flags & sw::kTcpSyn) learn_mss(of, p.v6, stated_mss(options));
  if (segment_sizes.took_long(of, tcp)) owners.set_long_packets(p.src, LongPackets::taken);
  if (!segment_sizes.ends_handshake(of, tcp)) return;
  // By itself libslirp takes off IPv6's headers in either case, and drops what has a wrong sum.
  const std::uint16_t mss = mss_of(of, p.v6);
  if (unsigned{mss} + tcp_headers(true) < config.mtu && tcp_sum(p) == 0) untold_mss = mss;
}

// A guest says what its device takes, less the headers (RFC 6691).
void Guard::State::learn_mss(const Connection& of, bool v6, std::uint16_t stated) noexcept {
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

std::uint16_t Guard::State::mss_to_cut_to(const Connection& connection, bool v6,
                                          const sw::TcpHeader& tcp, std::uint32_t data) noexcept {
  if (data == 0) return 0;
  if (data > ethernet_mss(v6) && data <= mss_of(connection, v6) &&
      segment_sizes.resent(connection, tcp, data))
    owners.set_long_packets(connection.guest, LongPackets::lost);
  const std::uint16_t most = mss_of(connection, v6);
  return data > most ? most : std::uint16_t{0};
}

}  // namespace rp::slirp
