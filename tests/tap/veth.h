// SPDX-License-Identifier: BSD-3-Clause
// veth.h - a cable between two devices, for tests.
#pragma once

#include <linux/if_link.h>

#include "tap/links.h"
#include "tests/tap/network.h"

namespace rp::test {

/// Makes one, on top of `lower`, to see.
inline bool kernel_has(const char* kind, unsigned lower) {
  tap::Netlink n;
  try {
    remove_link(n, create_link(n, {.name = "probe", .kind = kind, .lower = lower}, "probe"),
                "probe");
  } catch (const Error& e) {
    return e.code() != Errc::unsupported;
  }
  return true;
}

/// A pair of devices, up: "p0" for parents, "p1" at the other end.
inline unsigned make_parent() {
  tap::Netlink n;
  create_link(n,
              {.name = "p0",
               .kind = "veth",
               .data =
                   [](tap::Request& r) {
                     // VETH_INFO_PEER: a whole message of the other end.
                     r.nest(1, [&] {
                       r.header<std::array<char, 16>>();
                       r.put_text(IFLA_IFNAME, "p1");
                     });
                   }},
              "test");
  tap::LinkChange up;
  up.up = true;
  for (const char* name : {"p0", "p1"}) change_link(n, get_link(n, name, "test").index, up, "test");
  // The kernel sends on a device only once it has noticed its carrier.
  for (int i = 0; i < 300; ++i) {
    if (get_link(n, "p0", "test").flags & get_link(n, "p1", "test").flags & IFF_RUNNING) break;
    usleep(10000);
  }
  return if_nametoindex("p0");
}

/// `work` in a network of its own that knows veth.
template <typename Work>
void with_veth(Work&& work) {
  in_network(
      [&] {
        try {
          make_parent();
        } catch (const Error& e) {
          if (e.code() == Errc::unsupported) _exit(kSkipped);
          throw;
        }
        work();
      },
      "/");
}

/// `work` in a network of its own that knows macvtap; nodes can be made only where root is.
template <typename Work>
void with_macvtap(Work&& work) {
  if (geteuid() != 0) GTEST_SKIP() << "nodes of macvtap devices take root";
  with_veth([&] {
    if (!kernel_has("macvtap", if_nametoindex("p0"))) _exit(kSkipped);
    work();
  });
}

}  // namespace rp::test
