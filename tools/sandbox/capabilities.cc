// SPDX-License-Identifier: BSD-3-Clause
// capabilities.cc - capset(2) and prctl(2).
#include "tools/sandbox/capabilities.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace rp::tools {
namespace {

/// Those that modes ask for.
constexpr std::pair<const char*, unsigned> kNames[] = {
    {"chown", CAP_CHOWN},
    {"dac_override", CAP_DAC_OVERRIDE},
    {"fowner", CAP_FOWNER},
    {"net_admin", CAP_NET_ADMIN},
    {"net_bind_service", CAP_NET_BIND_SERVICE},
    {"net_raw", CAP_NET_RAW},
    {"sys_admin", CAP_SYS_ADMIN},
};

}  // namespace

std::optional<unsigned> capability_bit(const std::string& name) {
  for (const auto& [known, bit] : kNames)
    if (name == known) return bit;
  return std::nullopt;
}

int keep_capabilities(std::uint64_t mask) noexcept {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capget, &header, sets) != 0) return errno;
  // Without CAP_SETPCAP the bounding set stays, which NO_NEW_PRIVS makes worthless.
  for (unsigned bit = 0; prctl(PR_CAPBSET_READ, bit, 0, 0, 0) >= 0; ++bit)
    if ((mask >> bit & 1) == 0) prctl(PR_CAPBSET_DROP, bit, 0, 0, 0);
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  for (unsigned i = 0; i < _LINUX_CAPABILITY_U32S_3; ++i) {
    const auto part = static_cast<std::uint32_t>(mask >> (32 * i));
    sets[i].permitted &= part;
    sets[i].effective = sets[i].permitted;
    sets[i].inheritable = 0;
  }
  return syscall(SYS_capset, &header, sets) == 0 ? 0 : errno;
}

}  // namespace rp::tools
