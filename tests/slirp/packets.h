// SPDX-License-Identifier: BSD-3-Clause
// packets.h - builds Ethernet frames with right lengths and checksums, for tests to spoil.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "switch/headers.h"

namespace rp::test {

using Data = std::vector<std::uint8_t>;

constexpr std::uint32_t ip4(unsigned a, unsigned b, unsigned c, unsigned d) {
  return (a << 24) | (b << 16) | (c << 8) | d;
}

inline sw::Ip6Addr ip6(const char* text) {
  sw::Ip6Addr a{};
  inet_pton(AF_INET6, text, a.data());
  return a;
}

/// 52:54:00:00:00:n, as QEMU's guests have it.
inline sw::Mac guest_mac(std::uint8_t n) {
  return {{0x52, 0x54, 0, 0, 0, n}};
}
inline constexpr sw::Mac kGatewayMac{{0x52, 0x55, 10, 0, 2, 2}};

template <typename T>
void append(Data& to, const T& wire) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(&wire);
  to.insert(to.end(), p, p + sizeof wire);
}

inline void append(Data& to, const Data& more) {
  to.insert(to.end(), more.begin(), more.end());
}

inline Data text(std::string_view s) {
  return Data(s.begin(), s.end());
}

/// RFC 1071, on its own feet: what the code under test uses must not check itself.
inline std::uint16_t naive_checksum(const Data& bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) sum += bytes[i] * (i % 2 ? 1u : 256u);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

inline std::size_t checksum_at(std::uint8_t proto) {
  switch (proto) {
    case sw::kProtoTcp:
      return 16;
    case sw::kProtoUdp:
      return 6;
    default:
      return 2;
  }
}

inline void put16(Data& d, std::size_t at, std::uint16_t v) {
  write_at(std::span(d), at, Be16(v));
}
inline std::uint16_t get16(const Data& d, std::size_t at) {
  return read_at<Be16>(d, at)->get();
}

/// Sets the L4 checksum of `l4` below the pseudo header `pseudo` (empty for ICMPv4).
inline void seal(Data& l4, std::uint8_t proto, Data pseudo) {
  const std::size_t at = checksum_at(proto);
  if (l4.size() < at + 2) return;
  put16(l4, at, 0);
  append(pseudo, l4);
  const std::uint16_t sum = naive_checksum(pseudo);
  put16(l4, at, sum == 0 && proto == sw::kProtoUdp ? 0xffff : sum);
}

inline Data pseudo4(std::uint32_t src, std::uint32_t dst, std::uint8_t proto, std::size_t len) {
  Data p;
  append(p, Be32(src));
  append(p, Be32(dst));
  append(p, Be16(proto));
  append(p, Be16(static_cast<std::uint16_t>(len)));
  return p;
}

inline Data pseudo6(const sw::Ip6Addr& src, const sw::Ip6Addr& dst, std::uint8_t next,
                    std::size_t len) {
  Data p;
  append(p, src);
  append(p, dst);
  append(p, Be32(static_cast<std::uint32_t>(len)));
  append(p, Be32(next));
  return p;
}

inline Data ether(const sw::Mac& src, std::uint16_t type, const Data& payload,
                  const sw::Mac& dst = kGatewayMac) {
  Data f;
  append(f, sw::EthHeader{dst, src, Be16(type)});
  append(f, payload);
  return f;
}

inline Data arp(const sw::Mac& mac, std::uint16_t op, std::uint32_t sender, std::uint32_t target) {
  Data p;
  append(p, sw::ArpHeader{Be16(1), Be16(sw::kEtherIpv4), 6, 4, Be16(op), mac, Be32(sender),
                          sw::Mac{}, Be32(target)});
  return ether(mac, sw::kEtherArp, p, sw::kBroadcast);
}

inline constexpr std::uint16_t kMore = 0x2000;

struct Ip4 {
  std::uint32_t src, dst;
  std::uint8_t ttl = 64;
  std::uint16_t id = 1;
  std::uint16_t frag = 0;  ///< flags, and the offset in units of 8 bytes
};

/// Sets the IPv4 header's checksum anew.
inline void seal_ipv4(Data& frame) {
  put16(frame, 24, 0);
  const std::size_t len = std::min<std::size_t>((frame[14] & 15u) * 4u, frame.size() - 14);
  put16(frame, 24,
        naive_checksum(Data(frame.begin() + 14, frame.begin() + 14 + static_cast<long>(len))));
}

