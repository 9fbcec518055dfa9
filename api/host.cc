// SPDX-License-Identifier: BSD-3-Clause
// host.cc - rp_nics_list, rp_host_examine and rp_needs.
#include <algorithm>

#include "api/guard.h"
#include "backend/modes.h"
#include "backend/settings.h"
#include "tap/doctor.h"
#include "tap/nics.h"

using namespace rp;
using namespace rp::api;

static_assert(RP_NIC_PHYSICAL == static_cast<int>(tap::NicType::physical) &&
              RP_NIC_VIRTUAL == static_cast<int>(tap::NicType::virtual_device) &&
              RP_NIC_PARAVIRTUAL == static_cast<int>(tap::NicType::paravirtual) &&
              RP_NIC_SRIOV_VF == static_cast<int>(tap::NicType::sriov_vf));

static_assert(RP_NEED_CALL == static_cast<int>(Need::call) &&
              RP_NEED_FAMILY == static_cast<int>(Need::family) &&
              RP_NEED_IOCTL == static_cast<int>(Need::ioctl) &&
              RP_NEED_READ == static_cast<int>(Need::read) &&
              RP_NEED_WRITE == static_cast<int>(Need::write) &&
              RP_NEED_FOLDER == static_cast<int>(Need::folder) &&
              RP_NEED_REMOVE == static_cast<int>(Need::remove) &&
              RP_NEED_CAPABILITY == static_cast<int>(Need::capability) &&
              RP_NEED_CODE == static_cast<int>(Need::code));

extern "C" {

int rp_nics_list(rp_nic_fn fn, void* opaque, rp_error* err) {
  return guarded(err, [&] {
    if (!fn) throw Error(Errc::invalid, "the callback is NULL");
    tap::each_nic([&](const tap::Nic& nic) {
      rp_nic_info info{};
      info.size = sizeof info;
      info.name = nic.link.name.c_str();
      info.index = nic.link.index;
      info.type = static_cast<int>(nic.verdict.type);
      info.type_name = tap::name_of(nic.verdict.type);
      info.kind = nic.facts.kind.c_str();
      info.driver = nic.facts.driver.c_str();
      info.bus = nic.facts.bus.c_str();
      info.evidence = nic.verdict.evidence.c_str();
      std::copy(nic.link.mac.bytes.begin(), nic.link.mac.bytes.end(), info.mac);
      info.mtu = nic.link.mtu;
      info.up = nic.link.flags & 1 ? 1 : 0;
      fn(opaque, &info);
    });
  });
}

int rp_host_examine(rp_finding_fn fn, void* opaque, rp_error* err) {
  return guarded(err, [&] {
    if (!fn) throw Error(Errc::invalid, "the callback is NULL");
    tap::examine_host([&](const tap::Finding& f) {
      const rp_finding finding{sizeof finding, f.what, f.state == tap::Finding::State::fine ? 1 : 0,
                               f.found.c_str(), f.remedy.c_str()};
      fn(opaque, &finding);
    });
  });
}

int rp_needs(const char* locator, int listens, rp_need_fn fn, void* opaque, rp_error* err) {
  return guarded(err, [&] {
    if (!locator || !fn) throw Error(Errc::invalid, "the locator or the callback is NULL");
    auto parsed = backend::parse_locator(locator);
    backend::take_policy(parsed);
    backend::tell_needs(parsed, listens != 0, [&](Need what, const std::string& value) {
      fn(opaque, static_cast<int>(what), value.c_str());
    });
  });
}

}  // extern "C"
