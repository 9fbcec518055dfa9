// SPDX-License-Identifier: BSD-3-Clause
// mini_guest.h - a tiny guest IP stack: ARP, NDP, DHCP, ICMP echo, UDP and TCP.
//
// It knows no port and no clock: take() is given frames, outbox holds what it wants to send. What
// comes in is checked for its checksums; what does not fit is counted in `broken`.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "slirp/owners.h"
#include "switch/frame.h"
#include "tests/slirp/mini_tcp.h"
#include "tests/slirp/packets.h"

namespace rp::test {

using slirp::mapped;

inline bool is_v4(const sw::Ip6Addr& a) {
  return std::all_of(a.begin(), a.begin() + 10, [](auto b) { return b == 0; }) && a[10] == 0xff;
}
inline std::uint32_t v4_of(const sw::Ip6Addr& a) {
  return read_at<Be32>(std::span<const std::uint8_t>(a), 12)->get();
}

class Guest {
 public:
  static constexpr std::uint16_t kFirstPort = 40000;

  Guest(sw::PortId id, std::uint8_t n) : port(id), mac(guest_mac(n)), ip6(ip6_of(n)) {}

  struct Datagram {
    sw::Ip6Addr from;
    std::uint16_t from_port, to_port;
    Data payload;
  };
  struct Message {  ///< ICMP, not ICMPv6
    sw::Ip6Addr from;
    Data bytes;
  };

  const sw::PortId port;
  const sw::Mac mac;
  const sw::Ip6Addr ip6;
  bool asks_mtu = false;  ///< by DHCP
  std::uint32_t ip = 0;   ///< set by DHCP
  std::uint16_t mtu = 0;  ///< as told by DHCP
  std::deque<Data> outbox;
  std::vector<Datagram> datagrams;
  std::vector<Message> messages;
  std::vector<std::uint16_t> listening;
  std::vector<TcpConn*> accepted;
  std::size_t mss = 1460;              ///< of connections to come
  std::size_t most = ~std::size_t{0};  ///< what its card takes, bytes; longer frames are lost
  std::size_t frames = 0, broken = 0, arps_answered = 0;
  std::function<void(const Data&)> watch;  ///< sees every frame that comes in

  void send(Data frame) { outbox.push_back(std::move(frame)); }
  void send_l4(const sw::Ip6Addr& to, std::uint8_t proto, const Data& l4) {
    if (is_v4(to))
      send(ipv4(mac, {ip, v4_of(to), 64, ++ip_id_}, proto, l4));
    else
      send(ipv6(mac, ip6, to, proto, l4));
  }

  void ask_lease() { send_dhcp(dhcp_options(1), 0); }
  /// Tells the gateway who we are, as any stack does before it talks.
  void announce() {
    send(arp(mac, 1, ip, ip4(10, 0, 2, 2)));
    send(ipv6(mac, ip6, test::ip6("fec0::2"), sw::kProtoIcmp6,
              neighbor(135, test::ip6("fec0::2"), link_layer_option(1, mac)), 255));
  }

  TcpConn& connect(const sw::Ip6Addr& to, std::uint16_t to_port, std::uint32_t first_seq = 1000) {
    TcpConn& c = add_conn(to, next_port_++, to_port, first_seq);
    c.connect();
    return c;
  }
  TcpConn& connect(std::uint32_t to, std::uint16_t to_port, std::uint32_t first_seq = 1000) {
    return connect(mapped(to), to_port, first_seq);
  }
  void send_udp(std::uint32_t to, std::uint16_t from_port, std::uint16_t to_port,
                const Data& payload) {
    send_l4(mapped(to), sw::kProtoUdp, udp(from_port, to_port, payload));
  }
  void ping(std::uint32_t to, std::uint16_t id, std::uint16_t seq, const Data& payload) {
    Data rest;
    append(rest, Be16(id));
    append(rest, Be16(seq));
    append(rest, payload);
    send_l4(mapped(to), sw::kProtoIcmp, icmp(8, rest));
  }

  void take(const Data& frame) {
    if (frame.size() > most) return;
    ++frames;
    if (watch) watch(frame);
    switch (get16(frame, 12)) {
      case sw::kEtherArp:
        return take_arp(frame);
      case sw::kEtherIpv4:
        return take_ipv4(frame);
      case sw::kEtherIpv6:
        return take_ipv6(frame);
      default:
        ++broken;
    }
  }

 private:
  struct Conn {
    sw::Ip6Addr peer;
    std::unique_ptr<TcpConn> tcp;
  };

  static sw::Ip6Addr ip6_of(std::uint8_t n) {
    sw::Ip6Addr a = test::ip6("fec0::100");
    a[15] = n;  // fec0::101 is the first guest's
    return a;
  }

  void send_dhcp(const Data& options, std::uint32_t client) {
    Dhcp d;
    d.client = mac;
    d.ciaddr = client;
    d.options = options;
    if (asks_mtu) d.options.insert(d.options.begin(), {55, 4, 1, 3, 26, 6});
    const Data l4 = udp(68, 67, dhcp(d));
    send(ipv4(mac, {0, 0xffffffff}, sw::kProtoUdp, l4, sw::kBroadcast));
  }

