// SPDX-License-Identifier: BSD-3-Clause
// isolation.cc - a locator without isolate=, as the uplink of a private switch.
#include "backend/isolation.h"

#include "backend/switch_starter.h"

namespace rp::backend {
namespace {

constexpr std::string_view kKey = "isolate";

}  // namespace

OptionDoc isolate_option() {
  return {kKey, "on|off", "off",
          "runs in a process of its own, which is started again when it dies"};
}

bool take_isolate(Locator& l) {
  bool isolate = false;
  std::erase_if(l.params, [&](const auto& param) {
    if (param.first != kKey) return false;
    try {
      isolate = parse_on_off(param.second);
    } catch (const Error& e) {
      throw Error(e.code(), l.scheme + ": " + param.first + "=" + param.second + ": " + e.what());
    }
    return true;
  });
  return isolate;
}

Isolated::Isolated(const Locator& l, const Log& log)
    : name_(private_name(l.scheme)), uplink_(text_of(l)), log_(log) {
  start_switch(name_, log_, uplink_);
}

vhost_user::Restart Isolated::restart() const {
  return [name = name_, uplink = uplink_, log = log_](const vhost_user::Gone& gone) {
    start_switch(name, log, uplink, gone.stop);
    return true;
  };
}

}  // namespace rp::backend
