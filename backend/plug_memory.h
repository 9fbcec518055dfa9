// SPDX-License-Identifier: BSD-3-Clause
// plug_memory.h - the memfd that a plug and its port share: two rings, their buffers, one doorbell.
//
//   control page | from_guest ring | to_guest ring | from_guest arena | to_guest buffers
//
// An address inside a ring is an offset into the memfd. The descriptor is sealed against shrinking,
// so neither end can make the other fault.
#pragma once

#include <atomic>
#include <cstdint>

#include "backend/guest_memory.h"
#include "backend/split_ring.h"
#include "base/fd.h"

namespace rp::backend {

constexpr std::uint64_t page_align(std::uint64_t v) noexcept {
  return (v + 4095) & ~4095ull;
}

struct PlugLayout {
  static constexpr std::uint16_t kQueue = 1024;
  static constexpr std::uint32_t kBuffer = 2048;  ///< one to-guest buffer, header included
  static constexpr std::uint64_t kArena = std::uint64_t{2} << 20;

  static constexpr std::uint64_t kPage = 4096;
  static constexpr std::uint64_t kAvail = page_align(desc_bytes(kQueue));  ///< within a ring
  static constexpr std::uint64_t kUsed = kAvail + page_align(avail_bytes(kQueue));
  static constexpr std::uint64_t kRing = kUsed + page_align(used_bytes(kQueue));
  static constexpr std::uint64_t kFromGuest = kPage;
  static constexpr std::uint64_t kToGuest = kFromGuest + kRing;
  static constexpr std::uint64_t kFromArena = kToGuest + kRing;
  static constexpr std::uint64_t kToBuffers = kFromArena + kArena;
  static constexpr std::uint64_t kSize = kToBuffers + std::uint64_t{kQueue} * kBuffer;

  static constexpr RingAddress ring(std::uint64_t base) {
    return {kQueue, base, base + kAvail, base + kUsed};
  }
};

/// The doorbell towards the plug: rung at most once between two rearmings, so that the descriptor's
/// readability says exactly whether a frame waits (plug.h has the whole protocol).
/// The word holds what the plug had taken when it armed, so that a port which is late to ring for
/// frames that were seen and taken meanwhile doesn't announce them a second time.
/// A port in another process may die between taking the word and signalling. Whoever links the plug
/// to the next one calls relink() in between; its signal counts apart from the others.
class Doorbell {
 public:
  Doorbell(std::uint8_t* control_page, int eventfd) noexcept
      : armed_(reinterpret_cast<std::uint32_t*>(control_page)), eventfd_(eventfd) {}

  /// Driver end: everything up to used index `taken` has been taken.
  void arm(std::uint16_t taken) noexcept {
    word().store(kArmed | taken, std::memory_order_seq_cst);
  }
  /// Driver end: true when the port won't ring any more until the next arm().
  bool take() noexcept { return word().exchange(0, std::memory_order_seq_cst) != 0; }
  /// Device end: a notification is due; `used` is the used index that the driver sees. True: the
  /// caller must signal the driver.
  bool claim(std::uint16_t used) noexcept {
    std::uint32_t armed = word().load(std::memory_order_seq_cst);
    if (!(armed & kArmed) || armed == (kArmed | used)) return false;
    // When this fails the driver has looked at the ring since, or will before it sleeps.
    return word().compare_exchange_strong(armed, 0, std::memory_order_seq_cst);
  }
  void ring(std::uint16_t used) noexcept {
    if (claim(used)) signal();
  }
  void signal() noexcept { add(1); }

  /// No port is there: from now on, one that has taken the word will never signal.
  void relink() noexcept { word().store(kOrphan, std::memory_order_seq_cst); }
  /// Wakes the driver end up after a relink().
  void signal_relink() noexcept { add(kRelink); }

  /// What drain() took back.
  struct Signals {
    std::uint32_t rings = 0;    ///< by signal(), ours or the port's
    std::uint32_t relinks = 0;  ///< by signal_relink()
    explicit operator bool() const noexcept { return rings != 0; }
  };
  /// Takes all signals back.
  Signals drain() noexcept;

 private:
  static constexpr std::uint32_t kArmed = 0x10000, kOrphan = 0x20000;
  /// Far more than rings that nobody drains add up to.
  static constexpr std::uint64_t kRelink = std::uint64_t{1} << 32;

  void add(std::uint64_t count) noexcept;

  std::atomic_ref<std::uint32_t> word() noexcept { return std::atomic_ref<std::uint32_t>(*armed_); }
  std::uint32_t* armed_;
  int eventfd_;
};

/// What both ends share. The plug makes it; the port gets duplicates and its own mapping.
struct PlugMemory {
  Fd memory;  ///< memfd, sealed
  Fd kick;    ///< eventfd, plug to port
  Fd call;    ///< eventfd, port to plug; the plug's public descriptor

  /// Throws Error.
  static PlugMemory create();
  PlugMemory duplicate() const;
};

}  // namespace rp::backend
