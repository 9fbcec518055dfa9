// SPDX-License-Identifier: BSD-3-Clause
// guard.h - the L2-L4 check that stands between guests and libslirp.
//
// Theory of operation: nothing that a guest sends reaches libslirp unless this file's rules let it,
// because libslirp trusts lengths that guests choose. check() works on one frame's bytes in
// private, contiguous memory; it may shorten the frame (Ethernet padding) or rewrite fields (the
// TCP urgent pointer, a repeated SYN's options) and gives a reason when the frame is to be dropped.
// It also knows, from their SYNs, how long a packet guests take, and who owns which address: a DHCP
// lease seen on its way to a guest binds the address to the guest's port and MAC; an address that
// nobody leased belongs to the first port that uses it. All tables are bounded and made at
// construction; check() never allocates. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

#include "base/counter.h"
#include "base/time.h"
#include "switch/frame.h"

namespace rp::slirp {

/// Why a frame was refused. The order is that of refusal_name().
enum class Refusal : std::uint8_t {
  none,
  runt,              ///< shorter than its headers
  ethertype,         ///< not ARP, IPv4, IPv6 (VLAN-tagged and NC-SI frames too)
  source_mac,        ///< group, zero, the gateway's own, or another port's
  arp,               ///< hlen, plen, op or sender wrong
  ip_header,         ///< version, IHL, total length
  ip_options,        ///< IPv4 options
  ip6_extension,     ///< IPv6 extension headers
  fragment,          ///< overlap, overflow, too many, too late, TCP, a service's
  spoofed_source,    ///< an address that is not the guest's own
  protocol,          ///< not TCP, UDP, ICMP
  tcp_header,        ///< data offset, option lengths, MSS 0, or see seq_trap.h
  udp_header,        ///< length
  icmp,              ///< type, length, checksum
  ndp,               ///< option lengths, unspecified source, router advertisement
  dhcp,              ///< options, chaddr not the sender's
  tftp,              ///< switched off, path, mode or block size
  forbidden_target,  ///< loopback, link-local metadata, unspecified
  checksum,          ///< the IPv4 header checksum
  count
};
std::string_view refusal_name(Refusal r) noexcept;

struct GuardConfig {
  bool ipv4 = true, ipv6 = true;
  std::uint32_t net = 0, mask = 0;     ///< IPv4, host byte order
  std::uint32_t gateway = 0, dns = 0;  ///< addresses that are libslirp's own
  sw::Ip6Addr prefix6{};
  unsigned prefix6_len = 64;
  sw::Ip6Addr gateway6{}, dns6{};
  bool link_local_targets = false;  ///< allow 169.254.0.0/16 and its IPv6 cousins
  int tftp_root = -1;               ///< directory descriptor, borrowed; -1: TFTP off
  unsigned mtu = 1500;  ///< libslirp's if_mtu; its buffers are no larger. Below 1280: no IPv6
};

inline constexpr std::uint16_t kEthernetMtu = 1500;  ///< RFC 894

/// libslirp makes its own addresses of 52:55 and an IPv4, or 52:56 and the end of an IPv6 address.
inline bool gateways_mac(const sw::Mac& mac) noexcept {
  return mac.bytes[0] == 0x52 && (mac.bytes[1] == 0x55 || mac.bytes[1] == 0x56);
}

/// What the guard says of a frame from libslirp.
struct FromNat {
  bool sound = false;     ///< false: its lengths contradict each other and it must not go out
  std::uint16_t mss = 0;  ///< not 0: TCP, to be cut into segments of so many bytes of data
  std::uint16_t mtu = 0;  ///< not 0: other IPv4, to be cut into packets of so many bytes
};

class Guard {
 public:
  explicit Guard(const GuardConfig& config);
  ~Guard();
  Guard(Guard&&) = delete;

  /// Judges `frame`, in private memory, that came in at port `from`. On Refusal::none the span may
  /// be shorter than before and bytes may have been rewritten.
  Refusal check(std::span<std::uint8_t>& frame, sw::PortId from, Instant now) noexcept;

  /// Of the frame that check() let pass last. Not 0: it ends the handshake of a connection which
  /// the guest opened, and libslirp, which has forgotten its MSS (bytes), would send longer
  /// segments.
  std::uint16_t untold_mss() const noexcept;

  /// A frame from libslirp on its way to the guests: learns leases. What is longer than Ethernet
  /// carries and than the guest is known to take is to be cut.
  FromNat from_nat(std::span<const std::uint8_t> frame, Instant now) noexcept;

  /// The port is gone: its addresses are free again.
  void forget(sw::PortId port) noexcept;

  /// May libslirp hold fragments of an unfinished datagram? Then its slow timer must be run.
  bool fragments_pending(Instant now) const noexcept;

  /// Makes, for each TFTP transfer that libslirp may still have open, the frame with which its
  /// client would end it. Before closing.
  void end_transfers(const std::function<void(std::span<const std::uint8_t>)>& send) const;

  void report(const CounterSink& sink) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rp::slirp
