// SPDX-License-Identifier: BSD-3-Clause
// links.h - network devices over netlink: what one is, changing it, making and removing it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "switch/headers.h"
#include "tap/address.h"
#include "tap/netlink.h"

namespace rp::tap {

struct Link {
  unsigned index = 0;
  std::string name;
  std::string kind;     ///< IFLA_INFO_KIND: "tun", "bridge", "macvtap", ...; empty: none
  unsigned type = 0;    ///< ARPHRD_*
  unsigned flags = 0;   ///< IFF_*
  unsigned mtu = 0;     ///< bytes
  unsigned master = 0;  ///< index of the bridge it is in; 0: none
  unsigned lower = 0;   ///< index of its parent or peer (IFLA_LINK); 0: none
  sw::Mac mac;
};

/// What is to be changed; the rest stays.
struct LinkChange {
  std::optional<sw::Mac> mac;
  std::optional<unsigned> mtu;
  std::optional<unsigned> master;  ///< 0: out of its bridge
  std::optional<bool> up;
  int netns = -1;  ///< descriptor of the namespace that it moves to
};

/// Nothing: there is no such device in the socket's namespace. Throw Error.
std::optional<Link> find_link(Netlink& netlink, const std::string& name);
std::optional<Link> find_link(Netlink& netlink, unsigned index);
/// As find_link(); one that is not there is an Error that starts with `what`.
Link get_link(Netlink& netlink, const std::string& name, const std::string& what);
/// Calls fn for each, from one listing that nothing changed during. Throws Error.
void each_link(Netlink& netlink, const std::function<void(const Link&)>& fn);

/// One request for each part, so that an error (which starts with `what`) names the one refused.
void change_link(Netlink& netlink, unsigned index, const LinkChange& change,
                 const std::string& what);

/// A device that is to be made.
struct NewLink {
  std::string name;
  std::string kind;
  unsigned lower = 0;  ///< its parent; 0: it has none
  std::optional<sw::Mac> mac{};
  std::function<void(Request&)> data{};  ///< puts what lies in IFLA_INFO_DATA
  const char* if_invalid = "";           ///< told when the kernel says EINVAL and no more
};
/// Returns its index. Throws Error that starts with `what`; of a kind that the kernel lacks it says
/// so.
unsigned create_link(Netlink& netlink, const NewLink& link, const std::string& what);
/// False: it is gone already. Throws Error.
bool remove_link(Netlink& netlink, unsigned index, const std::string& what);

/// Throws Error that starts with `what`. An IPv6 address can be used at once (no duplicate address
/// detection). One that the device has already is no error.
void add_address(Netlink& netlink, unsigned index, const Prefix& address, const std::string& what);
/// One that the device does not have is no error. Throws Error that starts with `what`.
void remove_address(Netlink& netlink, unsigned index, const Prefix& address,
                    const std::string& what);
/// The default route of the gateway's family. Throws Error that starts with `what`.
void add_default_route(Netlink& netlink, unsigned index, const Ip& gateway,
                       const std::string& what);

}  // namespace rp::tap
