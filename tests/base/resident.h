// SPDX-License-Identifier: BSD-3-Clause
// resident.h - how much memory a test takes.
#pragma once

#include <unistd.h>

#include <cstddef>
#include <fstream>

#include "tests/backend/scale.h"

namespace rp::test {

/// Bytes of memory in use. A sanitizer keeps what was freed, so there it says nothing: 0.
inline std::size_t resident() {
  if (backend::kSanitized) return 0;
  std::ifstream statm("/proc/self/statm");
  std::size_t pages = 0, resident = 0;
  statm >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace rp::test
