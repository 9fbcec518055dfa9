// SPDX-License-Identifier: BSD-3-Clause
// dhcp.h - reading DHCPv4 messages, and telling a guest the MTU, which libslirp does not.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "switch/headers.h"

namespace rp::slirp {

struct Bootp {  // RFC 951, RFC 2131 section 2, with the magic cookie of RFC 2132
  std::uint8_t op, htype, hlen, hops;
  Be32 xid;
  Be16 secs, flags;
  Be32 ciaddr, yiaddr, siaddr, giaddr;
  std::uint8_t chaddr[16], sname[64], file[128];
  Be32 magic;
  sw::Mac mac() const noexcept {
    sw::Mac m;
    std::copy_n(chaddr, m.bytes.size(), m.bytes.begin());
    return m;
  }
};
static_assert(sizeof(Bootp) == 240);

enum class DhcpType : std::uint8_t {  // RFC 2132 section 9.6
  none = 0,                           ///< plain BOOTP
  discover = 1,
  offer = 2,
  request = 3,
  decline = 4,
  ack = 5,
  release = 7,
  inform = 8,
};

struct DhcpOptions {
  DhcpType type = DhcpType::none;  ///< option 53
  std::uint32_t wanted = 0;        ///< option 50
  bool asks_mtu = false;           ///< 26 is in option 55
  std::optional<std::size_t> end;  ///< where option 255 is
};
/// Nothing when an option does not fit, or one that matters is malformed or comes twice.
std::optional<DhcpOptions> read_dhcp_options(std::span<const std::uint8_t> options) noexcept;

/// The answer with the interface's MTU in it (RFC 2132 section 5.1), made in `room`, if the request
/// asks for that and libslirp left room for it; else the answer. All are Ethernet frames.
std::span<const std::uint8_t> with_mtu(std::span<const std::uint8_t> answer,
                                       std::span<const std::uint8_t> request, std::uint16_t mtu,
                                       std::span<std::uint8_t> room) noexcept;

}  // namespace rp::slirp
