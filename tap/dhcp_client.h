// SPDX-License-Identifier: BSD-3-Clause
// dhcp_client.h - asks the network for an IPv4 address on behalf of a device (RFC 2131).
//
// Makes and reads whole frames; sends none itself. It asks again with a growing pause until it has
// a lease, renews that at half of its time, and starts over when it has run out. An address is
// never given back: whoever ends lets the lease run out, as DHCP clients in containers do.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "switch/frame.h"
#include "tap/address.h"

namespace rp::tap {

struct Lease {
  Prefix address;
  std::optional<Ip> gateway;
  std::vector<Ip> dns;
  std::string domain;
  std::chrono::seconds time{};
};

class DhcpClient {
 public:
  /// `mac` is the device's; `id` tells its exchanges from those of others.
  DhcpClient(const sw::Mac& mac, std::uint32_t id) : mac_(mac), id_(id) {}

  /// The frame that is to be sent at `now`, valid until the next call; empty: none is due before
  /// next().
  std::span<const std::uint8_t> due(Instant now) noexcept;
  Instant next() const noexcept { return next_; }
  /// Looks at a frame on its way to the device. True: lease() is another one. May allocate, when a
  /// lease comes.
  bool input(const sw::Frame& frame, Instant now);
  /// An answer may come.
  bool waits() const noexcept { return state_ != State::bound || tries_ > 0; }
  /// Null: none yet.
  const Lease* lease() const noexcept { return lease_ ? &*lease_ : nullptr; }

 private:
  enum class State { discover, request, bound };

  void build(Instant now) noexcept;
  bool offered(std::span<const std::uint8_t> message, Instant now);

  sw::Mac mac_;
  std::uint32_t id_;
  State state_ = State::discover;
  Instant next_{}, expires_{};
  unsigned tries_ = 0;
  std::array<std::uint8_t, 4> wanted_{}, server_{};
  std::optional<Lease> lease_;
  std::array<std::uint8_t, 342> frame_;
  std::size_t frame_len_ = 0;
};

}  // namespace rp::tap
