// SPDX-License-Identifier: BSD-3-Clause
// vde_request.cc - a VDE request that comes in pieces.
//
// Invariant: once refused, always refused; once complete, no later byte changes anything but the
// description, which is printable and no longer than what came.
#include "sockets/vde_request.h"

#include <sys/socket.h>

#include <cstring>

#include "fuzz/harness.h"

namespace {

using namespace rp::sockets;

bool same(const VdeRequest& a, const VdeRequest& b) {
  return a.version == b.version && a.management == b.management && a.number == b.number &&
         std::memcmp(&a.client, &b.client, sizeof a.client) == 0;
}

void check_complete(const VdeRequest& r, std::size_t size) {
  RP_CHECK(r.version == 1 || r.version == 3);
  RP_CHECK(r.number <= 65535 && !(r.management && r.number != 0));
  RP_CHECK(r.client.sun_family == AF_UNIX);
  RP_CHECK(r.description.size() + sizeof r.client + 12 <= size);
  for (const char c : r.description) RP_CHECK(c >= ' ' && c <= '~');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const rp::fuzz::Bytes whole(data, data + std::min(size, kVdeRequestMax));
  VdeParsed before;
  for (std::size_t n = 0; n <= whole.size(); ++n) {
    // A copy, so that a sanitizer sees a byte that has not come yet being read.
    const rp::fuzz::Bytes came(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
    const VdeParsed p = parse_vde_request(came);
    if (before.state != VdeParsed::incomplete) RP_CHECK(p.state == before.state);
    if (p.state == VdeParsed::refused) RP_CHECK(*p.why != 0);
    if (p.state == VdeParsed::complete) {
      check_complete(p.request, n);
      if (before.state == VdeParsed::complete) {
        RP_CHECK(same(p.request, before.request));
        RP_CHECK(p.request.description.starts_with(before.request.description));
      }
    }
    before = p;
  }
  return 0;
}
