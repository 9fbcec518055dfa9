// SPDX-License-Identifier: BSD-3-Clause
// vde_options.cc - two tables; the door's has vde_switch's names and defaults.
#include "sockets/vde_options.h"

#include <charconv>

#include "base/account.h"
#include "sockets/queue_option.h"

namespace rp::sockets {
namespace {

mode_t parse_mode(const std::string& v, unsigned most) {
  unsigned mode = 0;
  const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), mode, 8);
  if (v.empty() || error != std::errc() || end != v.data() + v.size() || mode > most)
    throw Error(Errc::invalid, "expected an octal mode such as 0660");
  return mode;
}

gid_t parse_group(const std::string& v) {
  if (const auto id = find_group(v)) return *id;
  throw Error(Errc::not_found, "there is no such group");
}

/// For each class that may read or write, the right to enter.
mode_t enterable(mode_t mode) {
  const auto one = [mode](mode_t rights, mode_t enter) {
    return (mode & rights) ? (mode & rights) | enter : 0;
  };
  return 02000 | one(0600, 0100) | one(0060, 0010) | one(0006, 0001);
}

constexpr mode_t kUnset = ~mode_t{0};

constexpr Option<VdeDoorOptions> kDoorOptions[] = {
    {{"mode", "OCTAL", "0600", "of the sockets: who may come in; as a group, 0660"},
     [](VdeDoorOptions& o, const std::string& v) { o.access.mode = parse_mode(v, 0777); }},
    {{"dirmode", "OCTAL", "02700", "of the folder; what mode= needs when only that is given"},
     [](VdeDoorOptions& o, const std::string& v) { o.access.dirmode = parse_mode(v, 07777); }},
    {{"group", "NAME|NUMBER", "", "of the sockets and the folder"},
     [](VdeDoorOptions& o, const std::string& v) { o.access.group = parse_group(v); }},
    {{"sock", "PATH2", "",
      "listens on a bare socket as well, for clients that connect to the very path they are given"},
     [](VdeDoorOptions& o, const std::string& v) { o.alias = v; }},
    {kQueueDoc, set_queue},
};

constexpr Option<VdeUplinkOptions> kUplinkOptions[] = {
    {{"wait", "on|off", "off",
      "starts without the network and joins it when it is there, as after each time it went"},
     [](VdeUplinkOptions& o, const std::string& v) { o.wait = parse_on_off(v); }},
    {kQueueDoc, set_queue},
};

}  // namespace

std::span<const Option<VdeDoorOptions>> vde_door_options() {
  return kDoorOptions;
}

std::span<const Option<VdeUplinkOptions>> vde_uplink_options() {
  return kUplinkOptions;
}

VdeUplinkOptions make_vde_uplink_options(const std::string& url, const VdeParams& params) {
  VdeUplinkOptions o;
  o.url = url;
  if (url.empty())
    throw Error(Errc::invalid, "vde: no network, as in vde:/tmp/lan0 or vde:vxvde://239.0.0.1");
  for (const auto& [key, value] : params) set_option(vde_uplink_options(), o, "vde", key, value);
  return o;
}

VdeDoorOptions make_vde_door_options(const std::string& path, const VdeParams& params) {
  VdeDoorOptions o;
  o.path = path;
  if (path.empty()) throw Error(Errc::invalid, "vde: no path, as in vde:/tmp/lan0");
  const VdeAccess usual;
  o.access.mode = o.access.dirmode = kUnset;
  for (const auto& [key, value] : params) set_option(vde_door_options(), o, "vde", key, value);
  VdeAccess& a = o.access;
  a.given = a.mode != kUnset || a.dirmode != kUnset || a.group != VdeAccess::kNoGroup;
  if (a.mode == kUnset && a.dirmode == kUnset) {
    a.mode = usual.mode;
    a.dirmode = usual.dirmode;
  } else if (a.dirmode == kUnset) {
    a.dirmode = enterable(a.mode);
  } else if (a.mode == kUnset) {
    a.mode = a.dirmode & 0666;
  }
  return o;
}

}  // namespace rp::sockets
