// SPDX-License-Identifier: BSD-3-Clause
// host_test.cc - rp_nics_list, rp_host_examine and rp_needs over the C ABI.
#include <gtest/gtest.h>

#include <algorithm>
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
  EXPECT_EQ(rp_needs("null", 0, nullptr, nullptr, &err), RP_EINVALID);
}

using Needs = std::multimap<int, std::string>;

Needs needs(const std::string& locator, bool listens = false) {
  Needs all;
  rp_error err = RP_ERROR_INIT;
  EXPECT_EQ(rp_needs(
                locator.c_str(), listens,
                [](void* opaque, int need, const char* value) {
                  static_cast<Needs*>(opaque)->emplace(need, value);
                },
                &all, &err),
            RP_OK)
      << err.message;
  return all;
}

bool has(const Needs& all, int need, const std::string& value) {
  const auto [first, last] = all.equal_range(need);
  return std::any_of(first, last, [&](const auto& n) { return n.second == value; });
}

TEST(Needs, are_told_of_what_a_locator_opens) {
  EXPECT_TRUE(has(needs("null"), RP_NEED_CALL, "epoll_wait"));
  EXPECT_EQ(needs("null").count(RP_NEED_FAMILY), 0u);
  EXPECT_TRUE(has(needs("slirp?vlan=3"), RP_NEED_FAMILY, "inet"));
  EXPECT_TRUE(has(needs("slirp?hostfwd=unix:/x/y/s-:22"), RP_NEED_REMOVE, "/x/y"));
  EXPECT_TRUE(has(needs("tap:tap0"), RP_NEED_CAPABILITY, "net_admin"));
  EXPECT_EQ(needs("tap?fd=9").count(RP_NEED_CAPABILITY), 0u);
  EXPECT_TRUE(has(needs("vde:/x/lan", true), RP_NEED_FOLDER, "/x/lan"));
  EXPECT_EQ(needs("vde:/x/lan", true).count(RP_NEED_CODE), 0u);
  EXPECT_EQ(needs("vde:/x/lan").count(RP_NEED_CODE), 1u);
  EXPECT_EQ(needs("slirp?isolate=on").count(RP_NEED_CODE), 1u);
  EXPECT_TRUE(has(needs("stream:/x/s", true), RP_NEED_REMOVE, "/x"));
}

TEST(Needs, of_what_is_no_locator_are_an_error) {
  rp_error err = RP_ERROR_INIT;
  const auto ignore = [](void*, int, const char*) {};
  EXPECT_EQ(rp_needs(nullptr, 0, ignore, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_needs("nonsense", 0, ignore, nullptr, &err), RP_EUNKNOWN);
  EXPECT_EQ(rp_needs("slirp?nonsense=1", 0, ignore, nullptr, &err), RP_EUNKNOWN) << err.message;
}

}  // namespace
