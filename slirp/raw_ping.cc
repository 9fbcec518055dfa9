// SPDX-License-Identifier: BSD-3-Clause
// raw_ping.cc - connects the socket and attaches a classic BPF filter.
#include "slirp/raw_ping.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "switch/headers.h"

namespace rp::slirp {

void narrow_raw_ping(int fd, std::span<const std::uint8_t> frame) noexcept {
  int type = 0;
  socklen_t len = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) != 0 || type != SOCK_RAW) return;
  const auto ip = read_at<sw::Ipv4Header>(frame, sizeof(sw::EthHeader));
  const auto icmp = read_at<sw::IcmpHeader>(frame, sizeof(sw::EthHeader) + sizeof(sw::Ipv4Header));
  // Without a request to compare with, nothing may come in at all.
  const std::uint32_t id = ip && icmp ? icmp->rest.get() >> 16 : 0;
  const std::uint32_t verdict = ip && icmp ? 0xffff : 0;
  // X = IP header length; accept echo replies (type 0) with our identifier (RFC 792).
  sock_filter code[] = {
      BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
      BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
      BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, id, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, verdict),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program{std::size(code), code};
  setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
  if (!ip) return;
  sockaddr_in peer{};
  peer.sin_family = AF_INET;
  std::memcpy(&peer.sin_addr, &ip->dst, sizeof peer.sin_addr);
  connect(fd, reinterpret_cast<sockaddr*>(&peer), sizeof peer);
}

}  // namespace rp::slirp
