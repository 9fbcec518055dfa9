// SPDX-License-Identifier: BSD-3-Clause
// queue_option.h - queue=, which all ports have whose readers may be slow.
#pragma once

#include <string>

#include "base/option.h"
#include "sockets/datagram_socket.h"

namespace rp::sockets {

/// Of OptionDoc and set_queue(): a line for a table of options.
inline constexpr OptionDoc kQueueDoc{"queue", "1..65536", "2048",
                                     "frames that wait for each slow reader, up to 2 MiB of them"};

/// Of options that have a QueueLimits named `queue`. Throws Error.
template <typename Options>
void set_queue(Options& o, const std::string& value) {
  o.queue.frames = parse_number(value, 1, 65536);
}

}  // namespace rp::sockets
