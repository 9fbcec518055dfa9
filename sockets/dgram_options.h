// SPDX-License-Identifier: BSD-3-Clause
// dgram_options.h - the options of dgram doors and uplinks, and of bxhub.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/option.h"
#include "sockets/datagram_socket.h"

namespace rp::sockets {

struct DgramOptions {
  std::string target;
  std::string local;  ///< of an uplink: where it is spoken to; empty: wherever the kernel says
  QueueLimits queue;
  unsigned guests = 256;  ///< of a door, at once
};

struct BxhubOptions {
  unsigned base = 0;      ///< UDP port
  unsigned sessions = 6;  ///< of Bochs, at once
  QueueLimits queue;
};

/// Both in the order of the documentation.
std::span<const Option<DgramOptions>> dgram_options();
std::span<const Option<BxhubOptions>> bxhub_options();

using DgramParams = std::vector<std::pair<std::string, std::string>>;

/// They throw Error that names what is wrong.
DgramOptions make_dgram_options(const std::string& target, const DgramParams& params);
BxhubOptions make_bxhub_options(const std::string& target, const DgramParams& params);

}  // namespace rp::sockets
