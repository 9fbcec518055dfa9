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
  rp_error error = RP_ERROR_INIT;
  const auto ignore = [](void*, int, const char*) {};
  if (rp_needs(locator.c_str(), 0, ignore, nullptr, &error) != 0)
    throw Complaint(kUsage, error.message);
}

}  // namespace rp::tools
