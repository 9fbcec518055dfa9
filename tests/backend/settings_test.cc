// SPDX-License-Identifier: BSD-3-Clause
// settings_test.cc - what can be set, and that what is told can be set again.
#include "backend/settings.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "backend/vlan_list.h"
#include "base/account.h"
#include "tests/switch/fake_port.h"

namespace rp::backend {
namespace {

using All = std::map<std::pair<unsigned, std::string>, std::string>;

All told(const sw::Switch& s) {
  All all;
  each_setting(s, [&](unsigned number, std::string_view key, const std::string& value) {
    all[{number, std::string(key)}] = value;
  });
  return all;
}

TEST(VlanList, ReadsRanges) {
  EXPECT_EQ(parse_vlans("1,3-5,4094").count(), 5u);
  EXPECT_EQ(parse_vlans("all").count(), 4094u);
  EXPECT_EQ(parse_vlans("none").count(), 0u);
  for (const char* bad : {"", ",", "1,", ",1", "0", "4095", "5-3", "1-", "-1", "x", "1 2", "1--2"})
    EXPECT_THROW(parse_vlans(bad), Error) << bad;
}

TEST(VlanList, TellsWhatItReads) {
  std::mt19937 rng(1);
  for (int i = 0; i < 200; ++i) {
    VlanSet set;
    for (int n = i % 50; n > 0; --n) {
      auto v = rng() % sw::kMaxVlan + 1;
      for (auto run = rng() % 4 + 1; run > 0 && v <= sw::kMaxVlan; --run) set.set(v++);
    }
    EXPECT_EQ(parse_vlans(tell_vlans(set)), set);
  }
  EXPECT_EQ(tell_vlans(parse_vlans("7,1-3,4,9")), "1-4,7,9");
  EXPECT_EQ(tell_vlans(parse_vlans("all")), "1-4094");
}

TEST(Account, NamesAndNumbers) {
  EXPECT_EQ(user_id("root"), 0u);
  EXPECT_EQ(user_id("12345"), 12345u);
  EXPECT_EQ(group_id("root"), 0u);
  EXPECT_EQ(user_name(0), "root");
  EXPECT_EQ(user_name(3999999999), "3999999999");
  EXPECT_EQ(group_name(0), "root");
  EXPECT_THROW(user_id("no-such-user"), Error);
  EXPECT_THROW(group_id("no-such-group"), Error);
  EXPECT_THROW(user_id("4294967295"), Error) << "the id that stands for none";
}

TEST(Settings, LocatorsLoseWhatIsThePorts) {
  Locator l = parse_locator("slirp?net=10.0.2.0/24&vlan=10&trunk=20&trunk=%2B30&isolated=on");
  const sw::PortPolicy p = take_policy(l);
  ASSERT_EQ(l.params.size(), 1u);
  EXPECT_EQ(l.params[0].first, "net");
  EXPECT_EQ(p.untagged, 10);
  EXPECT_TRUE(p.tagged[20] && p.tagged[30] && p.vlan_aware && p.isolated);
  Locator bad = parse_locator("slirp?vlan=4095");
  EXPECT_THROW(take_policy(bad), Error);
}

TEST(Settings, WhatIsToldCanBeSet) {
  sw::Switch one, two;
  one.add(std::make_unique<test::FakePort>(), "p");
  for (const auto& [key, value] :
       std::initializer_list<std::pair<const char*, const char*>>{{"vlan", "none"},
                                                                  {"trunk", "7,9-12"},
                                                                  {"isolated", "on"},
                                                                  {"locked", "on"},
                                                                  {"static", "02:00:00:00:00:0a"},
                                                                  {"user", "root"},
                                                                  {"group", "77"},
                                                                  {"allocatable", "off"}})
    set(one, 4, key, value);
  set(one, 0, "hub", "on");
  set(one, 0, "mac-hold", "3");
  set(one, 0, "ports", "12");
  const All all = told(one);
  EXPECT_EQ(all.at({4, "trunk"}), "7,9-12");
  EXPECT_EQ(all.at({1, "vlan"}), "all");
  for (const auto& [at, value] : all) {
    // A trunk list makes a port VLAN-aware, so the VLAN comes first.
    if (at.second != "trunk") set(two, at.first, at.second, value);
  }
  for (const auto& [at, value] : all)
    if (at.second == "trunk") set(two, at.first, at.second, value);
  EXPECT_EQ(told(two), all);
}

TEST(Settings, SeveralAddressesAreToldAsTheyCanBeSet) {
  sw::Switch one, two;
  set(one, 1, "static", "02:00:00:00:00:0a");
  set(one, 1, "static", "02:00:00:00:00:0b@7");
  const std::string value = told(one).at({1, "static"});
  set(two, 1, "static", value);
  EXPECT_EQ(told(two), told(one));
  for (const std::string& bad : std::vector<std::string>{"", " ", value + " ", value + "x"})
    EXPECT_THROW(set(two, 1, "static", bad), Error) << bad;
  EXPECT_EQ(told(two), told(one));
}

TEST(Settings, ARefusedOneChangesNothing) {
  sw::Switch s;
  s.add(std::make_unique<test::FakePort>(), "p");
  const All before = told(s);
  EXPECT_THROW(set(s, 1, "colour", "red"), Error);
  EXPECT_THROW(set(s, 1, "vlan", "5000"), Error);
  EXPECT_THROW(set(s, 0, "vlan", "5"), Error);
  EXPECT_THROW(set(s, 70000, "vlan", "5"), Error);
  EXPECT_THROW(set(s, 0, "mac-ageing", "0"), Error);
  EXPECT_THROW(set(s, 1, "static", "01:00:5e:00:00:01"), Error);
  EXPECT_EQ(told(s), before);
}

}  // namespace
}  // namespace rp::backend
