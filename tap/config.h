// SPDX-License-Identifier: BSD-3-Clause
// config.h - everything the tap mode can be told, under the names of QEMU's `-netdev tap` and
// iproute2.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/option.h"
#include "switch/headers.h"
#include "tap/address.h"

namespace rp::tap {

using Params = std::vector<std::pair<std::string, std::string>>;

/// What is set on a device once it is there.
struct Settings {
  std::optional<sw::Mac> mac;
  std::optional<unsigned> mtu;
  std::string bridge;
  std::optional<bool> up;  ///< not given: a device that we made comes up, others stay
  std::vector<Prefix> addresses;
};

struct TapConfig {
  std::string name;  ///< empty: the kernel finds one
  Settings settings;
  std::optional<bool> persist;  ///< not given: what we made goes, what was there stays
  std::optional<uid_t> owner;
  std::optional<gid_t> group;
  unsigned queues = 1;
  bool offload = true;
  int fd = -1;         ///< the caller's; -1: none
  bool l3 = false;     ///< tun: it has packets, not frames
  std::string helper;  ///< path of qemu-bridge-helper; empty: none
};

/// A device of IP packets, for Ethernet guests.
struct TunConfig {
  TapConfig device;
  std::optional<sw::Mac> mac;  ///< what guests see it as; not given: made of its name
  bool proxy = false;
};

/// A device inside another network namespace.
struct NetnsConfig {
  std::string target;  ///< a process's number, or a path
  std::string name = "eth0";
  Settings settings;
  std::vector<Ip> gateways;
  std::optional<bool> dhcp;  ///< not given: unless there is an IPv4 address
  bool offload = true;
};

/// A device on top of another: macvtap or ipvtap.
struct MacvtapConfig {
  const char* kind = "macvtap";
  std::string parent;
  std::string name;              ///< empty: the first that is free
  unsigned mode = 0;             ///< MACVLAN_MODE_* or IPVLAN_MODE_*
  unsigned flags = 0;            ///< IPVLAN_F_*
  Settings settings;             ///< mac and mtu
  std::vector<sw::Mac> allowed;  ///< senders, in mode source
  bool host_path = false;
  std::vector<Prefix> host_addresses;
  unsigned queues = 1;
  bool offload = true;
  bool is_ipvtap() const noexcept { return kind[0] == 'i'; }
};

/// A device by a packet socket.
struct EthConfig {
  std::string name;
  bool promiscuous = true;
  bool reads = true;               ///< false: only sends
  bool outgoing = false;           ///< takes what goes out of the device, too
  std::optional<unsigned> fanout;  ///< a group
  bool offload = true;
};

/// A device whose ingress goes through an ifb device of ours.
struct IfbConfig {
  std::string name;         ///< of the ifb
  std::string device;       ///< whose ingress it is
  std::uint64_t rate = 0;   ///< bits per second; 0: as they come
  std::uint32_t burst = 0;  ///< bytes
  bool promiscuous = true;
  bool offload = true;
};

/// A pair of devices: one is ours, the peer is for others.
struct VethConfig {
  std::string name, peer;
  std::string netns;  ///< of the peer: a process's number, or a path; empty: here
  Settings settings;  ///< of the peer; the MTU is of both
  bool offload = true;
};

inline constexpr unsigned kMaxQueues = 256;  ///< the kernel's MAX_TAP_QUEUES
/// linux/if_ether.h: ETH_MIN_MTU, ETH_MAX_MTU.
inline constexpr unsigned kMinMtu = 68, kMaxMtu = 65535;

/// In the order of the documentation.
std::span<const Option<TapConfig>> tap_options();
/// Throws Error that names what is wrong.
TapConfig make_tap_config(const std::string& target, const Params& params);

std::span<const Option<TunConfig>> tun_options();
TunConfig make_tun_config(const std::string& target, const Params& params);

std::span<const Option<NetnsConfig>> netns_options();
NetnsConfig make_netns_config(const std::string& target, const Params& params);

std::span<const Option<EthConfig>> eth_options();
EthConfig make_eth_config(const std::string& target, const Params& params);
std::span<const Option<IfbConfig>> ifb_options();
IfbConfig make_ifb_config(const std::string& target, const Params& params);
std::span<const Option<VethConfig>> veth_options();
VethConfig make_veth_config(const std::string& target, const Params& params);

std::span<const Option<MacvtapConfig>> macvtap_options();
MacvtapConfig make_macvtap_config(const std::string& target, const Params& params);
std::span<const Option<MacvtapConfig>> ipvtap_options();
MacvtapConfig make_ipvtap_config(const std::string& target, const Params& params);

}  // namespace rp::tap
