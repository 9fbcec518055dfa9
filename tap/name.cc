// SPDX-License-Identifier: BSD-3-Clause
// name.cc - the kernel's rules for names (dev_valid_name) and ours, which are narrower.
#include "tap/name.h"

#include <net/if.h>

#include <algorithm>

#include "base/error.h"

namespace rp::tap {
namespace {

bool allowed(char c) {
  return c > 0x20 && c < 0x7f && c != '/' && c != ':' && c != '%';
}

}  // namespace

void check_name(const std::string& name, const std::string& what) {
  const auto bad = [&](const std::string& why) {
    throw Error(Errc::invalid, what + ": '" + name + "' is no name of a device: " + why);
  };
  if (name.empty()) bad("it is empty");
  if (name.size() >= IFNAMSIZ) bad("it has more than " + std::to_string(IFNAMSIZ - 1) + " bytes");
  if (name == "." || name == "..") bad("the kernel keeps it for itself");
  if (!std::all_of(name.begin(), name.end(), allowed))
    bad("it may have no blanks, '/', ':', '%' or bytes that don't print");
}

}  // namespace rp::tap
