// SPDX-License-Identifier: BSD-3-Clause
// inflight.h - the memory in which a front end keeps what its back ends had in hand.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/guest_memory.h"
#include "backend/inflight.h"
#include "backend/vhost_user/protocol.h"
#include "base/fd.h"

namespace rp::backend::vhost_user {

/// A sealed memfd for so many queues of `d.queue_size`, zeroed; fills in where the memory lies in
/// it. It does for rings of either layout, as a front end may ask before it says which. Throws
/// Error.
Fd make_inflight(InflightDescription& d);

class InflightArea {
 public:
  /// Maps what a front end gives back. Throws Error: sizes that do not fit, or no such file.
  InflightArea(int fd, const InflightDescription& d);

  /// The part of one queue; null when the memory was not made for so many. Throws Error when it is
  /// too short for this layout.
  InflightRegion region(std::size_t queue, bool packed) const;
  /// Nothing was in hand, whatever it says.
  void clear() noexcept;
  /// Its file was cut short.
  bool lost() const noexcept { return mapping_.lost(); }

 private:
  std::size_t queues_;
  std::uint16_t entries_;
  Mapping mapping_;
};

}  // namespace rp::backend::vhost_user
