// SPDX-License-Identifier: BSD-3-Clause
// bridge_helper.h - a tap device on a bridge from qemu-bridge-helper, for users without rights.
#pragma once

#include <string>

#include "base/fd.h"

namespace rp::tap {

/// Runs `helper --use-vnet --fd=N --br=BRIDGE` and takes the descriptor that it sends. Throws Error
/// with what the helper said.
Fd from_bridge_helper(const std::string& helper, const std::string& bridge,
                      const std::string& what);

}  // namespace rp::tap
