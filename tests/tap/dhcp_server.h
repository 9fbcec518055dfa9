// SPDX-License-Identifier: BSD-3-Clause
// dhcp_server.h - answers DHCP for tests, written apart from the client: offsets as in RFC 2131.
#pragma once

#include <optional>
#include <string>

#include "switch/frame.h"
#include "tests/tap/network.h"

namespace rp::test {

struct DhcpServer {
  std::array<std::uint8_t, 4> address{10, 0, 5, 77}, gateway{10, 0, 5, 1};
  std::uint8_t length = 24;
  std::uint32_t time = 600;
  std::string domain = "example.org";
  bool refuse = false;
  std::vector<std::uint8_t> asked;  ///< message types, in order

  static constexpr std::size_t kBoot = 14 + 20 + 8;

  /// The value of an option in a frame; empty: none.
  static Bytes option(const Bytes& f, std::uint8_t wanted) {
    for (std::size_t at = kBoot + 240; at + 1 < f.size() && f[at] != 255;) {
      if (f[at] == 0) {
        ++at;
        continue;
      }
      const auto from = f.begin() + static_cast<long>(at) + 2;
      if (f[at] == wanted) return Bytes(from, from + f[at + 1]);
      at += 2u + f[at + 1];
    }
    return {};
  }

  /// The answer to a frame; empty: it wants none.
  Bytes answer(const Bytes& f) {
    if (f.size() < kBoot + 240 || f[12] != 8 || f[13] != 0 || f[23] != 17 || f[37] != 67) return {};
    const Bytes type = option(f, 53);
    EXPECT_EQ(type.size(), 1u);
    if (type.empty()) return {};
    asked.push_back(type[0]);
    if (type[0] != 1 && type[0] != 3) return {};
    return reply(f, type[0] == 1 ? 2 : refuse ? 6 : 5);
  }

  Bytes reply(const Bytes& f, std::uint8_t type) const {
    Bytes r(kBoot + 240);
    for (int i = 0; i < 6; ++i) r[static_cast<std::size_t>(i)] = 0xff;
    const Bytes own{0x02, 0, 0, 0, 0, 0x67};
    std::copy(own.begin(), own.end(), r.begin() + 6);
    r[12] = 8;
    r[14] = 0x45;
    r[22] = 64;
    r[23] = 17;
    std::copy(gateway.begin(), gateway.end(), r.begin() + 26);
    for (std::size_t i = 30; i < 34; ++i) r[i] = 0xff;
    r[35] = 67;
    r[37] = 68;
    r[kBoot] = 2;
    r[kBoot + 1] = 1;
    r[kBoot + 2] = 6;
    std::copy_n(f.begin() + kBoot + 4, 4, r.begin() + kBoot + 4);  // xid
    std::copy(address.begin(), address.end(), r.begin() + kBoot + 16);
    std::copy_n(f.begin() + kBoot + 28, 16, r.begin() + kBoot + 28);  // chaddr
    const Bytes cookie{0x63, 0x82, 0x53, 0x63};
    std::copy(cookie.begin(), cookie.end(), r.begin() + kBoot + 236);
    const auto put = [&](std::uint8_t code, const Bytes& v) {
      r.push_back(code);
      r.push_back(static_cast<std::uint8_t>(v.size()));
      r.insert(r.end(), v.begin(), v.end());
    };
    put(53, {type});
    put(54, Bytes(gateway.begin(), gateway.end()));
    const std::uint32_t mask = length == 0 ? 0 : ~0u << (32 - length);
    put(1, big(mask));
    put(3, Bytes(gateway.begin(), gateway.end()));
    put(6, {10, 0, 5, 3, 10, 0, 5, 4});
    put(15, Bytes(domain.begin(), domain.end()));
    put(51, big(time));
    r.push_back(255);
    const std::size_t udp = r.size() - 34, ip = r.size() - 14;
    r[38] = static_cast<std::uint8_t>(udp >> 8);
    r[39] = static_cast<std::uint8_t>(udp);
    r[16] = static_cast<std::uint8_t>(ip >> 8);
    r[17] = static_cast<std::uint8_t>(ip);
    std::uint32_t sum = 0;
    for (std::size_t i = 14; i < 34; i += 2) sum += r[i] * 256u + r[i + 1];
    while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
    r[24] = static_cast<std::uint8_t>(~sum >> 8);
    r[25] = static_cast<std::uint8_t>(~sum);
    return r;
  }

  static Bytes big(std::uint32_t v) {
    return {static_cast<std::uint8_t>(v >> 24), static_cast<std::uint8_t>(v >> 16),
            static_cast<std::uint8_t>(v >> 8), static_cast<std::uint8_t>(v)};
  }
};

}  // namespace rp::test
