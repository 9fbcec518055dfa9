// SPDX-License-Identifier: BSD-3-Clause
// flow.cc - mixes the words that tell flows apart.
#include "switch/flow.h"

#include <algorithm>

namespace rp::sw {
namespace {

/// FNV-1a over bytes [from, to) of the head, as far as they exist.
std::uint64_t mix(std::uint64_t hash, const Frame& f, std::size_t from, std::size_t to) noexcept {
  for (std::size_t i = from; i < std::min<std::size_t>(to, f.head_len); ++i)
    hash = (hash ^ f.head[i]) * 0x100000001b3;
  return hash;
}

}  // namespace

std::size_t flow_hash(const Frame& f) noexcept {
  std::uint64_t hash = mix(0xcbf29ce484222325, f, 0, 2 * sizeof(Mac));
  std::size_t at = sizeof(EthHeader);
  auto type = read_at<Be16>(f.head_bytes(), at - sizeof(Be16));
  for (int tags = 0; type && tags < 2 && (type->get() == kEtherVlan || type->get() == kEtherQinQ);
       ++tags) {
    at += sizeof(VlanTag);
    type = read_at<Be16>(f.head_bytes(), at - sizeof(Be16));
  }
  if (type && type->get() == kEtherIpv4) {
    const auto ip = read_at<Ipv4Header>(f.head_bytes(), at);
    if (!ip) return hash;
    hash = mix(hash, f, at + 9, at + 10);
    hash = mix(hash, f, at + 12, at + 20);
    // A fragment has no ports but the first: all of a datagram must hash alike.
    if ((ip->frag.get() & 0x3fff) == 0)
      hash = mix(hash, f, at + ip->header_len(), at + ip->header_len() + 4);
  } else if (type && type->get() == kEtherIpv6) {
    const auto ip = read_at<Ipv6Header>(f.head_bytes(), at);
    if (!ip) return hash;
    hash = mix(hash, f, at + 6, at + 7);
    hash = mix(hash, f, at + 8, at + sizeof *ip);
    if (ip->next == kProtoTcp || ip->next == kProtoUdp)
      hash = mix(hash, f, at + sizeof *ip, at + sizeof *ip + 4);
  }
  return hash;
}

}  // namespace rp::sw
