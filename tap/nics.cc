// SPDX-License-Identifier: BSD-3-Clause
// nics.cc - gathers facts from netlink and sysfs, and judges them.
#include "tap/nics.h"

#include <limits.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace rp::tap {
namespace {

using namespace std::string_view_literals;

/// Buses that a hypervisor makes up for its guests.
constexpr std::array kParavirtualBuses = {"virtio"sv, "vmbus"sv, "xen"sv, "xen-backend"sv, "vio"sv};

std::string resolved(const std::string& path) {
  char real[PATH_MAX];
  return realpath(path.c_str(), real) ? real : "";
}

std::string last_part(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

bool there(const std::string& path) {
  struct stat s;
  return lstat(path.c_str(), &s) == 0;
}

NicFacts facts_of(const Link& link, const std::string& sysfs) {
  NicFacts f;
  f.kind = link.kind;
  f.loopback = link.type == ARPHRD_LOOPBACK;
  const std::string entry = sysfs + "/class/net/" + link.name;
  f.path = resolved(entry);
  if (f.path.empty()) return f;
  f.bus = last_part(resolved(entry + "/device/subsystem"));
  f.driver = last_part(resolved(entry + "/device/driver"));
  f.has_parent_function = there(entry + "/device/physfn");
  return f;
}

bool starts_with(const std::string& text, std::string_view prefix) {
  return std::equal(
      prefix.begin(), prefix.end(), text.begin(),
      text.begin() + static_cast<std::ptrdiff_t>(std::min(prefix.size(), text.size())),
      [](char a, char b) { return a == (b >= 'a' && b <= 'z' ? b - 'a' + 'A' : b); });
}

}  // namespace

NicVerdict judge_nic(const NicFacts& f) {
  if (f.loopback) return {NicType::virtual_device, "the loopback device"};
  const std::string made = f.kind.empty() ? "" : ", made as " + f.kind;
  if (f.path.find("/devices/virtual/") != f.path.npos)
    return {NicType::virtual_device, "sysfs has it below devices/virtual" + made};
  // A port of a switch chip (dsa) has a kind and is hardware, so the kind comes last.
  if (f.has_parent_function)
    return {NicType::sriov_vf, "its device on bus " + f.bus + " has a physfn"};
  if (std::find(kParavirtualBuses.begin(), kParavirtualBuses.end(), f.bus) !=
      kParavirtualBuses.end())
    return {NicType::paravirtual, "its device is on bus " + f.bus + ", which is a hypervisor's"};
  if (!f.bus.empty()) return {NicType::physical, "its device is on bus " + f.bus};
  if (!f.kind.empty()) return {NicType::virtual_device, "it hangs on no device" + made};
  if (f.path.empty())
    return {NicType::unknown, "sysfs does not show it: it is another namespace's"};
  return {NicType::unknown, "it hangs on no device"};
}

void each_nic(const std::function<void(const Nic&)>& fn, const std::string& sysfs) {
  Netlink netlink;
  each_link(netlink, [&](const Link& link) {
    Nic nic{link, facts_of(link, sysfs), {}};
    nic.verdict = judge_nic(nic.facts);
    fn(nic);
  });
}

const char* name_of(NicType type) {
  switch (type) {
    case NicType::physical:
      return "physical";
    case NicType::virtual_device:
      return "virtual";
    case NicType::paravirtual:
      return "paravirtual";
    case NicType::sriov_vf:
      return "sr-iov vf";
    case NicType::unknown:
      break;
  }
  return "unknown";
}

NicVerdict judge_windows_nic(const WindowsNic& nic) {
  // netcfgx.h: NCF_VIRTUAL, NCF_SOFTWARE_ENUMERATED, NCF_PHYSICAL.
  constexpr unsigned kVirtual = 1, kSoftware = 2, kPhysical = 4;
  for (const auto bus : {"VMBUS\\"sv, "XENVIF\\"sv, "XENBUS\\"sv, "PCI\\VEN_1AF4"sv}) {
    if (starts_with(nic.instance, bus))
      return {NicType::paravirtual, "enumerated as " + std::string(bus) + ", a hypervisor's"};
  }
  for (const auto software : {"ROOT\\"sv, "SWD\\"sv, "{"sv}) {
    if (starts_with(nic.instance, software))
      return {NicType::virtual_device, "enumerated in software, as " + std::string(software)};
  }
  if (!nic.has_characteristics) return {NicType::unknown, "Characteristics is missing"};
  if (nic.characteristics & kPhysical)
    return {NicType::physical, "Characteristics has NCF_PHYSICAL"};
  if (nic.characteristics & kVirtual)
    return {NicType::virtual_device, "Characteristics has NCF_VIRTUAL"};
  if (nic.characteristics & kSoftware)
    return {NicType::virtual_device, "Characteristics has NCF_SOFTWARE_ENUMERATED"};
  return {NicType::unknown, "Characteristics says neither physical nor virtual"};
}

}  // namespace rp::tap
