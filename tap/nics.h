// SPDX-License-Identifier: BSD-3-Clause
// nics.h - which of the host's network devices are hardware, and how one can tell.
//
// What decides is where the kernel hangs the device (sysfs) and what made it (IFLA_INFO_KIND). Not
// its name, nor the locally-administered bit of its address: virtual devices may have addresses of
// vendors, and hardware has locally administered ones when a user or a privacy setting says so.
#pragma once

#include <functional>
#include <string>

#include "tap/links.h"

namespace rp::tap {

enum class NicType { unknown, physical, virtual_device, paravirtual, sriov_vf };

/// What is known of a device before it is judged.
struct NicFacts {
  std::string path;    ///< its folder in sysfs, resolved; empty: sysfs does not show it
  std::string kind;    ///< IFLA_INFO_KIND
  std::string bus;     ///< of device/subsystem; empty: it has none
  std::string driver;  ///< of device/driver
  bool has_parent_function = false;  ///< device/physfn is there
  bool loopback = false;
};

struct NicVerdict {
  NicType type = NicType::unknown;
  std::string evidence;  ///< a phrase for people: what decided
};

/// Pure.
NicVerdict judge_nic(const NicFacts& facts);

struct Nic {
  Link link;
  NicFacts facts;
  NicVerdict verdict;
};

/// Calls fn for each device of this thread's network namespace. `sysfs` is where that is mounted.
/// Throws Error.
void each_nic(const std::function<void(const Nic&)>& fn, const std::string& sysfs = "/sys");

/// "physical", "virtual", "paravirtual", "sr-iov vf", "unknown".
const char* name_of(NicType type);

/// What Windows' registry says of an adapter, below
/// ...\Control\Class\{4D36E972-E325-11CE-BFC1-08002BE10318}\NNNN.
struct WindowsNic {
  bool has_characteristics = false;
  unsigned characteristics = 0;  ///< NCF_* bits
  std::string instance;          ///< DeviceInstanceID, as PCI\VEN_8086&DEV_15F3...
};

/// Pure. The rule: NCF_PHYSICAL says hardware, but for what a hypervisor's bus enumerates;
/// NCF_VIRTUAL, or an enumerator in software, says virtual. MediaSubType is not looked at: it says
/// what the medium is.
NicVerdict judge_windows_nic(const WindowsNic& nic);

}  // namespace rp::tap
