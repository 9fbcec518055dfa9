// SPDX-License-Identifier: BSD-3-Clause
// virtqueue.h - one virtqueue as a front end set it up, and the queue that runs on it.
//
// A virtqueue runs from its kick descriptor until GET_VRING_BASE, and carries frames while it is
// enabled (vhost-user specification, "Ring states"). It can be set up anew while it runs: the
// queue then goes on where the last one stopped.
#pragma once

#include <memory>
#include <optional>

#include "backend/net_queue.h"
#include "backend/packed_ring.h"
#include "backend/vhost_user/protocol.h"
#include "base/event_signal.h"
#include "base/fd.h"

namespace rp::backend::vhost_user {

class Virtqueue {
 public:
  /// virtio 1.2, 5.1.2: even queues are the driver's to receive, odd ones to send.
  /// Kick descriptors are watched, edge-triggered, in the epoll descriptor `kicks`; the front end's
  /// descriptors are signalled by `signal`.
  Virtqueue(bool to_driver, int kicks, EventSignal& signal) noexcept
      : to_driver_(to_driver), kicks_(kicks), signal_(signal) {}
  Virtqueue(Virtqueue&&) = default;
  ~Virtqueue() { unwatch(); }

  bool set_size(std::uint32_t entries) noexcept;
  bool set_base(std::uint32_t base) noexcept;
  void set_addresses(const VringAddr& where) noexcept;
  /// Starts the ring. False: the descriptor can't be watched. None (-1): the ring is to be polled.
  bool set_kick(Fd fd) noexcept;
  void set_call(Fd fd) noexcept { call_ = std::move(fd); }
  void set_err(Fd fd) noexcept { err_ = std::move(fd); }
  void enable(bool on) noexcept { enabled_ = on; }

  /// Where a packed ring keeps what a successor of this process needs; null: nowhere.
  void keep_state(PackedState* state) noexcept { state_ = state; }
  /// Where the front end wants chains in hand to be noted; null: nowhere. For the next start().
  void note_in(const InflightRegion& region) noexcept { inflight_ = region; }
  /// Makes the queue, if it is set up, over this memory, which `key` tells from any other. Throws
  /// Error; no queue runs then.
  void start(const GuestMemory& memory, std::uint64_t features, std::uint64_t key);
  /// Forgets the queue, before its memory goes; start() goes on with it.
  void pause() noexcept;
  /// Ends the ring and tells where it stopped. The error descriptor stays: front ends say it once,
  /// not at every start.
  std::uint32_t stop() noexcept;
  /// The front end is gone: as it was before, but for the state of a packed ring.
  void forget() noexcept;

  bool started() const noexcept { return started_; }
  bool runs() const noexcept { return queue_ != nullptr; }
  /// Null: it does not run, or not in that direction.
  FromGuestQueue* from_guest() const noexcept { return from_guest_.get(); }
  ToGuestQueue* to_guest() const noexcept { return to_guest_.get(); }
  NetQueue* queue() const noexcept { return queue_; }
  bool enabled() const noexcept { return enabled_; }
  /// The driver kicks nobody.
  bool polled() const noexcept { return runs() && !kick_ && !broken(); }
  bool broken() const noexcept { return runs() && queue_->fault() != RingFault::none; }
  /// Tells the driver about completions.
  void call() const noexcept {
    if (call_) signal_.signal(call_.get());
  }
  /// See FromGuestQueue; of all queues that ran here.
  std::uint64_t short_chains() const noexcept;
  /// Tells the front end, once, that the driver broke the ring. True: this was that once.
  bool report_fault() noexcept;

 private:
  void end() noexcept;
  bool recover(const GuestMemory& memory, QueueSetup& setup) noexcept;
  void unwatch() noexcept;

  const bool to_driver_;
  const int kicks_;
  EventSignal& signal_;
  std::uint32_t size_ = 0;
  std::optional<std::uint32_t> base_;
  bool base_is_ours_ = false;  ///< not only what the front end believes
  bool enabled_ = false, addressed_ = false, started_ = false, fault_told_ = false;
  VringAddr where_{};
  Fd kick_, call_, err_;
  std::unique_ptr<FromGuestQueue> from_guest_;
  std::unique_ptr<ToGuestQueue> to_guest_;
  NetQueue* queue_ = nullptr;
  PackedState* state_ = nullptr;
  InflightRegion inflight_;
  std::uint64_t short_chains_ = 0;  ///< of the queues before this one
};

}  // namespace rp::backend::vhost_user
