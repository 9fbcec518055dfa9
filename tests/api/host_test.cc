// SPDX-License-Identifier: BSD-3-Clause
// host_test.cc - rp_nics_list and rp_host_examine over the C ABI.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "ringplug.h"

namespace {

TEST(Host, NicsAreListed) {
  std::map<std::string, rp_nic_info> found;
  rp_error err = RP_ERROR_INIT;
  ASSERT_EQ(rp_nics_list(
                [](void* opaque, const rp_nic_info* i) {
                  EXPECT_EQ(i->size, sizeof *i);
                  EXPECT_TRUE(i->kind && i->driver && i->bus && *i->evidence && *i->type_name);
                  (*static_cast<std::map<std::string, rp_nic_info>*>(opaque))[i->name] = *i;
                },
                &found, &err),
            RP_OK)
      << err.message;
  ASSERT_TRUE(found.count("lo"));
  EXPECT_EQ(found["lo"].type, RP_NIC_VIRTUAL);
  EXPECT_GT(found["lo"].index, 0u);
}

TEST(Host, TheHostIsExamined) {
  int n = 0;
  rp_error err = RP_ERROR_INIT;
  ASSERT_EQ(rp_host_examine(
                [](void* opaque, const rp_finding* f) {
                  EXPECT_EQ(f->size, sizeof *f);
                  EXPECT_TRUE(*f->what && *f->found);
                  EXPECT_EQ(f->fine == 1, *f->remedy == 0) << f->what;
                  ++*static_cast<int*>(opaque);
                },
                &n, &err),
            RP_OK);
  EXPECT_GE(n, 6);
}

TEST(Host, ACallbackIsNeeded) {
  rp_error err = RP_ERROR_INIT;
  EXPECT_EQ(rp_nics_list(nullptr, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_host_examine(nullptr, nullptr, &err), RP_EINVALID);
}

}  // namespace