inline Data ipv4(const sw::Mac& mac, const Ip4& ip, std::uint8_t proto, Data l4,
                 const sw::Mac& dst = kGatewayMac) {
  if (ip.frag == 0)
    seal(l4, proto, proto == sw::kProtoIcmp ? Data{} : pseudo4(ip.src, ip.dst, proto, l4.size()));
  Data p;
  append(p, sw::Ipv4Header{0x45, 0, Be16(static_cast<std::uint16_t>(20 + l4.size())), Be16(ip.id),
                           Be16(ip.frag), ip.ttl, proto, Be16(0), Be32(ip.src), Be32(ip.dst)});
  append(p, l4);
  Data frame = ether(mac, sw::kEtherIpv4, p, dst);
  seal_ipv4(frame);
  return frame;
}

inline Data ipv6(const sw::Mac& mac, const sw::Ip6Addr& src, const sw::Ip6Addr& dst,
                 std::uint8_t next, Data l4, std::uint8_t hops = 64) {
  seal(l4, next, pseudo6(src, dst, next, l4.size()));
  Data p;
  append(p, sw::Ipv6Header{Be32(6u << 28), Be16(static_cast<std::uint16_t>(l4.size())), next, hops,
                           src, dst});
  append(p, l4);
  return ether(mac, sw::kEtherIpv6, p);
}

inline Data udp(std::uint16_t from, std::uint16_t to, const Data& payload) {
  Data d;
  append(d, sw::UdpHeader{Be16(from), Be16(to),
                          Be16(static_cast<std::uint16_t>(8 + payload.size())), Be16(0)});
  append(d, payload);
  return d;
}

struct Tcp {
  std::uint16_t from = 40000, to = 80;
  std::uint32_t seq = 1000, ack = 0;
  std::uint8_t flags = sw::kTcpAck;
  std::uint16_t urgent = 0;
  Data options{};  ///< a multiple of 4 bytes
  std::uint16_t window = 65535;
};

inline Data tcp(const Tcp& t, const Data& payload = {}) {
  Data d;
  const auto offset = static_cast<std::uint8_t>(((20 + t.options.size()) / 4) << 4);
  append(d, sw::TcpHeader{Be16(t.from), Be16(t.to), Be32(t.seq), Be32(t.ack), offset, t.flags,
                          Be16(t.window), Be16(0), Be16(t.urgent)});
  append(d, t.options);
  append(d, payload);
  return d;
}

/// ICMP and ICMPv6 alike: type, code, checksum, then `rest`.
inline Data icmp(std::uint8_t type, const Data& rest, std::uint8_t code = 0) {
  Data d{type, code, 0, 0};
  append(d, rest);
  return d;
}

/// A neighbour solicitation or advertisement; `options` follow the target.
inline Data neighbor(std::uint8_t type, const sw::Ip6Addr& target, const Data& options = {},
                     std::uint8_t flags = 0) {
  Data rest{flags, 0, 0, 0};
  append(rest, target);
  append(rest, options);
  return icmp(type, rest);
}

inline Data link_layer_option(std::uint8_t type, const sw::Mac& mac) {
  Data o{type, 1};
  append(o, mac);
  return o;
}

struct Dhcp {
  std::uint8_t op = 1, htype = 1, hlen = 6;
  sw::Mac client;
  std::uint32_t ciaddr = 0, yiaddr = 0;
  Data options{};  ///< after the magic cookie
};

/// BOOTP fields and options, without UDP (RFC 2131, section 2).
inline Data dhcp(const Dhcp& d) {
  Data p{d.op, d.htype, d.hlen, 0, 1, 2, 3, 4, 0, 0, 0, 0};
  append(p, Be32(d.ciaddr));
  append(p, Be32(d.yiaddr));
  p.resize(28);
  append(p, d.client);
  p.resize(236);
  append(p, Be32(0x63825363));
  append(p, d.options);
  return p;
}

/// Options 53 and, when not 0, 50, and the end.
inline Data dhcp_options(std::uint8_t type, std::uint32_t wanted = 0) {
  Data o{53, 1, type};
  if (wanted) {
    o.insert(o.end(), {50, 4});
    append(o, Be32(wanted));
  }
  o.push_back(255);
  return o;
}

}  // namespace rp::test
