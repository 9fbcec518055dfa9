// SPDX-License-Identifier: BSD-3-Clause
// net_queue.h - virtio-net framing on a device ring: chains to frames, and frames to chains.
//
// Frames are lent straight out of shared memory (header and first bytes by value, see frame.h) and
// written straight into the receiver's buffers, merging several when one is too small
// (VIRTIO_NET_F_MRG_RXBUF, virtio 1.2, 5.1.6.3.1). Which kind of ring lies underneath is decided
// once a burst, not once a frame.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "backend/device_ring.h"
#include "backend/inflight.h"
#include "switch/frame.h"

namespace rp::backend {

struct PackedState;

/// How frames lie in chains (5.1.6).
struct NetFormat {
  std::uint32_t header = 12;  ///< bytes of virtio_net_hdr: 12, or 10 without num_buffers
  bool mergeable = true;      ///< VIRTIO_NET_F_MRG_RXBUF
  bool csum = false;          ///< GUEST_CSUM: marks of checksums may pass to the driver
};

struct QueueSetup {
  RingAddress where;
  RingFeatures features;
  NetFormat format;
  std::optional<std::uint32_t> start = {};  ///< position() to go on from; none: the ring is fresh
  bool packed = false;                      ///< VIRTIO_F_RING_PACKED
  PackedState* state = nullptr;             ///< packed: what outlives this process (packed_ring.h)
  std::uint64_t key = 0;                    ///< packed: of `state`
  InflightRegion inflight = {};  ///< where chains in hand are noted; it outlives the queue
};

class NetQueue {
 public:
  virtual ~NetQueue() = default;
  /// Makes completions visible. True: the driver asked to be notified.
  virtual bool publish() noexcept = 0;
  /// The used index that the driver sees: modulo 2^16; packed, with the wrap counter in bit 15.
  virtual std::uint16_t published() const noexcept = 0;
  /// Asks for a kick on the next buffer. False: there is one already.
  virtual bool enable_notifications() noexcept = 0;
  virtual void disable_notifications() noexcept = 0;
  virtual RingFault fault() const noexcept = 0;
  /// Where another queue over the same ring goes on, between bursts.
  virtual std::uint32_t position() const noexcept = 0;
  /// The ring is stopped for good: what its inflight region said is void, if nothing is in hand.
  virtual void retire() noexcept = 0;
};

/// The queue that a driver sends on.
class FromGuestQueue : public NetQueue {
 public:
  /// Fills the burst with what waits. The chains stay lent until release().
  virtual void lend(sw::Burst& burst) noexcept = 0;
  /// Completes what was lent and publishes it. True: the driver asked to be notified.
  virtual bool release() noexcept = 0;
  /// Completes what waits without looking at it, up to a burst.
  virtual void discard() noexcept = 0;
  /// Chains too short for a header: completed and counted, no frame.
  virtual std::uint64_t short_chains() const noexcept = 0;
};

/// The queue that a driver receives on.
class ToGuestQueue : public NetQueue {
 public:
  /// Writes frames into the driver's buffers, in order, not yet visible. Returns how many had room.
  virtual std::size_t send(std::span<const sw::Frame* const> frames) noexcept = 0;
};

/// A queue over either ring. `memory` must outlive it. Throws Error: the ring's geometry is wrong.
std::unique_ptr<FromGuestQueue> make_from_guest(const GuestMemory& memory, const QueueSetup& setup);
std::unique_ptr<ToGuestQueue> make_to_guest(const GuestMemory& memory, const QueueSetup& setup);

}  // namespace rp::backend
