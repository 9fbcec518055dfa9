// SPDX-License-Identifier: BSD-3-Clause
// links.cc - RTM_*LINK, RTM_*ADDR and RTM_NEWROUTE.
#include "tap/links.h"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/error.h"
#include "switch/mac_text.h"

namespace rp::tap {
namespace {

/// Before we give up on devices that come and go all the while.
constexpr int kListings = 20;

std::string text_in(const nlattr* a) {
  return mnl_attr_validate(a, MNL_TYPE_NUL_STRING) < 0 ? "" : mnl_attr_get_str(a);
}

int read_info(const nlattr* a, void* out) {
  if (mnl_attr_get_type(a) == IFLA_INFO_KIND) static_cast<Link*>(out)->kind = text_in(a);
  return MNL_CB_OK;
}

int read_attribute(const nlattr* a, void* out) {
  auto& link = *static_cast<Link*>(out);
  switch (mnl_attr_get_type(a)) {
    case IFLA_IFNAME:
      link.name = text_in(a);
      break;
    case IFLA_MTU:
      link.mtu = mnl_attr_get_u32(a);
      break;
    case IFLA_MASTER:
      link.master = mnl_attr_get_u32(a);
      break;
    case IFLA_LINK:
      link.lower = mnl_attr_get_u32(a);
      break;
    case IFLA_ADDRESS:
      if (mnl_attr_get_payload_len(a) == link.mac.bytes.size())
        std::copy_n(static_cast<const std::uint8_t*>(mnl_attr_get_payload(a)),
                    link.mac.bytes.size(), link.mac.bytes.begin());
      break;
    case IFLA_LINKINFO:
      mnl_attr_parse_nested(a, read_info, out);
      break;
    default:
      break;
  }
  return MNL_CB_OK;
}

Link link_of(const nlmsghdr& h) {
  const auto* info = static_cast<const ifinfomsg*>(mnl_nlmsg_get_payload(&h));
  Link link;
  link.index = static_cast<unsigned>(info->ifi_index);
  link.type = info->ifi_type;
  link.flags = info->ifi_flags;
  mnl_attr_parse(&h, sizeof *info, read_attribute, &link);
  return link;
}

std::optional<Link> find(Netlink& netlink, Request& request) {
  std::optional<Link> found;
  const int err = netlink.ask(request, [&](const nlmsghdr& h) { found = link_of(h); });
  if (err == ENODEV) return std::nullopt;
  if (err != 0) refuse("looking for a network device", err, netlink.why());
  return found;
}

/// A request to change the device `index`.
struct Change : Request {
  explicit Change(unsigned index) : Request(RTM_NEWLINK, 0), info(header<ifinfomsg>()) {
    info.ifi_index = static_cast<int>(index);
  }
  ifinfomsg& info;
};

void put_address(Request& r, unsigned index, const Prefix& address) {
  auto& h = r.header<ifaddrmsg>();
  h.ifa_family = static_cast<std::uint8_t>(address.ip.family);
  h.ifa_prefixlen = static_cast<std::uint8_t>(address.length);
  h.ifa_index = index;
  if (address.ip.family == AF_INET6) h.ifa_flags = IFA_F_NODAD;
  r.put(IFA_LOCAL, address.ip.bytes.data(), address.ip.size());
  r.put(IFA_ADDRESS, address.ip.bytes.data(), address.ip.size());
}

}  // namespace

std::optional<Link> find_link(Netlink& netlink, const std::string& name) {
  Request r(RTM_GETLINK, 0);
  r.header<ifinfomsg>();
  r.put_text(IFLA_IFNAME, name);
  return find(netlink, r);
}

std::optional<Link> find_link(Netlink& netlink, unsigned index) {
  Request r(RTM_GETLINK, 0);
  r.header<ifinfomsg>().ifi_index = static_cast<int>(index);
  return find(netlink, r);
}

Link get_link(Netlink& netlink, const std::string& name, const std::string& what) {
  if (auto link = find_link(netlink, name)) return *link;
  throw Error(Errc::not_found, what + ": there is no device '" + name + "'");
}

void each_link(Netlink& netlink, const std::function<void(const Link&)>& fn) {
  std::vector<Link> links;
  int err = EINTR;
  for (int i = 0; i < kListings && err == EINTR; ++i) {
    links.clear();
    Request r(RTM_GETLINK, NLM_F_DUMP);
    r.header<ifinfomsg>();
    err = netlink.ask(r, [&](const nlmsghdr& h) { links.push_back(link_of(h)); });
  }
  if (err != 0) refuse("listing network devices", err, netlink.why());
  for (const Link& link : links) fn(link);
}

void change_link(Netlink& netlink, unsigned index, const LinkChange& c, const std::string& what) {
  if (c.mac) {
    Change r(index);
    r.put(IFLA_ADDRESS, c.mac->bytes.data(), c.mac->bytes.size());
    netlink.order(r, what + ": setting the address " + text_of(*c.mac));
  }
  if (c.mtu) {
    Change r(index);
    r.put_u32(IFLA_MTU, *c.mtu);
    netlink.order(r, what + ": setting the MTU " + std::to_string(*c.mtu));
  }
  if (c.master) {
    Change r(index);
    r.put_u32(IFLA_MASTER, *c.master);
    netlink.order(r, what + ": joining the bridge");
  }
  if (c.netns >= 0) {
    Change r(index);
    r.put_u32(IFLA_NET_NS_FD, static_cast<std::uint32_t>(c.netns));
    netlink.order(r, what + ": moving to the namespace");
  }
  if (c.up) {
    Change r(index);
    r.info.ifi_change = IFF_UP;
    r.info.ifi_flags = *c.up ? IFF_UP : 0;
    netlink.order(r, what + (*c.up ? ": bringing it up" : ": taking it down"));
  }
}

unsigned create_link(Netlink& netlink, const NewLink& link, const std::string& what) {
  Request r(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  r.header<ifinfomsg>();
  r.put_text(IFLA_IFNAME, link.name);
  if (link.lower != 0) r.put_u32(IFLA_LINK, link.lower);
  if (link.mac) r.put(IFLA_ADDRESS, link.mac->bytes.data(), link.mac->bytes.size());
  r.nest(IFLA_LINKINFO, [&] {
    r.put(IFLA_INFO_KIND, link.kind.data(), link.kind.size());
    if (link.data) r.nest(IFLA_INFO_DATA, [&] { link.data(r); });
  });
  const int err = netlink.ask(r);
  if (err == EOPNOTSUPP && netlink.why() == "Unknown device type")
    throw Error(Errc::unsupported, what + ": this kernel has no " + link.kind +
                                       " devices; if it has them as "
                                       "a module: modprobe " +
                                       link.kind);
  if (err != 0)
    refuse(what + ": making a " + link.kind + " device", err,
           err == EINVAL && netlink.why().empty() ? link.if_invalid : netlink.why());
  return get_link(netlink, link.name, what).index;
}

bool remove_link(Netlink& netlink, unsigned index, const std::string& what) {
  Request r(RTM_DELLINK, 0);
  r.header<ifinfomsg>().ifi_index = static_cast<int>(index);
  const int err = netlink.ask(r);
  if (err != 0 && err != ENODEV) refuse(what + ": removing the device", err, netlink.why());
  return err == 0;
}

void add_address(Netlink& netlink, unsigned index, const Prefix& address, const std::string& what) {
  Request r(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE);
  put_address(r, index, address);
  netlink.order(r, what + ": giving it the address " + text_of(address));
}

void remove_address(Netlink& netlink, unsigned index, const Prefix& address,
                    const std::string& what) {
  Request r(RTM_DELADDR, 0);
  put_address(r, index, address);
  const int err = netlink.ask(r);
  if (err != 0 && err != EADDRNOTAVAIL)
    refuse(what + ": taking the address " + text_of(address) + " from it", err, netlink.why());
}

void add_default_route(Netlink& netlink, unsigned index, const Ip& gateway,
                       const std::string& what) {
  Request r(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
  auto& h = r.header<rtmsg>();
  h.rtm_family = static_cast<std::uint8_t>(gateway.family);
  h.rtm_table = RT_TABLE_MAIN;
  h.rtm_protocol = RTPROT_STATIC;
  h.rtm_scope = RT_SCOPE_UNIVERSE;
  h.rtm_type = RTN_UNICAST;
  r.put(RTA_GATEWAY, gateway.bytes.data(), gateway.size());
  r.put_u32(RTA_OIF, index);
  netlink.order(r, what + ": the route through " + text_of(gateway));
}

}  // namespace rp::tap
