// SPDX-License-Identifier: BSD-3-Clause
// schemes.cc - collects rp_locators() and looks names up in it.
#include "tools/schemes.h"

#include "ringplug.h"
#include "tools/command.h"

namespace rp::tools {
namespace {

void collect(void* opaque, const rp_locator_info* info) {
  auto& all = *static_cast<std::vector<Scheme>*>(opaque);
  if (!info->option)
    all.push_back({info->scheme, info->target, info->summary, info->example, {}});
  else
    all.back().options.push_back({info->option, info->syntax, info->fallback, info->text});
}

template <typename Named>
std::string names(const std::vector<Named>& all) {
  std::string list;
  for (const auto& one : all) list += (list.empty() ? "" : ", ") + one.name;
  return list.empty() ? "none" : list;
}

void check_option(const Scheme& scheme, const std::string& pair) {
  const std::string key = pair.substr(0, pair.find('='));
  const GText decoded(g_uri_unescape_string(key.c_str(), nullptr));
  for (const SchemeOption& o : scheme.options)
    if (decoded && o.name == decoded.get()) return;
  throw Complaint(
      kUsage, scheme.name + ": unknown option '" + key + "'; accepted: " + names(scheme.options));
}

}  // namespace

std::vector<Scheme> schemes() {
  std::vector<Scheme> all;
  rp_locators(collect, &all);
  return all;
}

const Scheme& find_scheme(const std::vector<Scheme>& all, const std::string& name) {
  for (const Scheme& s : all)
    if (s.name == name) return s;
  throw Complaint(kUsage, "unknown scheme '" + name + "'; accepted: " + names(all));
}

void check_locator(const std::string& locator) {
  if (locator.empty())
    throw Complaint(kUsage, "the locator is empty; `ringplug locators` lists some");
  const auto all = schemes();
  const auto question = locator.find('?');
  const Scheme& scheme = find_scheme(all, locator.substr(0, locator.find_first_of(":?")));
  if (question == locator.npos) return;
  std::string rest = locator.substr(question + 1);
  while (!rest.empty()) {
    const auto amp = rest.find('&');
    check_option(scheme, rest.substr(0, amp));
    rest.erase(0, amp == rest.npos ? amp : amp + 1);
  }
}

}  // namespace rp::tools
