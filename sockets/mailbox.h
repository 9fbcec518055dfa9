// SPDX-License-Identifier: BSD-3-Clause
// mailbox.h - the frames of one peer that came to a socket which it shares with others.
//
// The door that has the socket puts them in, the peer's port takes them out, both on the switch's
// thread. A peer that says more than its port can take loses its own frames.
#pragma once

#include <unistd.h>

#include "base/descriptors.h"
#include "switch/frame.h"
#include "switch/frame_queue.h"

namespace rp::sockets {

class Mailbox {
 public:
  /// Throws Error.
  Mailbox() : frames_(kBytes, kFrames), event_(make_event()) {}

  /// The door's: keeps a frame for the port, or counts it as lost.
  void put(std::span<const std::uint8_t> frame, Instant now) noexcept {
    heard = now;
    if (!frames_.push(frame)) ++lost_;
    ring();
  }
  /// The door's: the port goes. The peer may come back as a new one.
  void close() noexcept {
    closed_ = true;
    ring();
  }

  /// The port's: readable while frames are there, and once it is closed.
  int fd() const noexcept { return event_.get(); }
  bool closed() const noexcept { return closed_; }
  /// Lends what is there, until pop(). False: nothing was.
  bool lend(sw::Burst& burst) noexcept {
    if (frames_.empty()) {
      if (rung_ && !closed_) fired(event_);
      rung_ = closed_;
      return false;
    }
    while (lent_ < frames_.size() && burst.add(frames_.at(lent_))) ++lent_;
    return true;
  }
  void pop() noexcept {
    frames_.pop(lent_);
    lent_ = 0;
  }
  void trim() noexcept { frames_.trim(); }
  std::uint64_t lost() const noexcept { return lost_; }

  Instant heard{};    ///< when the peer last said something
  bool left = false;  ///< the port is gone

 private:
  static constexpr std::size_t kFrames = 256, kBytes = std::size_t{1} << 20;

  void ring() noexcept {
    if (rung_) return;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(event_.get(), &one, sizeof one);
    rung_ = true;
  }

  sw::FrameQueue frames_;
  const Fd event_;
  std::size_t lent_ = 0;
  bool rung_ = false, closed_ = false;
  std::uint64_t lost_ = 0;
};

}  // namespace rp::sockets
