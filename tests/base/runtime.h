// SPDX-License-Identifier: BSD-3-Clause
// runtime.h - a runtime directory of a test's own, for switches that are found by name.
#pragma once

#include <stdlib.h>

#include "tests/base/temp_folder.h"

namespace rp::test {

/// Made and destroyed while the process has one thread.
class Runtime {
 public:
  Runtime() { setenv("XDG_RUNTIME_DIR", folder_.path().c_str(), 1); }
  ~Runtime() { unsetenv("XDG_RUNTIME_DIR"); }
  std::string socket(const std::string& name) const { return folder_ / ("ringplug/" + name); }

 private:
  TempFolder folder_;
};

}  // namespace rp::test
