// SPDX-License-Identifier: BSD-3-Clause
// mac_text_test.cc - addresses as text, both ways.
#include "switch/mac_text.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace rp::sw {
namespace {

TEST(MacText, BothWays) {
  const Mac mac = parse_mac("02:00:5E:ab:cd:0f");
  EXPECT_EQ(mac.value(), 0x02005eabcd0fu);
  EXPECT_EQ(text_of(mac), "02:00:5e:ab:cd:0f");
}

TEST(MacText, OnlyWholeAddressesOfOneStation) {
  for (const char* text :
       {"", "02", "2:0:0:0:0:1", "02:00:00:00:00:1", "02:00:00:00:00:001", "02-00-00-00-00-01",
        "02:00:00:00:00:01:", " 2:00:00:00:00:01", "+2:00:00:00:00:01", "0x:00:00:00:00:01",
        "02:00:00:00:00:0g", "00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"})
    EXPECT_THROW(parse_mac(text), Error) << text;
}

}  // namespace
}  // namespace rp::sw
