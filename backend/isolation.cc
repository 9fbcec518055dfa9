// SPDX-License-Identifier: BSD-3-Clause
// isolation.cc - the locator without isolate=, as the uplink of a private switch.
#include "backend/isolation.h"

#include "backend/switch_starter.h"

namespace rp::backend {
namespace {

constexpr std::string_view kKey = "isolate";

/// The locator as written, without the pairs of our key.
std::string without_key(const std::string& text) {
  const auto question = text.find('?');
  if (question == text.npos) return text;
  std::string kept;
  for (std::size_t at = question + 1; at <= text.size();) {
    const auto end = std::min(text.find('&', at), text.size());
    const std::string pair = text.substr(at, end - at);
    if (!pair.starts_with(std::string(kKey) + '=')) kept += (kept.empty() ? "?" : "&") + pair;
    at = end + 1;
  }
  return text.substr(0, question) + kept;
}

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
  l.text = without_key(l.text);
  // Written as %XX the key is still there, and the process would isolate itself again.
  for (const auto& param : parse_locator(l.text).params)
    if (param.first == kKey)
      throw Error(Errc::invalid, l.scheme + ": write the key isolate without %");
  return isolate;
}

Isolated::Isolated(const Locator& l, const Log& log)
    : name_(private_name(l.scheme)), uplink_(l.text), log_(log) {
  start_switch(name_, log_, uplink_);
}

std::function<void(int)> Isolated::restart() const {
  return [name = name_, uplink = uplink_, log = log_](int stop) {
    start_switch(name, log, uplink, stop);
  };
}

}  // namespace rp::backend
