// SPDX-License-Identifier: BSD-3-Clause
// descriptors.h - makers of the descriptors that a loop sleeps on; all are close-on-exec and none
// blocks. They throw Error with errno's sentence.
#pragma once

#include "base/fd.h"
#include "base/time.h"

namespace rp {

Fd make_epoll();
/// Of CLOCK_MONOTONIC, not set.
Fd make_timer();
/// An eventfd of zero.
Fd make_event();

/// Has `epoll` tell of the descriptor's input too, until that is closed.
void watch(const Fd& epoll, int fd);

/// Has a timer fire once, `in` from here on; zero: never. Throws nothing.
void set_timer(const Fd& timer, Instant in) noexcept;
/// Whether it has fired since it was set or asked. Throws nothing.
bool fired(const Fd& timer) noexcept;

}  // namespace rp
