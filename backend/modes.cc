// SPDX-License-Identifier: BSD-3-Clause
// modes.cc - one row a mode.
#include "backend/modes.h"

#include "backend/null_port.h"
#include "backend/vhost_user/open.h"
#include "slirp/slirp_port.h"

namespace rp::backend {
namespace {

void no_options(const std::function<void(const OptionDoc&)>&) {}

void slirp_options(const std::function<void(const OptionDoc&)>& fn) {
  for (const auto& o : slirp::options()) fn(o);
}

std::unique_ptr<sw::Port> open_slirp(const Locator& l, const Opening& how) {
  return std::make_unique<slirp::SlirpPort>(slirp::make_config(l.params), how.log, how.now);
}

struct Nothing {};

std::unique_ptr<sw::Port> open_null(const Locator& l, const Opening&) {
  Nothing nothing;
  for (const auto& [key, value] : l.params)
    set_option<Nothing>(std::span<const Option<Nothing>>(), nothing, "null", key, value);
  return std::make_unique<NullPort>();
}

void vhost_user_options(const std::function<void(const OptionDoc&)>& fn) {
  for (const auto& o : vhost_user::options()) fn(o);
}

std::unique_ptr<sw::Port> open_vhost_user(const Locator& l, const Opening&) {
  return std::make_unique<vhost_user::Port>(vhost_user::make_options(l));
}

constexpr Mode kModes[] = {
    {"slirp", "", "user-mode NAT: needs no rights, the guest reaches what the host reaches",
     "slirp?hostfwd=tcp:127.0.0.1:2222-:22", slirp_options, open_slirp},
    {"vhost-user", "PATH", "a virtio-net guest's rings in its own memory, over a UNIX socket",
     "vhost-user:/tmp/vm0.sock", vhost_user_options, open_vhost_user},
    {"null", "", "a network that nothing else is on: frames are swallowed", "null", no_options,
     open_null},
};

}  // namespace

std::span<const Mode> modes() {
  return kModes;
}

std::unique_ptr<sw::Port> open_port(const Locator& l, const Opening& how) {
  std::string known;
  for (const Mode& m : kModes) {
    if (m.scheme == l.scheme) {
      if (l.has_target && m.target.empty())
        throw Error(Errc::invalid, l.scheme + ": takes no ':" + l.target +
                                       "'; options follow a '?', as in " + std::string(m.example));
      return m.open(l, how);
    }
    known += known.empty() ? "" : ", ";
    known += m.scheme;
  }
  throw Error(Errc::unknown, "unknown scheme '" + l.scheme + "'; accepted: " + known);
}

}  // namespace rp::backend
