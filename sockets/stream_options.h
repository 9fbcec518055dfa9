// SPDX-License-Identifier: BSD-3-Clause
// stream_options.h - the options of stream doors and uplinks.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/option.h"
#include "sockets/stream_door.h"

namespace rp::sockets {

/// In the order of the documentation.
std::span<const Option<StreamOptions>> stream_options();

/// Throws Error that names what is wrong.
StreamOptions make_stream_options(const std::string& target,
                                  const std::vector<std::pair<std::string, std::string>>& params);

}  // namespace rp::sockets
