// SPDX-License-Identifier: BSD-3-Clause
// event_signal.h - signals an eventfd that another process holds as well, and never blocks.
//
// O_NONBLOCK belongs to the open file: whoever shares it can take it off, fill the counter and so
// stop a write(2) for ever. The kernel's own way to signal an eventfd never waits, and an
// asynchronous read that has its result at once goes that way (io_submit(2), IOCB_FLAG_RESFD).
#pragma once

#include <linux/aio_abi.h>

#include <memory>

#include "base/fd.h"

namespace rp {

class EventSignal {
 public:
  /// Without asynchronous I/O (a kernel or a sandbox that has none) signal() writes, and a peer as
  /// above can stop it.
  EventSignal() noexcept;
  EventSignal(EventSignal&&) = delete;
  /// The kernel takes some 30 ms for it.
  ~EventSignal();

  /// The process's one, while anybody has it: ports come and go faster than it could end.
  static std::shared_ptr<EventSignal> shared();

  /// Adds 1; a counter that is full stays so. Any thread.
  void signal(int eventfd) noexcept;
  bool never_blocks() const noexcept { return context_ != 0; }

 private:
  bool submit(int eventfd) noexcept;

  Fd empty_;  ///< what is read: nothing
  aio_context_t context_ = 0;
};

}  // namespace rp
