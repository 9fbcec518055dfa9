// SPDX-License-Identifier: BSD-3-Clause
// link_monitor.h - hears of devices that come, go, and are taken up or down (RTNLGRP_LINK).
#pragma once

#include <functional>
#include <string_view>

#include "base/fd.h"

namespace rp::tap {

struct LinkEvent {
  unsigned index;
  std::string_view name;  ///< valid during the call
  bool gone;
  bool up;  ///< as an administrator says (IFF_UP)
};

class LinkMonitor {
 public:
  /// Listens in this thread's namespace. Throws Error.
  LinkMonitor();
  /// Listens in the namespace that a netlink socket was opened in. Throws Error.
  explicit LinkMonitor(Fd socket);

  /// Readable when a device changed.
  int fd() const noexcept { return socket_.get(); }
  /// Calls fn(event) for what happened since the last call, none allocating. When the kernel had to
  /// drop some, it asks for the state of `watched` again, which comes as an event.
  template <typename Fn>
  void each(unsigned watched, Fn&& fn) noexcept {
    using F = std::remove_reference_t<Fn>;
    read(
        watched, [](void* opaque, const LinkEvent& e) { (*static_cast<F*>(opaque))(e); }, &fn);
  }
  /// The device's state will come as an event: gone, without a name, when there is none.
  void ask(unsigned index) noexcept;

 private:
  void read(unsigned watched, void (*fn)(void*, const LinkEvent&), void* opaque) noexcept;

  Fd socket_;
};

}  // namespace rp::tap
