// SPDX-License-Identifier: BSD-3-Clause
// options_test.cc - what a tap locator may say, and names (T-TAP-1).
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <set>

#include "switch/mac_text.h"
#include "tap/config.h"
#include "tap/name.h"
#include "tests/tap/network.h"

namespace rp::test {
namespace {

using tap::make_tap_config;

TEST(TapOptions, T_TAP_1_NamesThatNoDeviceMayHave) {
  for (const std::string name :
       {"sixteen-letters-", "t%d", "%d", "a/b", "../x", "a b", " a", "a\tb", "a\nb", "a:1", ".",
        "..", "\x7f", "\xc3\xa4", "a-very-much-longer-name-than-that"}) {
    const auto why = error_of([&] { make_tap_config(name, {}); }, Errc::invalid);
    EXPECT_TRUE(contains(why, "is no name of a device")) << why;
    error_of([&] { make_tap_config("t0", {{"bridge", name}}); }, Errc::invalid);
  }
  EXPECT_THROW(tap::check_name(std::string("a\0b", 3), "tap"), Error);
  EXPECT_THROW(tap::check_name("", "tap"), Error);
  for (const char* name : {"t", "fifteen-letters", "$(reboot)", "a;b", "-x", "a.b", "eth0@x"})
    EXPECT_EQ(make_tap_config(name, {}).name, name);
}

TEST(TapOptions, ValuesAreParsed) {
  const auto c = make_tap_config("t0", {{"bridge", "br0"},
                                        {"address", "192.0.2.1/24"},
                                        {"address", "2001:db8::1"},
                                        {"mtu", "68"},
                                        {"mac", "02:00:00:aB:cd:ef"},
                                        {"up", "off"},
                                        {"persist", "on"},
                                        {"owner", "root"},
                                        {"group", "7"},
                                        {"queues", "256"},
                                        {"offload", "off"}});
  EXPECT_EQ(c.settings.bridge, "br0");
  ASSERT_EQ(c.settings.addresses.size(), 2u);
  EXPECT_EQ(c.settings.addresses[0].ip.family, AF_INET);
  EXPECT_EQ(c.settings.addresses[0].length, 24u);
  EXPECT_EQ(tap::text_of(c.settings.addresses[1].ip), "2001:db8::1");
  EXPECT_EQ(c.settings.addresses[1].length, 128u);
  EXPECT_EQ(c.settings.mtu, 68u);
  EXPECT_EQ(sw::text_of(*c.settings.mac), "02:00:00:ab:cd:ef");
  EXPECT_EQ(c.settings.up, false);
  EXPECT_EQ(c.persist, true);
  EXPECT_EQ(c.owner, 0u);
  EXPECT_EQ(c.group, 7u);
  EXPECT_EQ(c.queues, 256u);
  EXPECT_FALSE(c.offload);
}

TEST(TapOptions, WrongValuesAreNamed) {
  const std::pair<const char*, const char*> wrong[] = {
      {"address", "192.0.2.1/33"},
      {"address", "2001:db8::1/129"},
      {"address", "host/24"},
      {"address", "192.0.2.1/"},
      {"mtu", "67"},
      {"mtu", "65536"},
      {"mac", "00:00:00:00:00:00"},
      {"mac", "01:00:00:00:00:00"},
      {"mac", "02:00:00:00:00"},
      {"mac", "02:00:00:00:00:01x"},
      {"up", "perhaps"},
      {"queues", "0"},
      {"queues", "257"},
      {"fd", "-1"},
      {"owner", "4294967295"},
  };
  for (const auto& [k, v] : wrong) {
    const std::string key = k, value = v;
    const auto why = error_of([&] { make_tap_config("t0", {{key, value}}); }, Errc::invalid);
    EXPECT_TRUE(contains(why, key + "=" + value)) << why;
  }
  error_of([] { make_tap_config("t0", {{"owner", "nobody-of-this-name"}}); }, Errc::not_found);
  const auto why = error_of([] { make_tap_config("t0", {{"bridg", "br0"}}); }, Errc::unknown);
  EXPECT_TRUE(contains(why, "bridg") && contains(why, "bridge")) << why;
}

TEST(TapOptions, WhatGoesWithADescriptorOrAHelper) {
  for (const auto& option :
       std::set<std::pair<std::string, std::string>>{{"mtu", "1500"},
                                                     {"mac", "02:00:00:00:00:01"},
                                                     {"queues", "2"},
                                                     {"persist", "on"},
                                                     {"owner", "0"},
                                                     {"group", "0"},
                                                     {"up", "on"},
                                                     {"address", "192.0.2.1/24"}}) {
    error_of([&] { make_tap_config("", {{"fd", "7"}, option}); }, Errc::invalid);
    error_of([&] { make_tap_config("", {{"helper", "/x"}, option}); }, Errc::invalid);
  }
  error_of([] { make_tap_config("t0", {{"fd", "7"}}); }, Errc::invalid);
  error_of([] { make_tap_config("", {{"fd", "7"}, {"bridge", "br0"}}); }, Errc::invalid);
  EXPECT_EQ(make_tap_config("", {{"fd", "7"}, {"offload", "off"}}).fd, 7);
  EXPECT_EQ(make_tap_config("", {{"helper", "/x"}}).settings.bridge, "br0");
}

TEST(TapOptions, RatesOfAnIfb) {
  const auto rate = [](const std::string& v) {
    return tap::make_ifb_config("ifb0", {{"dev", "eth0"}, {"rate", v}});
  };
  EXPECT_EQ(rate("8000").rate, 8000u);
  EXPECT_EQ(rate("8000bit").rate, 8000u);
  EXPECT_EQ(rate("10kbit").rate, 10'000u);
  EXPECT_EQ(rate("10mbit").rate, 10'000'000u);
  EXPECT_EQ(rate("40gbit").rate, 40'000'000'000u);
  EXPECT_EQ(rate("1tbit").rate, 1'000'000'000'000u);
  EXPECT_EQ(rate("1gbit").burst, 2'500'000u) << "20 ms";
  EXPECT_EQ(rate("8kbit").burst, 65536u);
  EXPECT_EQ(rate("1tbit").burst, 16u << 20);
  for (const auto* v : {"", "bit", "7999", "10m", "10 mbit", "10Mbit", "10mbits", "-1mbit", "2tbit",
                        "18446744073709551616", "18446744073709551615gbit", "10k"})
    error_of([&] { rate(v); }, Errc::invalid);
  error_of([] { tap::make_ifb_config("ifb0", {}); }, Errc::invalid);
  error_of([] { tap::make_ifb_config("", {{"dev", "eth0"}}); }, Errc::invalid);
  error_of([] { tap::make_ifb_config("ifb0", {{"dev", "a/b"}}); }, Errc::invalid);
}

TEST(TapOptions, EachIsDocumentedOnce) {
  std::set<std::string_view> names;
  for (const auto& o : tap::tap_options()) {
    EXPECT_TRUE(names.insert(o.name).second) << o.name;
    EXPECT_FALSE(o.summary.empty() || o.syntax.empty()) << o.name;
  }
}

}  // namespace
}  // namespace rp::test