  TcpConn& add_conn(const sw::Ip6Addr& peer, std::uint16_t local, std::uint16_t remote,
                    std::uint32_t first_seq) {
    auto conn = std::make_unique<TcpConn>(
        [this, peer](const Tcp& t, const Data& payload) {
          send_l4(peer, sw::kProtoTcp, tcp(t, payload));
        },
        local, remote, first_seq);
    TcpConn& c = *conn;
    c.mss = is_v4(peer) ? mss : mss - 20;
    conns_.push_back({peer, std::move(conn)});
    return c;
  }

  void take_arp(const Data& frame) {
    const auto a = read_at<sw::ArpHeader>(frame, 14);
    if (!a || a->op.get() != 1 || a->tpa.get() != ip || ip == 0) return;
    ++arps_answered;
    send(arp(mac, 2, ip, a->spa.get()));
  }

  void take_ipv4(const Data& frame) {
    const auto h = read_at<sw::Ipv4Header>(frame, 14);
    if (!h || h->total_len.get() + 14u > frame.size()) {
      ++broken;
      return;
    }
    const Data header(frame.begin() + 14, frame.begin() + 34);
    const Data l4(frame.begin() + 34, frame.begin() + 14 + h->total_len.get());
    const bool whole = (h->frag.get() & 0x3fff) == 0;
    const Data pseudo = h->proto == sw::kProtoIcmp
                            ? Data{}
                            : pseudo4(h->src.get(), h->dst.get(), h->proto, l4.size());
    if (naive_checksum(header) != 0 || (whole && !sound(l4, h->proto, pseudo))) ++broken;
    if (whole) take_l4(mapped(h->src.get()), h->proto, l4);
  }

  void take_ipv6(const Data& frame) {
    const auto h = read_at<sw::Ipv6Header>(frame, 14);
    if (!h || h->payload_len.get() + 54u > frame.size()) {
      ++broken;
      return;
    }
    const Data l4(frame.begin() + 54, frame.begin() + 54 + h->payload_len.get());
    if (!sound(l4, h->next, pseudo6(h->src, h->dst, h->next, l4.size()))) ++broken;
    if (h->next == sw::kProtoIcmp6 && l4.size() >= 24 && l4[0] == 135)
      answer_solicitation(*h, l4);
    else
      take_l4(h->src, h->next, l4);
  }

  void answer_solicitation(const sw::Ipv6Header& h, const Data& l4) {
    if (!std::equal(ip6.begin(), ip6.end(), l4.begin() + 8)) return;
    const Data answer = neighbor(136, ip6, link_layer_option(2, mac), 0x60);
    send(ipv6(mac, ip6, h.src, sw::kProtoIcmp6, answer, 255));
  }

  static bool sound(const Data& l4, std::uint8_t proto, Data pseudo) {
    if (proto == sw::kProtoUdp && l4.size() >= 8 && get16(l4, 6) == 0) return true;
    append(pseudo, l4);
    return naive_checksum(pseudo) == 0;
  }

  void take_l4(const sw::Ip6Addr& from, std::uint8_t proto, const Data& l4) {
    if (proto == sw::kProtoTcp) return take_tcp(from, l4);
    if (proto == sw::kProtoUdp) return take_udp(from, l4);
    if (proto == sw::kProtoIcmp) messages.push_back({from, l4});
  }

  void take_udp(const sw::Ip6Addr& from, const Data& l4) {
    const auto u = read_at<sw::UdpHeader>(l4, 0);
    if (!u) return;
    Datagram d{from, u->sport.get(), u->dport.get(), Data(l4.begin() + 8, l4.end())};
    if (d.to_port == 68 && d.payload.size() > 243) return take_dhcp(d.payload);
    datagrams.push_back(std::move(d));
  }

  void take_dhcp(const Data& bootp) {
    if (!std::equal(mac.bytes.begin(), mac.bytes.end(), bootp.begin() + 28)) return;
    const std::uint32_t yours = read_at<Be32>(bootp, 16)->get();
    if (bootp[240] != 53) return;
    if (bootp[242] == 2) send_dhcp(dhcp_options(3, yours), 0);
    if (bootp[242] == 5) ip = yours;
    mtu = 0;
    for (std::size_t at = 240; at + 1 < bootp.size() && bootp[at] != 255; at += 2u + bootp[at + 1])
      if (bootp[at] == 26) mtu = get16(bootp, at + 2);
  }

  void take_tcp(const sw::Ip6Addr& from, const Data& l4) {
    const auto t = read_at<sw::TcpHeader>(l4, 0);
    if (!t || t->header_len() > l4.size()) return;
    const auto payload = std::span<const std::uint8_t>(l4).subspan(t->header_len());
    for (auto c = conns_.rbegin(); c != conns_.rend(); ++c) {
      if (c->peer == from && c->tcp->local() == t->dport.get() &&
          c->tcp->remote() == t->sport.get())
        return c->tcp->take(*t, payload);
    }
    const bool open = std::count(listening.begin(), listening.end(), t->dport.get()) > 0;
    if (!open || !(t->flags & sw::kTcpSyn)) return;
    TcpConn& c = add_conn(from, t->dport.get(), t->sport.get(), 5000);
    c.accept(*t);
    accepted.push_back(&c);
  }

  std::deque<Conn> conns_;
  std::uint16_t next_port_ = kFirstPort, ip_id_ = 0;
};

}  // namespace rp::test
