// SPDX-License-Identifier: BSD-3-Clause
// acceptor.h - lets in who connects to a listening socket, so many a turn.
//
// Whoever came while descriptors have run out stays in the socket's queue, and is looked at a
// little later: until then nobody is let in, and the descriptor stays quiet.
#pragma once

#include <cstdint>

#include "base/fd.h"

namespace rp {

class Acceptor {
 public:
  /// Let in at once: frames of others wait meanwhile.
  static constexpr unsigned kPerTurn = 16;

  /// `listener` outlives it. Throws Error.
  explicit Acceptor(int listener);

  /// Readable while somebody waits, or when it is time to look again.
  int fd() const noexcept { return epoll_.get(); }

  /// Starts a turn, in which at most so many come in.
  void turn(unsigned most = kPerTurn) noexcept;
  /// The next connection, close-on-exec and non-blocking; none: nobody else in this turn.
  Fd next() noexcept;
  /// For when there is no memory or descriptor for who was let in.
  void back_off() noexcept;

  std::uint64_t back_offs() const noexcept { return back_offs_; }

 private:
  void listen_for(std::uint32_t events) noexcept;

  const int listener_;
  Fd timer_, epoll_;
  bool closed_ = false;  ///< until the timer fires
  unsigned left_in_turn_ = 0;
  std::uint64_t back_offs_ = 0;
};

}  // namespace rp
