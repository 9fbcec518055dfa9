// SPDX-License-Identifier: BSD-3-Clause
// plug.h - the emulator's end of the shared-memory ring: send and receive Ethernet frames.
//
// The descriptor is readable exactly while a frame waits. How: the port rings the doorbell at most
// once after each arm(). The plug looks at the ring only after it has taken that ring's signal, so
// a signal never outlives the frames it announced:
//   armed     the port will ring, or is ringing. A frame is received only once drain() succeeded.
//   drained   we are inside a receive: the signal is taken, the port won't ring.
//   signalled frames wait, the descriptor is readable, the port won't ring.
// When the last frame goes, the signal is drained and the doorbell armed; if a frame came in
// meanwhile, whoever take()s the doorbell first rings it.
//
// A port in another process may die and another take its place (vhost_user/link.h). What the dead
// one left undone is anything: frames published and not announced, or the doorbell taken and not
// rung. So in between, relink() marks the doorbell and signals. Then, of a plug that is
//   armed     the signal shows that nothing else came: if the doorbell can be taken, nobody is
//   about
//             to ring, and the plug looks; if not, the new port has it, armed after relink().
//   drained   the next state is reached without any port's help, and arm() wipes the mark off.
//   signalled likewise; the descriptor is readable anyway.
// The descriptor may so be readable once without a frame after a relink(); a receive ends that.
//
// Threads: one sender, one receiver and one that links at a time; they share the memory, the
// eventfds and a count of relinks.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>

#include "backend/driver_ring.h"
#include "backend/plug_memory.h"
#include "switch/frame.h"

namespace rp::backend {

class Plug {
 public:
  /// Throws Error.
  explicit Plug(PlugMemory memory);
  ~Plug();
  Plug(Plug&&) = delete;

  /// Readable exactly while a frame waits. Owned by the plug.
  int fd() const noexcept { return shared_.call.get(); }

  /// A place for a frame of up to `len` bytes, or null when the ring is full. One at a time.
  std::uint8_t* reserve(std::uint32_t len) noexcept;
  /// Queues the first `len` bytes of the reserved place; kick() makes them visible to the port.
  void commit(std::uint32_t len, const sw::Offload& offload) noexcept;
  /// Makes committed frames visible and wakes the port if it sleeps.
  void kick() noexcept;

  /// Copies a frame in and commits it. False: no room.
  bool send(std::span<const std::uint8_t> frame, const sw::Offload& offload) noexcept;

  struct Received {
    std::span<const std::uint8_t> bytes;
    sw::Offload offload;
  };
  /// Looks at the next frames without taking them. They stay borrowed until release(). A frame that
  /// wraps around the buffers is copied aside, and ends the batch.
  std::size_t peek(std::span<Received> out) noexcept;
  /// Takes the first n frames that peek() showed; their bytes are no longer ours. None is keep().
  /// After a peek() there must be a release() or a keep() before the descriptor is polled again.
  void release(std::size_t n) noexcept;
  /// Takes nothing for now: the descriptor stays readable.
  void keep() noexcept;

  /// The shared memory is in a state that the port can't have written: nothing more will be sent,
  /// for the sender to ask; nothing more will come and the descriptor stays quiet, for the
  /// receiver.
  bool send_broken() const noexcept { return from_guest_.broken(); }
  bool recv_broken() const noexcept { return to_guest_.broken(); }
  /// Either; while neither thread is at work.
  bool broken() const noexcept { return send_broken() || recv_broken(); }

  // For whoever links the plug to a port in another process.

  const PlugMemory& shared() const noexcept { return shared_; }
  /// While no port is there: what the last one left undone is made good. Call it before the next
  /// one learns of the doorbell.
  void relink() noexcept;
  /// While no port is there: up to where buffers were completed, for the next one to go on from.
  struct Completed {
    std::uint16_t from_guest, to_guest;
  };
  Completed completed() const noexcept;

 private:
  bool drain() noexcept;
  bool may_look() noexcept;
  bool next_frame(std::uint16_t& at, Received& out) noexcept;
  void refill(std::uint16_t buffers) noexcept;
  void reclaim() noexcept;
  void settle() noexcept;
  void hush() noexcept;

  PlugMemory shared_;
  Mapping mapping_;
  Doorbell doorbell_;
  DriverRing from_guest_, to_guest_;

  // from-guest arena: a FIFO of bytes. Positions only grow; modulo the arena's size is the place.
  std::uint64_t arena_next_ = 0, arena_freed_ = 0, reserved_at_ = 0;
  std::uint64_t arena_end_[PlugLayout::kQueue];  ///< by slot: where its buffer ends
  std::uint16_t sent_ = 0, reclaimed_ = 0;

  std::atomic<std::uint32_t> relinks_{0};  ///< in all
  std::uint32_t relinks_drained_ = 0;      ///< of them, how many signals were taken back
  enum class Signal : std::uint8_t { armed, drained, signalled } signal_ = Signal::armed;
  std::uint16_t refilled_ = 0;                         ///< buffers given to the ring, in all
  std::uint16_t taken_ = 0;                            ///< buffers taken back, in all
  std::uint16_t peeked_[sw::Burst::kFrames + 1] = {};  ///< buffers up to the end of each frame
  std::size_t peeked_n_ = 0;
  std::unique_ptr<std::uint8_t[]> aside_;  ///< a frame that wraps
};

}  // namespace rp::backend
