// SPDX-License-Identifier: BSD-3-Clause
// veth.h - a cable between two devices, for tests.
#pragma once

#include <linux/if_link.h>

#include "tap/links.h"
#include "tests/tap/network.h"

namespace rp::test {

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

}  // namespace rp::test
