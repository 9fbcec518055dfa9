// SPDX-License-Identifier: BSD-3-Clause
// fragments.h - follows IPv4 datagrams that come in fragments; bounded, no clock of its own.
//
// Theory of operation: libslirp reassembles, this only keeps the books, so that what reaches
// libslirp fits together. Both must agree on which datagrams are under way: libslirp drops an
// unfinished one after 60 slow ticks (29.4 s or more after its first fragment), so fragments are
// let through for kAccepts and the book is closed only after kForgets. A datagram that broke a rule
// is dead: what libslirp holds of it must not be completed or overlapped, so nothing more of it is
// let through until then. Only fragments that all count towards a whole datagram free their slot
// early. A datagram's first fragment must come first: libslirp 4.7 as Debian builds it reads its
// list of fragments before it has linked the first one in, takes a lone tail for the whole, and
// writes through what the guest sent. After a fragment with offset 0 any order is safe.
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <memory>

#include "base/time.h"
#include "switch/frame.h"

namespace rp::slirp {

class Fragments {
 public:
  static constexpr std::size_t kAll = 64, kPerPort = 16;
  static constexpr Instant kAccepts = 28s, kForgets = 35s;
  /// libslirp keeps a buffer of a whole MTU per fragment. 65,515 bytes over a link of 576 take 119.
  static constexpr unsigned kMaxPieces = 128;
  /// RFC 791: a total length of 65,535 less the header.
  static constexpr std::uint32_t kMaxPayload = 65535 - sizeof(sw::Ipv4Header);

  struct Key {
    std::uint32_t src, dst;
    std::uint16_t id;
    std::uint8_t proto;
    bool operator==(const Key&) const = default;
  };
  struct Piece {
    std::uint32_t offset, len;
    bool more;
    /// What the L4 header in the first fragment says of the whole; 0: it does not say.
    std::uint32_t claimed = 0;
  };

  Fragments() : slots_(std::make_unique<std::array<Slot, kAll>>()) {}

  /// False: the fragment must not go on.
  bool admit(sw::PortId port, const Key& key, const Piece& piece, Instant now) noexcept;
  /// May libslirp still hold an unfinished datagram?
  bool pending(Instant now) const noexcept;

 private:
  struct Slot {
    bool used = false, dead = false;
    sw::PortId port = sw::kNoPort;
    Key key{};
    Instant born{};
    unsigned pieces = 0;
    std::uint32_t total = 0;    // 0: the last fragment has not come
    std::uint32_t claimed = 0;  // 0: the first fragment has not come, or does not say
    std::uint32_t end = 0;      // of the furthest fragment
    std::uint32_t bytes = 0;
    std::bitset<8192> have;  // by units of 8 bytes, RFC 791 3.2
  };

  Slot* slot_for(sw::PortId port, const Key& key, Instant now) noexcept;
  static bool add(Slot& slot, const Piece& piece) noexcept;

  std::unique_ptr<std::array<Slot, kAll>> slots_;
};

}  // namespace rp::slirp
