// SPDX-License-Identifier: BSD-3-Clause
// config.h - everything the slirp mode can be told, under the names of QEMU's `-netdev user`.
#pragma once

#include <netinet/in.h>
#include <sys/un.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/option.h"

namespace rp::slirp {

/// hostfwd: what connects to `host` on the host reaches `guest`.
struct HostForward {
  enum class Proto : std::uint8_t { tcp, udp, unix } proto = Proto::tcp;
  sockaddr_storage host{};  ///< sockaddr_in, sockaddr_in6 or sockaddr_un
  sockaddr_storage guest{};
  std::string text;  ///< as the user wrote it
};

/// guestfwd: what connects to `address:port` in the guest's network reaches a host service.
struct GuestForward {
  in_addr address{};
  std::uint16_t port = 0;
  enum class Target : std::uint8_t { unix_socket, command } target = Target::command;
  std::string value;  ///< a path or a command line
  std::string text;
};

struct Config {
  bool ipv4 = true, ipv6 = true, restricted = false;
  in_addr net{}, mask{};
  std::optional<in_addr> host, dhcpstart, dns;
  in6_addr prefix6{};
  unsigned prefix6_len = 64;
  std::optional<in6_addr> host6, dns6;
  std::string hostname, domainname, tftp, tftp_server_name, bootfile;
  std::vector<std::string> dnssearch;
  std::vector<HostForward> hostfwd;
  std::vector<GuestForward> guestfwd;
  unsigned mtu = 1500;
  bool disable_host_loopback = false, link_local = false;
  std::optional<sockaddr_in> outbound;
  std::optional<sockaddr_in6> outbound6;
  unsigned max_flows = 512;
};

/// The table of options; the order is that of the documentation.
std::span<const Option<Config>> options();

/// Builds a config from key=value pairs: fills in what was not given and checks how the values fit
/// together. Throws Error that names the option and the value.
Config make_config(const std::vector<std::pair<std::string, std::string>>& params);

}  // namespace rp::slirp
