// SPDX-License-Identifier: BSD-3-Clause
// open.cc - the table of vhost-user's options.
#include "backend/vhost_user/open.h"

#include <climits>

namespace rp::backend::vhost_user {
namespace {

constexpr Option<PortOptions> kOptions[] = {
    {{"connect", "on|off", "off",
      "dial a front end that listens on PATH, again and again, instead of listening"},
     [](PortOptions& o, const std::string& v) { o.connect = parse_on_off(v); }},
    {{"fd", "NUMBER", "", "a socket that is open already, listening or connected, instead of PATH"},
     [](PortOptions& o, const std::string& v) {
       o.fd = static_cast<int>(parse_number(v, 0, INT_MAX));
     }},
    {{"queues", "1..8", "8", "pairs of queues that the front end may use"},
     [](PortOptions& o, const std::string& v) {
       o.queues = parse_number(v, 1, static_cast<unsigned>(Device::kMaxPairs));
     }},
    {{"state", "FILE", "PATH.state",
      "keeps the places of packed rings, so that a new switch goes on where a killed one stopped"},
     [](PortOptions& o, const std::string& v) { o.state = v; }},
};

}  // namespace

std::span<const Option<PortOptions>> options() {
  return kOptions;
}

PortOptions make_options(const Locator& l) {
  PortOptions o;
  o.path = l.target;
  for (const auto& [key, value] : l.params) set_option(options(), o, "vhost-user", key, value);
  if (o.fd >= 0 && (!o.path.empty() || o.connect))
    throw Error(Errc::invalid, "vhost-user: fd= takes the place of a path and of connect=");
  if (o.fd < 0 && o.path.empty())
    throw Error(Errc::invalid, "vhost-user: no path, as in vhost-user:/tmp/vm0.sock");
  return o;
}

}  // namespace rp::backend::vhost_user
