// SPDX-License-Identifier: BSD-3-Clause
// devices_test.cc - each call of an open that makes a device may fail, and the kernel may refuse
// it.
#include <gtest/gtest.h>

#include "tests/hostile/faults.h"
#include "tests/hostile/refused_opens.h"
#include "tests/tap/veth.h"

namespace rp::test {
namespace {

enum class Needs { tun, veth, macvtap };

/// `work` in a network with what it needs.
template <typename Work>
void with(Needs needs, Work&& work) {
  if (needs == Needs::tun) return in_network(work);
  if (needs == Needs::veth) return with_veth(work);
  with_macvtap(work);
}

struct DeviceCase {
  const char* name;
  const char* locator;
  const char* made;  ///< what goes with the port; null: nothing
  Needs needs;
};

class EachCallOfDevice : public testing::TestWithParam<DeviceCase> {};

INSTANTIATE_TEST_SUITE_P(
    Faults, EachCallOfDevice,
    testing::Values(DeviceCase{"tap", "tap:t0?address=192.0.2.1/24", "t0", Needs::tun},
                    DeviceCase{"tun", "tun:u0?address=192.0.2.1/24", "u0", Needs::tun},
                    DeviceCase{"macvtap", "macvtap:p0?host-path=on", "macvtap0", Needs::macvtap},
                    DeviceCase{"eth", "eth:p0", nullptr, Needs::veth},
                    DeviceCase{"veth", "veth:v0?peer=v1", "v0", Needs::veth}),
    [](const auto& i) { return std::string(i.param.name); });

TEST_P(EachCallOfDevice, AnOpenMayFail) {
  const DeviceCase& c = GetParam();
  with(c.needs, [&] {
    EXPECT_GE(refused_opens(c.locator, fail_call, failed), 3u);
    EXPECT_FALSE(c.made && there(c.made));
  });
}

/// A kernel has 2^20 minors for macvtap devices; that none is free it says with EINVAL.
TEST(NoFreeMinor, IsToldAndLeavesNothing) {
  with_macvtap([] {
    const process_state before = process_state_now();
    refuse_links(EINVAL);
    rp_error err = RP_ERROR_INIT;
    rp_plug* plug = nullptr;
    EXPECT_EQ(rp_plug_open("macvtap:p0", nullptr, &plug, &err), RP_ESYSTEM);
    refuse_links(0);
    EXPECT_TRUE(contains(err.message, "macvtap:p0: making a macvtap device: Invalid argument"))
        << err.message;
    EXPECT_TRUE(contains(err.message, "no minor is free")) << err.message;
    const process_state after = process_state_now();
    EXPECT_EQ(after.descriptors, before.descriptors);
    EXPECT_EQ(after.threads, before.threads);
    EXPECT_FALSE(there("macvtap0"));
    EXPECT_TRUE(open_plug("macvtap:p0")) << "once one is free again";
  });
}

}  // namespace
}  // namespace rp::test
