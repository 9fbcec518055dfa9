// SPDX-License-Identifier: BSD-3-Clause
// forward.h - the grammars of hostfwd and guestfwd, and of the addresses in them.
#pragma once

#include <netinet/in.h>

#include <string>
#include <string_view>

#include "slirp/config.h"

namespace rp::slirp {

/// [tcp|udp]:[HOSTADDR]:HOSTPORT-[GUESTADDR]:GUESTPORT, or unix:PATH-[GUESTADDR]:GUESTPORT.
/// IPv6 addresses stand in brackets. No HOSTADDR means loopback. Throws Error.
HostForward parse_hostfwd(const std::string& text);

/// tcp:[ADDR]:PORT-unix:PATH or tcp:[ADDR]:PORT-cmd:COMMAND. Throws Error.
GuestForward parse_guestfwd(const std::string& text);

in_addr parse_ipv4(const std::string& text);
in6_addr parse_ipv6(const std::string& text);
/// A decimal in [low, high].
unsigned parse_number(std::string_view text, unsigned low, unsigned high);

/// Is the address in the guest's IPv6 network?
bool in_prefix(const Config& config, const in6_addr& address);

}  // namespace rp::slirp
