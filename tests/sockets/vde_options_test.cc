// SPDX-License-Identifier: BSD-3-Clause
// vde_options_test.cc - modes as vde_switch completes them.
#include "sockets/vde_options.h"

#include <gtest/gtest.h>

namespace rp::sockets {
namespace {

using Params = std::vector<std::pair<std::string, std::string>>;

TEST(VdeOptions, ModesCompleteEachOther) {
  const struct {
    Params params;
    mode_t mode, dirmode;
    bool given;
  } rows[] = {
      {{}, 0600, 02700, false},
      {{{"mode", "0660"}}, 0660, 02770, true},
      {{{"mode", "666"}}, 0666, 02777, true},
      {{{"mode", "0640"}}, 0640, 02750, true},
      {{{"dirmode", "0750"}}, 0640, 0750, true},
      {{{"mode", "0600"}, {"dirmode", "0755"}}, 0600, 0755, true},
  };
  for (const auto& r : rows) {
    const auto o = make_vde_door_options("/tmp/net", r.params);
    EXPECT_EQ(o.access.mode, r.mode);
    EXPECT_EQ(o.access.dirmode, r.dirmode);
    EXPECT_EQ(o.access.given, r.given);
  }
}

TEST(VdeOptions, TheRest) {
  const auto o =
      make_vde_door_options("/tmp/net", {{"group", "0"}, {"sock", "/tmp/bare"}, {"queue", "7"}});
  EXPECT_EQ(o.path, "/tmp/net");
  EXPECT_EQ(o.access.group, 0u);
  EXPECT_EQ(o.alias, "/tmp/bare");
  EXPECT_EQ(o.queue.frames, 7u);
  EXPECT_EQ(make_vde_door_options("/tmp/net", {{"group", "root"}}).access.group, 0u);
  EXPECT_EQ(make_vde_door_options("/tmp/net", {}).queue.frames, 2048u);
}

TEST(VdeOptions, WhatIsWrongIsNamed) {
  const auto sentence = [](const std::string& path, const Params& params) -> std::string {
    try {
      make_vde_door_options(path, params);
    } catch (const Error& e) {
      return e.what();
    }
    return "accepted";
  };
  EXPECT_NE(sentence("", {}).find("no path"), std::string::npos);
  EXPECT_NE(sentence("x", {{"mod", "0600"}}).find("accepted: mode, dirmode"), std::string::npos);
  for (const char* bad : {"", "8", "0x1", "1777", "rwx", "-1", "0600 "})
    EXPECT_NE(sentence("x", {{"mode", bad}}).find("octal"), std::string::npos) << bad;
  EXPECT_NE(sentence("x", {{"group", "nobody-has-this"}}).find("no such group"), std::string::npos);
  for (const char* bad : {"", "0", "65537", "x"})
    EXPECT_NE(sentence("x", {{"queue", bad}}).find("number from 1"), std::string::npos) << bad;
}

}  // namespace
}  // namespace rp::sockets
