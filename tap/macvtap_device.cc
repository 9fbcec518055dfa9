// SPDX-License-Identifier: BSD-3-Clause
// macvtap_device.cc - makes the device, opens its node, and a way for the host beside it.
//
// Unlike a tap device it does not go with its descriptors, so it is removed by name of its index.
#include "tap/macvtap_device.h"

#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <net/if.h>

#include <cerrno>

#include "base/error.h"
#include "tap/links.h"
#include "tap/made_link.h"
#include "tap/tap_device.h"
#include "tap/tun_ioctl.h"
#include "tap/uevents.h"

namespace rp::tap {
namespace {

/// Names that are tried before it is said that none is free.
constexpr unsigned kNames = 1000;

/// The kernel says a bare EINVAL for each.
constexpr const char* kIfInvalid =
    "the parent is no Ethernet device, or has one with mode=passthru, which takes no other beside "
    "it; "
    "or no minor is free, then dmesg says 'Too many tap devices' and another one has to go first";

class MacvtapDevice final : public Device {
 public:
  explicit MacvtapDevice(const MacvtapConfig& c)
      : c_(c), what_(std::string(c.kind) + ":" + c.parent) {}
  Attached attach() override;

 private:
  MadeLink make(const char* kind, std::string& name, unsigned parent);
  void put_data(Request& r) const;
  void make_host_path(unsigned parent);

  const MacvtapConfig c_;
  const std::string what_;
  Netlink netlink_;
  MadeLink device_, host_path_;
};

Attached MacvtapDevice::attach() {
  device_ = {};
  host_path_ = {};
  const Link parent = get_link(netlink_, c_.parent, what_);
  Attached a;
  a.name = c_.name;
  Uevents uevents;
  MadeLink made = make(c_.kind, a.name, parent.index);
  a.index = made.index();
  const unsigned flags =
      IFF_TAP | IFF_NO_PI | (c_.offload ? IFF_VNET_HDR : 0) | (c_.queues > 1 ? IFF_MULTI_QUEUE : 0);
  for (unsigned i = 0; i < c_.queues; ++i) {
    Fd fd = uevents.open_node(c_.kind, a.name, a.index, what_);
    std::string ignored;
    if (const int err = set_interface(fd, ignored, flags); err != 0)
      refuse(what_ + ": setting up its descriptor", err);
    if (c_.offload) set_header_size(fd, sizeof(sw::Offload), what_);
    a.can = set_offloads(fd, c_.offload);
    a.queues.push_back(std::move(fd));
  }
  if (c_.offload) a.header = sizeof(sw::Offload);
  Settings settings = c_.settings;
  settings.mac.reset();  // given when it was made
  apply_settings(netlink_, a.index, settings, true, what_);
  // A switch would take its own guest for one outside, if a broadcast came back.
  if (!c_.is_ipvtap()) a.reflected = find_link(netlink_, a.index).value_or(Link{}).mac;
  if (c_.host_path) make_host_path(parent.index);
  device_ = std::move(made);
  return a;
}

MadeLink MacvtapDevice::make(const char* kind, std::string& name, unsigned parent) {
  NewLink link{name, kind, parent, c_.settings.mac, [this](Request& r) { put_data(r); }};
  link.if_invalid = kIfInvalid;
  if (!name.empty()) return {netlink_, create_link(netlink_, link, what_)};
  for (unsigned i = 0; i < kNames; ++i) {
    link.name = name = kind + std::to_string(i);
    if (find_link(netlink_, name)) continue;
    try {
      return {netlink_, create_link(netlink_, link, what_)};
    } catch (const Error& e) {
      // Somebody else was quicker; or the parent is what is busy.
      if (e.code() != Errc::busy || !find_link(netlink_, name)) throw;
    }
  }
  throw Error(Errc::resources, what_ + ": no name of the form " + kind + "N is free");
}

void MacvtapDevice::put_data(Request& r) const {
  if (c_.is_ipvtap()) {
    r.put_u16(IFLA_IPVLAN_MODE, static_cast<std::uint16_t>(c_.mode));
    r.put_u16(IFLA_IPVLAN_FLAGS, static_cast<std::uint16_t>(c_.flags));
    return;
  }
  r.put_u32(IFLA_MACVLAN_MODE, c_.mode);
  if (c_.allowed.empty()) return;
  r.put_u32(IFLA_MACVLAN_MACADDR_MODE, MACVLAN_MACADDR_SET);
  r.nest(IFLA_MACVLAN_MACADDR_DATA, [&] {
    for (const sw::Mac& m : c_.allowed) r.put(IFLA_MACVLAN_MACADDR, m.bytes.data(), m.bytes.size());
  });
}

/// What the parent sends itself does not reach devices on top of it, but a sibling's frames do.
void MacvtapDevice::make_host_path(unsigned parent) {
  const std::string what = what_ + ": host-path";
  std::string name;
  for (unsigned i = 0; name.empty() || find_link(netlink_, name); ++i)
    name = "macvlan" + std::to_string(i);
  NewLink link{name, "macvlan", parent, {}, [](Request& r) {
                 r.put_u32(IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
               }};
  host_path_ = {netlink_, create_link(netlink_, link, what)};
  Settings settings;
  settings.addresses = c_.host_addresses;
  apply_settings(netlink_, host_path_.index(), settings, true, what);
}

}  // namespace

std::unique_ptr<Device> make_macvtap_device(const MacvtapConfig& c) {
  return std::make_unique<MacvtapDevice>(c);
}

}  // namespace rp::tap
