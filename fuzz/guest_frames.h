// SPDX-License-Identifier: BSD-3-Clause
// guest_frames.h - what a guest behind the NAT may say, rightly or not, and a naive second look at
// what passes on either side.
#pragma once

#include <string>

#include "fuzz/harness.h"
#include "slirp/guard.h"
#include "tests/slirp/packets.h"

namespace rp::fuzz {

using test::Data;

inline constexpr std::uint32_t kGateway = test::ip4(10, 0, 2, 2), kGuest = test::ip4(10, 0, 2, 15);

/// What the guest has heard of its TCP connection, so that it can go on with it.
struct Conversation {
  std::uint32_t seq = 1000, ack = 0;
};

inline std::uint32_t any_ipv4(Input& in) {
  static constexpr std::uint32_t kSome[] = {
      kGateway,
      test::ip4(10, 0, 2, 3),
      kGuest,
      test::ip4(10, 0, 2, 16),
      test::ip4(10, 0, 2, 255),
      test::ip4(192, 0, 2, 1),
      test::ip4(127, 0, 0, 1),
      test::ip4(169, 254, 169, 254),
      test::ip4(224, 0, 0, 1),
      0,
      0xffffffff,
  };
  return kSome[in.below(std::size(kSome))];
}
inline sw::Ip6Addr any_ipv6(Input& in) {
  static constexpr const char* kSome[] = {"fec0::2", "fec0::3",     "fec0::15",  "fec0::16",
                                          "fe80::2", "::",          "ff02::1",   "ff02::2",
                                          "::1",     "2001:db8::1", "ff02::1:2", "ff02::1:ff00:2"};
  return test::ip6(kSome[in.below(std::size(kSome))]);
}

inline Data any_tcp(Input& in, const Conversation& c) {
  static constexpr std::uint8_t kFlags[] = {sw::kTcpSyn, sw::kTcpAck, sw::kTcpAck | sw::kTcpPsh,
                                            sw::kTcpAck | sw::kTcpFin, sw::kTcpRst};
  static const Data kOptions[] = {{}, {2, 4, 5, 180}, {2, 4, 0, 0}, {1, 1, 1, 0}, {2, 9, 0, 0}};
  const unsigned how = in.byte();
  test::Tcp t;
  t.from = static_cast<std::uint16_t>(40000 + (how & 3));
  t.to = how & 4 ? std::uint16_t{in.byte()} : std::uint16_t{80};
  t.seq = c.seq + (how & 8 ? in.u32() : 0);
  t.ack = c.ack + (how & 16 ? in.u32() : 0);
  t.flags = how & 32 ? in.byte() : kFlags[in.below(std::size(kFlags))];
  t.urgent = how & 64 ? in.u16() : std::uint16_t{0};
  t.options = kOptions[in.below(std::size(kOptions))];
  if (how & 128) t.window = in.u16();
  return test::tcp(t, Data(in.byte() * 4u, 'x'));
}

inline Data any_udp(Input& in) {
  static constexpr std::uint16_t kPorts[] = {53, 67, 68, 69, 546, 547, 7, 1000, 5353};
  const std::uint16_t from = kPorts[in.below(std::size(kPorts))];
  const std::uint16_t to = kPorts[in.below(std::size(kPorts))];
  switch (to) {
    case 67: {
      Data options =
          in.flag() ? test::dhcp_options(in.byte() & 15, any_ipv4(in)) : Data(in.bytes(in.byte()));
      if (in.flag()) options.push_back(255);
      return test::udp(
          68, 67, test::dhcp({.client = test::guest_mac(in.flag() ? 1 : 2), .options = options}));
    }
    case 69: {
      Data request{0, static_cast<std::uint8_t>(in.below(7))};
      const std::string name = in.text(in.byte() % 32);
      request.insert(request.end(), name.begin(), name.end());
      test::append(request, test::text({"\0octet\0tsize\0000\0", 15}));
      test::append(request, Data(in.bytes(in.byte() % 32)));
      return test::udp(in.flag() ? 2000 : from, 69, request);
    }
    default:
      return test::udp(from, to, in.bytes(in.byte()));
  }
}

/// One frame of guest 1 or 2, its checksums right unless it was spoilt after that.
inline Data any_frame(Input& in, const Conversation& c) {
  const unsigned kind = in.byte();
  const auto mac = test::guest_mac(kind & 0x80 ? 2 : 1);
  Data f;
  switch (kind % 10) {
    case 0:
      f = test::arp(mac, in.byte() % 4, in.flag() ? kGuest : any_ipv4(in), any_ipv4(in));
      break;
    case 1:
    case 2:
      f = test::ipv4(mac, {kGuest, in.flag() ? kGateway : any_ipv4(in)}, sw::kProtoTcp,
                     any_tcp(in, c));
      break;
    case 3:
      f = test::ipv4(mac, {in.flag() ? kGuest : any_ipv4(in), any_ipv4(in)}, sw::kProtoUdp,
                     any_udp(in));
      break;
    case 4:
      f = test::ipv4(
          mac, {kGuest, any_ipv4(in), in.byte()}, sw::kProtoIcmp,
          test::icmp(in.flag() ? 8 : in.byte(), Data(in.bytes(in.byte())), in.byte() % 2));
      break;
    case 5: {
      test::Ip4 ip{kGuest, any_ipv4(in), 64, in.byte(), in.u16()};
      if (ip.frag == 0) ip.frag = test::kMore;
      f = test::ipv4(mac, ip, in.flag() ? sw::kProtoUdp : in.byte(), Data(in.byte() * 8u, 'f'));
      break;
    }
    case 6:
      f = test::ipv6(mac, any_ipv6(in), any_ipv6(in), sw::kProtoIcmp6,
                     test::neighbor(static_cast<std::uint8_t>(133 + in.below(5)), any_ipv6(in),
                                    in.bytes(in.byte() % 40), in.byte()),
                     in.flag() ? 255 : in.byte());
      break;
    case 7: {
      const std::uint8_t next = in.flag() ? sw::kProtoTcp : sw::kProtoUdp;
      f = test::ipv6(mac, test::ip6("fec0::15"), any_ipv6(in), next,
                     next == sw::kProtoTcp ? any_tcp(in, c) : any_udp(in));
      break;
    }
    case 8:
      f = test::ipv6(mac, any_ipv6(in), any_ipv6(in), in.byte(), in.bytes(in.byte()), in.byte());
      break;
    default:
      f = in.bytes(in.byte());
  }
  for (unsigned pokes = kind / 10 % 4; pokes > 0 && !f.empty(); --pokes)
    f[std::min<std::size_t>(in.byte(), f.size() - 1)] = in.byte();
  if ((kind & 0x70) == 0x70) f.resize(in.u16() % 2000, 0xee);
  if ((kind & 0x60) == 0x20 && f.size() > 34 && test::get16(f, 12) == sw::kEtherIpv4)
    test::seal_ipv4(f);
  return f;
}

/// Lengths and header checksums of an Ethernet frame, read by hand. Returns where L4 begins; 0: it
/// is no IP packet, or not the first of its fragments.
inline std::size_t check_lengths(const Data& f) {
  RP_CHECK(f.size() >= 14 && (f[6] & 1) == 0);
  const unsigned type = test::get16(f, 12);
  if (type == sw::kEtherArp) {
    RP_CHECK(f.size() >= 42 && f[18] == 6 && f[19] == 4);
    return 0;
  }
  RP_CHECK(type == sw::kEtherIpv4 || type == sw::kEtherIpv6);
  const bool v4 = type == sw::kEtherIpv4;
  const std::size_t l4 = v4 ? 34 : 54;
  RP_CHECK(f.size() >= l4);
  if (v4) {
    RP_CHECK(f[14] == 0x45 && test::get16(f, 16) == f.size() - 14);
    RP_CHECK(test::naive_checksum(Data(f.begin() + 14, f.begin() + 34)) == 0);
    if (test::get16(f, 20) & 0x3fff) return 0;
  } else {
    RP_CHECK(f[14] >> 4 == 6 && test::get16(f, 18) == f.size() - 54);
  }
  const unsigned proto = v4 ? f[23] : f[20];
  const std::size_t len = f.size() - l4;
  RP_CHECK(len >= 8);
  if (proto == sw::kProtoTcp)
    RP_CHECK(len >= 20 && f[l4 + 12] >> 4 >= 5 && (f[l4 + 12] >> 4) * 4u <= len);
  else if (proto == sw::kProtoUdp)
    RP_CHECK(test::get16(f, l4 + 4) == len);
  else
    RP_CHECK(proto == (v4 ? sw::kProtoIcmp : sw::kProtoIcmp6));
  return l4;
}

}  // namespace rp::fuzz
