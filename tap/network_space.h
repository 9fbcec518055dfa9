// SPDX-License-Identifier: BSD-3-Clause
// network_space.h - another network namespace, and descriptors that belong to it.
//
// A descriptor acts in the namespace that it was opened in, whoever uses it. So a child goes there
// (a process with threads may not join a user namespace), opens what is needed and hands it back;
// this process stays where it is. Who owns the user namespace has every right in it from outside.
#pragma once

#include <string>

#include "base/fd.h"

namespace rp::tap {

class NetworkSpace {
 public:
  /// `target`: the number of a process, or the path of a namespace's file. `what` starts the
  /// sentences of errors. Throws Error.
  NetworkSpace(const std::string& target, std::string what);

  struct Tools {
    Fd tun;      ///< /dev/net/tun, non-blocking
    Fd netlink;  ///< for Netlink
    Fd monitor;  ///< for LinkMonitor
  };
  enum class Tun { yes, no };
  /// Without `tun` that one is left out. Throws Error that names what is missing.
  Tools open_tools(Tun tun = Tun::yes) const;

  int fd() const noexcept { return net_.get(); }

  /// Readable when the process of `target` has ended. -1: it was a path.
  int process_fd() const noexcept { return process_.get(); }

 private:
  std::string what_;
  Fd process_, net_;
  Fd user_;  ///< to be joined first; none: we are in it, or below
};

}  // namespace rp::tap
