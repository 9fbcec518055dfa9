// SPDX-License-Identifier: BSD-3-Clause
// uevents.h - the device numbers of nodes that the kernel makes, as it announces them.
//
// A macvtap device has a node of its own. Its number is in sysfs, but only in one that was mounted
// in this network namespace; and /dev may be a copy that knows nothing of new nodes.
#pragma once

#include <string>

#include "base/fd.h"

namespace rp::tap {

class Uevents {
 public:
  /// Hears what is announced from here on, in this thread's namespace. Throws Error.
  Uevents();

  /// Opens the node of network device `name` of class `kind` ("macvtap"), which was made since, for
  /// reading and writing, non-blocking. `index` is the device's. Throws Error.
  Fd open_node(const std::string& kind, const std::string& name, unsigned index,
               const std::string& what);

 private:
  void find(const std::string& kind, const std::string& name, const std::string& what);

  Fd socket_;
  unsigned major_ = 0, minor_ = 0;  ///< of the node found last
  std::string found_;
};

}  // namespace rp::tap
