// SPDX-License-Identifier: BSD-3-Clause
// loop_guard.cc - counting moves, the probes, and whose turn it is to act.
#include "switch/loop_guard.h"

#include <sys/random.h>

#include <algorithm>

#include "base/error.h"

namespace rp::sw {
namespace {

/// So many moves within that time are worth a look. A guest that changes its host is one; and a
/// switch that keeps addresses from moving lets frames circle but slowly.
constexpr unsigned kSuspicious = 8;
constexpr Instant kCounted = 5s;
/// For so long rounds of probes go on: frames may circle one way only, and move nothing then.
constexpr Instant kSuspected = 8s;
/// Between two rounds of probes: at least as long as frames take to the farthest switch and back,
/// and longer when nothing came of them, as who only pretends to move must cost little.
constexpr Instant kBetween = 50ms, kSeldom = 1s;
/// Rounds that follow each other so are about one loop.
constexpr Instant kTogether = 5s;
/// How long a switch of a lower id may take.
constexpr Instant kPatience = 2s;

constexpr std::uint64_t kMagic = 0x72706c6f6f702031;  // "rploop 1"

struct ProbeFrame {
  EthHeader ethernet;
  Be64 magic, sender;
  Be32 port;
  Be64 secret;
};
static_assert(sizeof(ProbeFrame) == 42);

}  // namespace

std::uint64_t LoopGuard::draw() {
  std::uint64_t n;
  if (getrandom(&n, sizeof n, 0) != sizeof n)
    throw Error(Errc::system, "no random number for the loop guard");
  return n;
}

LoopGuard::LoopGuard() : id_(draw()) {}

void LoopGuard::moved(Instant now) noexcept {
  if (now - since_ > kCounted) {
    since_ = now;
    moves_ = 0;
  }
  ++moves_;
}

bool LoopGuard::wants_probes(Instant now) noexcept {
  if (moves_ < kSuspicious || now - since_ > kSuspected) return false;
  if (probed_ == Instant{} || now - probed_ > kTogether) {
    first_ = now;
    pause_ = kBetween;
  } else if (now - probed_ < pause_) {
    return false;
  } else if (now - first_ > kBetween * 10) {
    pause_ = std::min(2 * pause_, kSeldom);
  }
  probed_ = now;
  return true;
}

const Frame& LoopGuard::write(PortId port, std::uint64_t secret) noexcept {
  // From an address of the port's own, locally administered: no station's moves, nor does it
  // itself, which a switch with a hold time would take no frames from.
  Mac from{{0x02}};
  for (unsigned i = 1; i < 6; ++i) from.bytes[i] = static_cast<std::uint8_t>(secret >> (8 * i));
  const ProbeFrame probe{
      {kProbeAddress, from, Be16(kProbeType)}, Be64(kMagic), Be64(id_), Be32(port), Be64(secret)};
  write_at(bytes_, 0, probe);
  Part unused;
  make_frame(frame_, unused, bytes_);
  return frame_;
}

std::optional<LoopGuard::Probe> LoopGuard::read(const Frame& f) noexcept {
  const auto p = read_at<ProbeFrame>(f.head_bytes(), 0);
  if (!p || p->ethernet.dst != kProbeAddress || p->ethernet.type.get() != kProbeType ||
      p->magic.get() != kMagic)
    return std::nullopt;
  return Probe{p->sender.get(), p->port.get(), p->secret.get()};
}

void LoopGuard::heard_of(std::uint64_t other, Instant now) noexcept {
  if (other < id_) rival_ = now;
}

bool LoopGuard::proves(Instant now) noexcept {
  if (first_ == probed_) return false;  // the first round: others may not have probed yet
  if (rival_ == Instant{} || now - rival_ > kTogether) return true;
  if (left_to_it_ == Instant{} || now - left_to_it_ > kHold) left_to_it_ = now;
  return now - left_to_it_ > kPatience;
}

}  // namespace rp::sw
