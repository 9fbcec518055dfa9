// SPDX-License-Identifier: BSD-3-Clause
// modes.cc - one row a mode.
#include "backend/modes.h"

#include <algorithm>

#include "backend/isolation.h"
#include "backend/needs.h"
#include "backend/null_port.h"
#include "backend/plug_port.h"
#include "backend/settings.h"
#include "backend/switch_starter.h"
#include "backend/vhost_user/door.h"
#include "backend/vhost_user/open.h"
#include "base/runtime_dir.h"
#include "slirp/needs.h"
#include "slirp/slirp_port.h"
#include "sockets/bxhub_door.h"
#include "sockets/dgram_door.h"
#include "sockets/dgram_uplink.h"
#include "sockets/needs.h"
#include "sockets/seqpacket_door.h"
#include "sockets/stream_options.h"
#include "sockets/stream_uplink.h"
#include "sockets/vde_options.h"
#include "sockets/vde_uplink.h"
#include "tap/needs.h"
#include "tap/open.h"

namespace rp::backend {
namespace {

/// Of a scheme whose options are one table.
template <auto Options>
void each_option(const std::function<void(const OptionDoc&)>& fn) {
  for (const auto& o : Options()) fn(o);
}

void no_options(const std::function<void(const OptionDoc&)>&) {}
void no_needs(const Locator&, bool, const NeedSink&) {}

void slirp_options(const std::function<void(const OptionDoc&)>& fn) {
  for (const auto& o : slirp::options()) fn(o);
  fn(isolate_option());
}

std::unique_ptr<sw::Port> open_slirp(const Locator& l, const Opening& how) {
  Locator inner = l;
  const bool isolate = take_isolate(inner);
  auto config = slirp::make_config(inner.params);
  if (!isolate) return std::make_unique<slirp::SlirpPort>(std::move(config), how.log, how.now);
  const Isolated process(inner, how.log);
  return std::make_unique<PlugPort>(process.name(), how.log, process.restart());
}

/// Only a NAT in a process of its own is a switch that the plug can be on.
std::unique_ptr<vhost_user::Link> link_slirp(const Locator& l, Plug& plug, sw::Offloads can,
                                             const Log& log) {
  Locator inner = l;
  if (!take_isolate(inner)) return nullptr;
  Locator bare = inner;
  take_policy(bare);
  slirp::make_config(bare.params);
  const Isolated process(inner, log);  // whose uplink has the policy, as there is no port here
  return std::make_unique<vhost_user::Link>(process.name(), plug, can, log, process.restart());
}

void slirp_needs(const Locator& l, bool, const NeedSink& sink) {
  Locator inner = l;
  const bool isolate = take_isolate(inner);
  slirp::tell_needs(slirp::make_config(inner.params), sink);
  if (!isolate) return;
  // The process is started again when it dies, with what rights we have left.
  sink(Need::code, "isolate=on");
  sink(Need::capability, "net_bind_service");
}

/// Of a scheme in tap/: what opens it, and what it needs.
template <auto Open>
std::unique_ptr<sw::Port> open_host(const Locator& l, const Opening& how) {
  return Open(l.target, l.params, how.log, how.now);
}

template <auto MakeConfig>
void host_needs(const Locator& l, bool, const NeedSink& sink) {
  tap::tell_needs(MakeConfig(l.target, l.params), sink);
}

void tun_needs(const Locator& l, bool, const NeedSink& sink) {
  tap::tell_needs(tap::make_tun_config(l.target, l.params).device, sink);
}

void refuse_options(const Locator& l) {
  struct Nothing {
  } nothing;
  for (const auto& [key, value] : l.params)
    set_option<Nothing>(std::span<const Option<Nothing>>(), nothing, l.scheme, key, value);
}

std::unique_ptr<sw::Port> open_null(const Locator& l, const Opening&) {
  refuse_options(l);
  return std::make_unique<NullPort>();
}

struct SwitchOptions {
  bool start = true;
  bool on_demand = false;
};

constexpr Option<SwitchOptions> kSwitchOptions[] = {
    {{"start", "on|off", "on",
      "start a switch of that name when none runs, and again when one that was started so is "
      "killed"},
     [](SwitchOptions& o, const std::string& v) { o.start = parse_on_off(v); }},
};
constexpr Option<SwitchOptions> kSwitchDoorOptions[] = {
    {{"on-demand", "on|off", "off", "of a door: plugs start the switch again when it is killed"},
     [](SwitchOptions& o, const std::string& v) { o.on_demand = parse_on_off(v); }},
};

void switch_options(const std::function<void(const OptionDoc&)>& fn) {
  for (const auto& o : kSwitchOptions) fn(o);
  for (const auto& o : kSwitchDoorOptions) fn(o);
}

SwitchOptions switch_options_of(const Locator& l, std::span<const Option<SwitchOptions>> known) {
  SwitchOptions o;
  for (const auto& [key, value] : l.params) set_option(known, o, l.scheme, key, value);
  return o;
}

/// A plug is a port of the other switch, which alone may say what that may do.
void refuse_policy(Locator l) {
  const std::size_t n = l.params.size();
  take_policy(l);
  if (l.params.size() != n)
    throw Error(Errc::invalid,
                "switch: VLANs and the like are that switch's to set: ringplug set " + l.target +
                    " PORT vlan=...");
}

/// Joins the switch by open(restart).
template <typename Open>
auto join_switch(const Locator& l, const Log& log, Open&& open) {
  refuse_policy(l);
  const bool start = switch_options_of(l, kSwitchOptions).start;
  const auto restart = start ? restart_when_killed(l.target, log) : vhost_user::Restart();
  return joined(l.target, start, log, [&] { return open(restart); });
}

std::unique_ptr<sw::Port> open_switch(const Locator& l, const Opening& how) {
  if (how.door)
    return std::make_unique<vhost_user::Door>(l.target,
                                              switch_options_of(l, kSwitchDoorOptions).on_demand);
  return join_switch(l, how.log, [&](const vhost_user::Restart& restart) {
    return std::make_unique<PlugPort>(l.target, how.log, restart);
  });
}

std::unique_ptr<vhost_user::Link> link_switch(const Locator& l, Plug& plug, sw::Offloads can,
                                              const Log& log) {
  return join_switch(l, log, [&](const vhost_user::Restart& restart) {
    return std::make_unique<vhost_user::Link>(l.target, plug, can, log, restart);
  });
}

void switch_needs(const Locator& l, bool door, const NeedSink& sink) {
  if (door)
    sink(Need::remove, folder_of(runtime_path(l.target, ".plug")));
  else if (switch_options_of(l, kSwitchOptions).start)
    sink(Need::code, "switch:" + l.target + ", started again");
  else
    tell_dialing_needs(sink);
}

std::unique_ptr<sw::Port> open_vhost_user(const Locator& l, const Opening&) {
  return std::make_unique<vhost_user::Port>(vhost_user::make_options(l));
}

void require_door(const Locator& l, const Opening& how) {
  if (!how.door)
    throw Error(Errc::unsupported, l.text + ": is a door only, which listens for emulators");
}

void vhost_user_needs(const Locator& l, bool, const NeedSink& sink) {
  tell_vhost_user_needs(vhost_user::make_options(l), sink);
}

std::unique_ptr<sw::Port> open_seqpacket(const Locator& l, const Opening& how) {
  require_door(l, how);
  return std::make_unique<sockets::SeqpacketDoor>(
      sockets::make_seqpacket_options(l.target, l.params));
}

void seqpacket_needs(const Locator& l, bool, const NeedSink& sink) {
  sockets::tell_listener_needs(l.target, sink);
}

void vde_options(const std::function<void(const OptionDoc&)>& fn) {
  const auto door = sockets::vde_door_options();
  for (const auto& o : door) fn(o);
  for (const auto& o : sockets::vde_uplink_options())
    if (std::none_of(door.begin(), door.end(), [&](const auto& d) { return d.name == o.name; }))
      fn(o);
}

std::unique_ptr<sw::Port> open_vde(const Locator& l, const Opening& how) {
  if (how.door)
    return std::make_unique<sockets::VdeDoor>(sockets::make_vde_door_options(l.target, l.params),
                                              how.log);
  return std::make_unique<sockets::VdeUplink>(sockets::make_vde_uplink_options(l.target, l.params),
                                              how.log);
}

void vde_needs(const Locator& l, bool door, const NeedSink& sink) {
  if (door)
    sockets::tell_vde_door_needs(sockets::make_vde_door_options(l.target, l.params), sink);
  else
    sockets::tell_vde_uplink_needs(sockets::make_vde_uplink_options(l.target, l.params), sink);
}

std::unique_ptr<sw::Port> open_stream(const Locator& l, const Opening& how) {
  const sockets::StreamOptions o = sockets::make_stream_options(l.target, l.params);
  if (how.door) return std::make_unique<sockets::StreamDoor>(o, how.log);
  return std::make_unique<sockets::StreamUplink>(o, how.log, how.now);
}

std::unique_ptr<sw::Port> open_dgram(const Locator& l, const Opening& how) {
  const sockets::DgramOptions o = sockets::make_dgram_options(l.target, l.params);
  if (how.door) return std::make_unique<sockets::DgramDoor>(o, how.log);
  return std::make_unique<sockets::DgramUplink>(o, how.log);
}

std::unique_ptr<sw::Port> open_bxhub(const Locator& l, const Opening& how) {
  require_door(l, how);
  return std::make_unique<sockets::BxhubDoor>(sockets::make_bxhub_options(l.target, l.params));
}

void stream_needs(const Locator& l, bool door, const NeedSink& sink) {
  sockets::tell_stream_needs(sockets::make_stream_options(l.target, l.params), door, sink);
}

void dgram_needs(const Locator& l, bool door, const NeedSink& sink) {
  sockets::tell_dgram_needs(sockets::make_dgram_options(l.target, l.params), door, sink);
}

void bxhub_needs(const Locator&, bool, const NeedSink& sink) {
  sink(Need::family, "inet");
}

constexpr Mode kModes[] = {
    {"slirp", "", "user-mode NAT: needs no rights, the guest reaches what the host reaches",
     "slirp?hostfwd=tcp:127.0.0.1:2222-:22", slirp_options, open_slirp, link_slirp, slirp_needs,
     true},
    {"switch", "NAME", "a switch in another process, through shared memory; as a door, its name",
     "switch:lan0", switch_options, open_switch, link_switch, switch_needs},
    {"vhost-user", "PATH", "a virtio-net guest's rings in its own memory, over a UNIX socket",
     "vhost-user:/tmp/vm0.sock", each_option<vhost_user::options>, open_vhost_user, nullptr,
     vhost_user_needs},
    {"vde", "PATH|URL",
     "a VDE network that libvdeplug opens; as a door, a VDE switch at PATH for stock VDE programs",
     "vde:/tmp/lan0", vde_options, open_vde, nullptr, vde_needs},
    {"seqpacket", "PATH", "a door for programs that pass bare frames over SOCK_SEQPACKET",
     "seqpacket:/tmp/uml0.sock", each_option<sockets::seqpacket_options>, open_seqpacket, nullptr,
     seqpacket_needs},
    {"stream", "PATH|HOST:PORT",
     "frames with their length before them over a stream; as a door, listens for them",
     "stream:/tmp/net.sock", each_option<sockets::stream_options>, open_stream, nullptr,
     stream_needs},
    {"dgram", "PATH|HOST:PORT",
     "a frame as a datagram, over UNIX or UDP sockets; as a door, for whoever sends to it",
     "dgram:/tmp/net.sock", each_option<sockets::dgram_options>, open_dgram, nullptr, dgram_needs},
    {"bxhub", "PORT", "a door for Bochs' own ethmod=socket, from that UDP port on", "bxhub:40000",
     each_option<sockets::bxhub_options>, open_bxhub, nullptr, bxhub_needs},
    {"tap", "NAME", "a tap device of the host: made here, or there already", "tap:tap0?bridge=br0",
     each_option<tap::tap_options>, open_host<tap::open_tap>, nullptr,
     host_needs<tap::make_tap_config>},
    {"tun", "NAME", "an IP device of the host, which answers Ethernet guests as a gateway",
     "tun:tun0?address=192.0.2.1/24", each_option<tap::tun_options>, open_host<tap::open_tun>,
     nullptr, tun_needs},
    {"macvtap", "PARENT", "a device of its own on top of another, which has the guest's address",
     "macvtap:eth0?mode=bridge&mac=02:00:00:00:00:01", each_option<tap::macvtap_options>,
     open_host<tap::open_macvtap>, nullptr, host_needs<tap::make_macvtap_config>},
    {"ipvtap", "PARENT", "the same with its parent's address, told apart by IP addresses",
     "ipvtap:eth0?mode=l2", each_option<tap::ipvtap_options>, open_host<tap::open_ipvtap>, nullptr,
     host_needs<tap::make_ipvtap_config>},
    {"eth", "NAME", "any Ethernet device of the host, shared with it", "eth:eth1",
     each_option<tap::eth_options>, open_host<tap::open_eth>, nullptr,
     host_needs<tap::make_eth_config>},
    {"ifb", "NAME",
     "a device whose incoming frames are redirected through an ifb device and shaped",
     "ifb:ifb0?dev=eth1&rate=100mbit", each_option<tap::ifb_options>, open_host<tap::open_ifb>,
     nullptr, host_needs<tap::make_ifb_config>},
    {"veth", "NAME", "a pair of devices made here, the other end for a bridge or a namespace",
     "veth:veth0?netns=1234&address=192.0.2.2/24", each_option<tap::veth_options>,
     open_host<tap::open_veth>, nullptr, host_needs<tap::make_veth_config>},
    {"netns", "PID|PATH", "a network namespace as a guest: a tap device in it, configured",
     "netns:1234?name=eth0", each_option<tap::netns_options>, open_host<tap::open_netns>, nullptr,
     host_needs<tap::make_netns_config>},
    {"null", "", "a network that nothing else is on: frames are swallowed", "null", no_options,
     open_null, nullptr, no_needs},
};

}  // namespace

std::span<const Mode> modes() {
  return kModes;
}

const Mode& mode_of(const Locator& l) {
  std::string known;
  for (const Mode& m : kModes) {
    if (m.scheme == l.scheme) {
      if (l.has_target && m.target.empty())
        throw Error(Errc::invalid, l.scheme + ": takes no ':" + l.target +
                                       "'; options follow a '?', as in " + std::string(m.example));
      return m;
    }
    known += known.empty() ? "" : ", ";
    known += m.scheme;
  }
  throw Error(Errc::unknown, "unknown scheme '" + l.scheme + "'; accepted: " + known);
}

void suggest_mtu(Locator& l, unsigned mtu) {
  const auto said = [](const auto& param) { return param.first == "mtu"; };
  if (mtu != 0 && mode_of(l).tells_mtu && std::ranges::none_of(l.params, said))
    l.params.emplace_back("mtu", std::to_string(mtu));
}

void tell_needs(const Locator& l, bool door, const NeedSink& sink) {
  tell_loop_needs(sink);
  mode_of(l).needs(l, door, sink);
}

std::unique_ptr<sw::Port> open_port(const Locator& l, const Opening& how) {
  return mode_of(l).open(l, how);
}

}  // namespace rp::backend
