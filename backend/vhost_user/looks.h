// SPDX-License-Identifier: BSD-3-Clause
// looks.h - when a port that is polled looks at its descriptors, which is a system call.
#pragma once

namespace rp::backend::vhost_user {

/// Whenever they tell of something. What is found there may cost as much as thousands of frames, so
/// whoever has more has it looked at some turns later, and keeps nobody waiting.
class Looks {
 public:
  /// `pace`: turns from something found to the next look.
  explicit constexpr Looks(unsigned pace) noexcept : pace_(pace), turns_(pace) {}

  /// There is something to look at.
  void ask() noexcept { asked_ = true; }
  /// The same, of a port that slept: in its next turn.
  void ask_at_once() noexcept {
    asked_ = true;
    turns_ = pace_;
  }
  /// Once a turn. True: look now.
  bool turn() noexcept {
    if (turns_ < pace_) ++turns_;
    if (!asked_ || turns_ < pace_) return false;
    asked_ = false;
    return true;
  }
  /// The look found something. More may wait behind it, and tell of itself no more.
  void found() noexcept {
    asked_ = true;
    turns_ = 0;
  }

 private:
  const unsigned pace_;
  unsigned turns_;  ///< since something was found, up to the pace
  bool asked_ = true;
};

}  // namespace rp::backend::vhost_user
