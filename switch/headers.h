// SPDX-License-Identifier: BSD-3-Clause
// headers.h - the wire formats that more than one floor reads: Ethernet, 802.1Q, ARP, IP, TCP, UDP.
#pragma once

#include <array>
#include <compare>
#include <cstdint>

#include "base/wire.h"

namespace rp::sw {

struct Mac {
  std::array<std::uint8_t, 6> bytes{};
  /// IEEE 802-2014, 8.2: the I/G bit.
  bool is_group() const noexcept { return bytes[0] & 1; }
  bool is_zero() const noexcept { return value() == 0; }
  /// The address in the low 48 bits, for keys.
  std::uint64_t value() const noexcept {
    // In two loads: one of 8 bytes would wait for the stores of a copy that was just made.
    Be32 high;
    Be16 low;
    std::memcpy(&high, bytes.data(), sizeof high);
    std::memcpy(&low, bytes.data() + sizeof high, sizeof low);
    return std::uint64_t{high.get()} << 16 | low.get();
  }
  auto operator<=>(const Mac&) const = default;
};

inline constexpr Mac kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

/// IEEE 802.1Q-2018, 8.6.3: 01-80-C2-00-00-00 to -0F stay on their link.
inline bool is_link_constrained(const Mac& m) noexcept {
  return m.bytes[0] == 0x01 && m.bytes[1] == 0x80 && m.bytes[2] == 0xc2 && m.bytes[3] == 0 &&
         m.bytes[4] == 0 && (m.bytes[5] & 0xf0) == 0;
}

inline constexpr std::uint16_t kEtherIpv4 = 0x0800;
inline constexpr std::uint16_t kEtherArp = 0x0806;
inline constexpr std::uint16_t kEtherVlan = 0x8100;  ///< IEEE 802.1Q C-tag
inline constexpr std::uint16_t kEtherQinQ = 0x88a8;  ///< IEEE 802.1ad S-tag
inline constexpr std::uint16_t kEtherIpv6 = 0x86dd;

struct EthHeader {
  Mac dst, src;
  Be16 type;
};
static_assert(sizeof(EthHeader) == 14);

struct VlanTag {
  Be16 tci;   ///< PCP 3, DEI 1, VID 12
  Be16 type;  ///< ethertype that follows
};
static_assert(sizeof(VlanTag) == 4);

struct ArpHeader {  // RFC 826, for Ethernet and IPv4
  Be16 htype, ptype;
  std::uint8_t hlen, plen;
  Be16 op;
  Mac sha;
  Be32 spa;
  Mac tha;
  Be32 tpa;
};
static_assert(sizeof(ArpHeader) == 28);

struct Ipv4Header {  // RFC 791
  std::uint8_t version_ihl, tos;
  Be16 total_len, id, frag;
  std::uint8_t ttl, proto;
  Be16 checksum;
  Be32 src, dst;
  unsigned version() const noexcept { return version_ihl >> 4; }
  std::size_t header_len() const noexcept { return (version_ihl & 15u) * 4u; }
};
static_assert(sizeof(Ipv4Header) == 20);

using Ip6Addr = std::array<std::uint8_t, 16>;

struct Ipv6Header {  // RFC 8200
  Be32 version_class_flow;
  Be16 payload_len;
  std::uint8_t next, hop_limit;
  Ip6Addr src, dst;
  unsigned version() const noexcept { return version_class_flow.get() >> 28; }
};
static_assert(sizeof(Ipv6Header) == 40);

struct TcpHeader {  // RFC 9293
  Be16 sport, dport;
  Be32 seq, ack;
  std::uint8_t data_offset, flags;
  Be16 window, checksum, urgent;
  std::size_t header_len() const noexcept { return (data_offset >> 4) * 4u; }
};
static_assert(sizeof(TcpHeader) == 20);

enum TcpFlag : std::uint8_t {
  kTcpFin = 1,
  kTcpSyn = 2,
  kTcpRst = 4,
  kTcpPsh = 8,
  kTcpAck = 16,
  kTcpUrg = 32,
  kTcpEce = 64,
  kTcpCwr = 128
};

struct UdpHeader {  // RFC 768
  Be16 sport, dport, len, checksum;
};
static_assert(sizeof(UdpHeader) == 8);

struct IcmpHeader {  // RFC 792, RFC 4443
  std::uint8_t type, code;
  Be16 checksum;
  Be32 rest;
};
static_assert(sizeof(IcmpHeader) == 8);

inline constexpr std::uint8_t kProtoIcmp = 1;
inline constexpr std::uint8_t kProtoTcp = 6;
inline constexpr std::uint8_t kProtoUdp = 17;
inline constexpr std::uint8_t kProtoIcmp6 = 58;

}  // namespace rp::sw
