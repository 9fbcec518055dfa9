// SPDX-License-Identifier: BSD-3-Clause
// loop_guard.h - finds two ports that lead to each other, from the addresses that flap between
// them.
//
// Theory of operation: frames that circle make addresses move, so many moves in a few seconds
// raise a suspicion, and only then every port sends a probe: a frame to a group address of our own
// with the port's id and its secret. Other switches flood it. One of ours that comes in by another
// port proves that the two are one network by two ways; the younger of them is held back, until the
// older one goes, or a probe no longer comes home. Those that came in by a door count as younger
// than those that did not. As a port is held back only for what comes in by itself, and only by the
// secret of an older one, a guest can hold back nobody but itself and who helps it. Both
// ends of two cables see the loop, and would each hold back a cable, maybe not the same. So the
// first round of probes only tells who else is there, and while a switch of a lower id probes too,
// we leave it to that one; for two seconds, should it not do it. Not found: loops of a hub, which
// has no addresses, and those through VLANs that carry no frames without a tag.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/time.h"
#include "switch/frame.h"

namespace rp::sw {

/// A locally administered group (IEEE 802-2014, 8.4) and the first local experimental type (9.2.3).
inline constexpr Mac kProbeAddress{{0x03, 0x72, 0x70, 0x6c, 0x6f, 0x70}};
inline constexpr std::uint16_t kProbeType = 0x88b5;

class LoopGuard {
 public:
  /// Draws its id. Throws Error.
  LoopGuard();

  /// A number that nobody can guess. Throws Error.
  static std::uint64_t draw();

  /// What a probe says.
  struct Probe {
    std::uint64_t sender;  ///< the switch
    PortId port;
    std::uint64_t secret;  ///< of that port
  };
  std::uint64_t id() const noexcept { return id_; }

  /// An address moved.
  void moved(Instant now) noexcept;
  /// It is time for a round of probes.
  bool wants_probes(Instant now) noexcept;
  /// The port's probe, in a buffer that the next call writes anew.
  const Frame& write(PortId port, std::uint64_t secret) noexcept;
  /// What a frame says; nothing: it is no probe.
  static std::optional<Probe> read(const Frame& f) noexcept;

  /// A probe of another switch came in.
  void heard_of(std::uint64_t other, Instant now) noexcept;
  /// A probe of ours came in by a younger port than it went out by. True: that is ours to hold
  /// back.
  bool proves(Instant now) noexcept;

  /// How long a port is held back before it is probed again, and how long that may take.
  static constexpr Instant kHold = 10s, kReply = 500ms;

 private:
  static constexpr std::size_t kSize = 60;

  std::uint64_t id_;
  Instant since_{};  ///< when the moves began to be counted
  unsigned moves_ = 0;
  Instant probed_{};  ///< the last round
  Instant pause_{};   ///< until the next
  Instant first_{};   ///< the first of these rounds
  Instant rival_{};   ///< when a switch of a lower id was heard
  Instant left_to_it_{};
  std::array<std::uint8_t, kSize> bytes_{};
  Frame frame_;
};

}  // namespace rp::sw
