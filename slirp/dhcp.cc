// SPDX-License-Identifier: BSD-3-Clause
// dhcp.cc - reading DHCPv4 messages, and telling a guest the MTU, which libslirp does not.
#include "slirp/dhcp.h"

#include "switch/checksum.h"

namespace rp::slirp {
namespace {

constexpr std::uint16_t kServer = 67, kClient = 68;
constexpr std::uint8_t kPad = 0, kInterfaceMtu = 26, kRequestedAddress = 50, kMessageType = 53,
                       kParameterRequestList = 55, kClientId = 61, kEnd = 255;  // RFC 2132
constexpr std::size_t kMaxClientId = 135;  // RFC 4361 6.1 around the largest DUID
constexpr std::uint16_t kFragment = 0x3fff;

/// Where UDP's header begins in a frame to this port; 0: it is another.
std::size_t udp_to(std::span<const std::uint8_t> frame, std::uint16_t port) noexcept {
  constexpr std::size_t kIp = sizeof(sw::EthHeader);
  const auto eth = read_at<sw::EthHeader>(frame, 0);
  const auto ip = read_at<sw::Ipv4Header>(frame, kIp);
  if (!ip || eth->type.get() != sw::kEtherIpv4 || ip->proto != sw::kProtoUdp ||
      (ip->frag.get() & kFragment) != 0)
    return 0;
  const auto udp = read_at<sw::UdpHeader>(frame, kIp + ip->header_len());
  return udp && udp->dport.get() == port ? kIp + ip->header_len() : 0;
}

}  // namespace

std::optional<DhcpOptions> read_dhcp_options(std::span<const std::uint8_t> options) noexcept {
  DhcpOptions found;
  bool type = false, wanted = false, client = false;
  for (auto o = options; !o.empty();) {
    if (o[0] == kEnd) {
      found.end = options.size() - o.size();
      break;
    }
    if (o[0] == kPad) {
      o = o.subspan(1);
      continue;
    }
    if (o.size() < 2 || o[1] > o.size() - 2) return std::nullopt;
    const auto value = o.subspan(2, o[1]);
    if (o[0] == kMessageType) {
      if (type || value.size() != 1) return std::nullopt;
      type = true;
      found.type = static_cast<DhcpType>(value[0]);
    } else if (o[0] == kRequestedAddress) {
      if (wanted || value.size() != 4) return std::nullopt;
      wanted = true;
      found.wanted = read_at<Be32>(value, 0)->get();
    } else if (o[0] == kClientId) {
      if (client || value.size() < 2 || value.size() > kMaxClientId) return std::nullopt;
      client = true;
    } else if (o[0] == kParameterRequestList) {
      found.asks_mtu |= std::find(value.begin(), value.end(), kInterfaceMtu) != value.end();
    }
    o = o.subspan(2 + value.size());
  }
  return found;
}

std::span<const std::uint8_t> with_mtu(std::span<const std::uint8_t> answer,
                                       std::span<const std::uint8_t> request, std::uint16_t mtu,
                                       std::span<std::uint8_t> room) noexcept {
  const std::size_t udp_at = udp_to(answer, kClient);
  if (udp_at == 0 || answer.size() > room.size()) return answer;
  const std::size_t at = udp_at + sizeof(sw::UdpHeader);
  const std::size_t asked_at = udp_to(request, kServer) + sizeof(sw::UdpHeader);
  const auto bootp = read_at<Bootp>(answer, at), asked = read_at<Bootp>(request, asked_at);
  if (asked_at == sizeof(sw::UdpHeader) || !bootp || !asked ||
      bootp->xid.get() != asked->xid.get() || bootp->mac() != asked->mac())
    return answer;
  const auto wish = read_dhcp_options(request.subspan(asked_at + sizeof *asked));
  const auto said = read_dhcp_options(answer.subspan(at + sizeof *bootp));
  if (!wish || !wish->asks_mtu || !said || !said->end) return answer;
  if (said->type != DhcpType::offer && said->type != DhcpType::ack) return answer;

  auto udp = *read_at<sw::UdpHeader>(answer, udp_at);
  const std::uint8_t option[] = {kInterfaceMtu, sizeof mtu, static_cast<std::uint8_t>(mtu >> 8),
                                 static_cast<std::uint8_t>(mtu), kEnd};
  // What follows the end is padding.
  const std::size_t end = at + sizeof *bootp + *said->end, len = udp.len.get();
  if (len > answer.size() - udp_at || end + sizeof option > udp_at + len) return answer;
  const auto changed = room.first(answer.size());
  std::copy(answer.begin(), answer.end(), changed.begin());
  std::copy(std::begin(option), std::end(option),
            changed.begin() + static_cast<std::ptrdiff_t>(end));
  udp.checksum.set(0);
  write_at(changed, udp_at, udp);
  const auto ip = *read_at<sw::Ipv4Header>(changed, sizeof(sw::EthHeader));
  const std::uint16_t checksum = sw::checksum_finish(sw::checksum_add(
      sw::pseudo_sum(ip, sw::kProtoUdp, udp.len.get()), changed.subspan(udp_at, len)));
  udp.checksum.set(checksum != 0 ? checksum : 0xffff);  // RFC 768: 0 means none
  write_at(changed, udp_at, udp);
  return changed;
}

}  // namespace rp::slirp
