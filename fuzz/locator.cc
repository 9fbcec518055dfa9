// SPDX-License-Identifier: BSD-3-Clause
// locator.cc - a locator and the options behind it, read and checked but never opened.
//
// Invariant: what was parsed says the same when it is written down and parsed again; a config that
// is accepted has its addresses inside its networks; whatever is refused is refused by a sentence.
#include "backend/locator.h"

#include <arpa/inet.h>

#include "backend/modes.h"
#include "backend/settings.h"
#include "backend/vhost_user/open.h"
#include "base/error.h"
#include "fuzz/harness.h"
#include "slirp/config.h"
#include "slirp/forward.h"
#include "sockets/dgram_options.h"
#include "sockets/seqpacket_door.h"
#include "sockets/stream_options.h"
#include "sockets/vde_options.h"
#include "tap/config.h"

namespace {

using namespace rp;
using backend::Locator;

void check_inside(const slirp::Config& c, const in_addr& a) {
  const std::uint32_t host = ntohl(a.s_addr & ~c.mask.s_addr);
  RP_CHECK((a.s_addr & c.mask.s_addr) == c.net.s_addr);
  RP_CHECK(host != 0 && host != ntohl(~c.mask.s_addr));
}

void check_slirp(const slirp::Config& c) {
  RP_CHECK(c.ipv4 || c.ipv6);
  if (c.ipv4) {
    for (const auto& a : {c.host, c.dns, c.dhcpstart}) {
      RP_CHECK(a.has_value());
      check_inside(c, *a);
    }
    RP_CHECK(c.host->s_addr != c.dns->s_addr);
    for (const auto& f : c.guestfwd) check_inside(c, f.address);
  }
  if (c.ipv6) {
    RP_CHECK(c.prefix6_len <= 126);
    RP_CHECK(slirp::in_prefix(c, *c.host6) && slirp::in_prefix(c, *c.dns6));
  }
  RP_CHECK(c.mtu >= 1280 && c.mtu <= 65521 && c.max_flows >= 1);
  for (const auto& f : c.hostfwd) {
    const auto family = f.guest.ss_family;
    RP_CHECK(family == AF_INET || family == AF_INET6);
    RP_CHECK(f.proto == slirp::HostForward::Proto::unix ? f.host.ss_family == AF_UNIX
                                                        : f.host.ss_family == family);
  }
  for (const auto& f : c.guestfwd) RP_CHECK(f.port != 0 && !f.value.empty());
}

void check_name(const std::string& device) {
  RP_CHECK(device.size() < 16 && device.find('/') == std::string::npos);
}

/// What the scheme makes of its target and options.
void read_options(const Locator& l) {
  if (l.scheme == "slirp") check_slirp(slirp::make_config(l.params));
  if (l.scheme == "vde" && l.text.size() % 2) {
    RP_CHECK(!sockets::make_vde_uplink_options(l.target, l.params).url.empty());
  } else if (l.scheme == "vde") {
    const auto o = sockets::make_vde_door_options(l.target, l.params);
    RP_CHECK(!o.path.empty() && o.access.mode <= 0777 && o.access.dirmode <= 07777);
  }
  if (l.scheme == "tap") check_name(tap::make_tap_config(l.target, l.params).name);
  if (l.scheme == "tun") check_name(tap::make_tun_config(l.target, l.params).device.name);
  if (l.scheme == "netns") check_name(tap::make_netns_config(l.target, l.params).name);
  if (l.scheme == "eth") tap::make_eth_config(l.target, l.params);
  if (l.scheme == "veth") tap::make_veth_config(l.target, l.params);
  if (l.scheme == "macvtap") tap::make_macvtap_config(l.target, l.params);
  if (l.scheme == "ipvtap") tap::make_ipvtap_config(l.target, l.params);
  if (l.scheme == "seqpacket") sockets::make_seqpacket_options(l.target, l.params);
  if (l.scheme == "stream") {
    const auto o = sockets::make_stream_options(l.target, l.params);
    RP_CHECK(o.limits.buffer >= (64 << 10) && o.guests >= 1);
  }
  if (l.scheme == "dgram") RP_CHECK(sockets::make_dgram_options(l.target, l.params).guests >= 1);
  if (l.scheme == "bxhub") {
    const auto o = sockets::make_bxhub_options(l.target, l.params);
    RP_CHECK(o.base != 0 && o.base + 2 * o.sessions <= 65536);
  }
  if (l.scheme == "ifb") check_name(tap::make_ifb_config(l.target, l.params).device);
  if (l.scheme == "vhost-user") backend::vhost_user::make_options(l);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A C string, as it comes through the C ABI.
  const std::string text(data, std::find(data, data + size, 0));
  try {
    Locator l = backend::parse_locator(text);
    RP_CHECK(l.text == text);
    const Locator again = backend::parse_locator(text_of(l));
    RP_CHECK(again.scheme == l.scheme && again.target == l.target && again.params == l.params);
    RP_CHECK(again.has_target == l.has_target);
    RP_CHECK(backend::mode_of(l).scheme == l.scheme);
    const auto policy = backend::take_policy(l);
    RP_CHECK(policy.untagged <= sw::kMaxVlan || policy.untagged == sw::kNoVlan);
    RP_CHECK(policy.addresses.size() <= 1024);
    read_options(l);
  } catch (const Error& e) {
    RP_CHECK(*e.what() != 0 && e.code() != Errc::internal);
  }
  return 0;
}
