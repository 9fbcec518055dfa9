// SPDX-License-Identifier: BSD-3-Clause
// guard_fixture.h - a guard for the default network, and shorthand for judging frames.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "slirp/guard.h"
#include "tests/slirp/packets.h"

namespace rp::test {

using slirp::Guard;
using slirp::GuardConfig;
using slirp::Refusal;

inline constexpr std::uint32_t kGateway = ip4(10, 0, 2, 2), kDns = ip4(10, 0, 2, 3);
inline constexpr std::uint32_t kGuest = ip4(10, 0, 2, 15), kOther = ip4(10, 0, 2, 16);
inline constexpr std::uint32_t kFar = ip4(192, 0, 2, 1), kAll = 0xffffffff;

inline GuardConfig default_config() {
  GuardConfig c;
  c.net = ip4(10, 0, 2, 0);
  c.mask = ip4(255, 255, 255, 0);
  c.gateway = kGateway;
  c.dns = kDns;
  c.prefix6 = ip6("fec0::");
  c.gateway6 = ip6("fec0::2");
  c.dns6 = ip6("fec0::3");
  return c;
}

class GuardTest : public ::testing::Test {
 protected:
  explicit GuardTest(const GuardConfig& c = default_config()) : guard(c) {}

  /// Judges a copy; what was let through is kept in `out`.
  Refusal judge(Data frame, sw::PortId port = 1) {
    std::span<std::uint8_t> span(frame);
    const Refusal r = guard.check(span, port, now);
    out.assign(span.begin(), span.end());
    return r;
  }
  /// From guest 1, 10.0.2.15.
  Refusal judge4(std::uint8_t proto, const Data& l4, std::uint32_t dst = kFar) {
    return judge(ipv4(guest_mac(1), {kGuest, dst}, proto, l4));
  }
  Refusal judge6(std::uint8_t next, const Data& l4, const char* dst = "fec0::2",
                 const char* src = "fec0::15", std::uint8_t hops = 255) {
    return judge(ipv6(guest_mac(1), ip6(src), ip6(dst), next, l4, hops));
  }
  bool from_nat(const Data& frame) { return guard.from_nat(frame, now).sound; }

  Guard guard;
  Instant now{1s};
  Data out;
};

}  // namespace rp::test
