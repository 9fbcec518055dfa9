// SPDX-License-Identifier: BSD-3-Clause
// tftp_farewell.cc - ends open TFTP transfers as their clients would, before libslirp goes.
//
// slirp_cleanup() of libslirp 4.7 forgets transfers that are still open, and their files with them.
#include <array>
#include <cstring>

#include "slirp/guard_state.h"
#include "switch/checksum.h"

namespace rp::slirp {
namespace {

constexpr std::uint16_t kTftpPort = 69;
constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

struct ErrorMessage {  // RFC 1350, 5: opcode 5, code 0, an empty text
  sw::UdpHeader udp;
  Be16 op, code;
  std::uint8_t text[2];
};
static_assert(sizeof(ErrorMessage) == 14);

template <typename Ip>
struct Farewell {
  sw::EthHeader eth{};
  Ip ip{};
  ErrorMessage message{};
};

ErrorMessage message_from(std::uint16_t client_port) {
  ErrorMessage m{};
  m.udp = {Be16(client_port), Be16(kTftpPort), Be16(sizeof m), Be16(0)};
  m.op.set(5);
  return m;
}

template <typename T>
std::span<const std::uint8_t> bytes_of(const T& v) {
  return {reinterpret_cast<const std::uint8_t*>(&v), sizeof v};
}

}  // namespace

void Guard::end_transfers(const std::function<void(std::span<const std::uint8_t>)>& send) const {
  const GuardConfig& c = state_->config;
  state_->tftp_sessions.each([&](const sw::Ip6Addr& client, std::uint16_t port) {
    if (std::memcmp(client.data(), kMapped, sizeof kMapped) == 0) {
      Farewell<sw::Ipv4Header> f;
      f.eth.type.set(sw::kEtherIpv4);
      f.message = message_from(port);
      f.ip.version_ihl = 0x45;
      f.ip.total_len.set(sizeof f.ip + sizeof f.message);
      f.ip.ttl = 64;
      f.ip.proto = sw::kProtoUdp;
      std::memcpy(&f.ip.src, client.data() + sizeof kMapped, 4);
      f.ip.dst.set(c.gateway);
      f.ip.checksum.set(sw::checksum_finish(sw::checksum_add(0, bytes_of(f.ip))));
      send(bytes_of(f));
      return;
    }
    Farewell<sw::Ipv6Header> f;
    f.eth.type.set(sw::kEtherIpv6);
    f.message = message_from(port);
    f.ip.version_class_flow.set(6u << 28);
    f.ip.payload_len.set(sizeof f.message);
    f.ip.next = sw::kProtoUdp;
    f.ip.hop_limit = 64;
    f.ip.src = client;
    f.ip.dst = c.gateway6;
    const auto pseudo = sw::pseudo_sum(f.ip, sw::kProtoUdp, sizeof f.message);
    f.message.udp.checksum.set(sw::checksum_finish(sw::checksum_add(pseudo, bytes_of(f.message))));
    send(bytes_of(f));
  });
}

}  // namespace rp::slirp
