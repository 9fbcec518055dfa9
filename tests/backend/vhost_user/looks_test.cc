// SPDX-License-Identifier: BSD-3-Clause
// looks_test.cc - at once, and no more often than the pace.
#include "backend/vhost_user/looks.h"

#include <gtest/gtest.h>

namespace rp::backend::vhost_user {
namespace {

TEST(Looks, WhoHasMoreIsLookedAtSomeTurnsLater) {
  Looks looks(16);
  EXPECT_TRUE(looks.turn()) << "the first";
  for (int round = 0; round < 3; ++round) {
    looks.found();
    for (int i = 1; i < 16; ++i) {
      looks.ask();
      ASSERT_FALSE(looks.turn()) << i;
    }
    EXPECT_TRUE(looks.turn());
  }
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(looks.turn()) << "nothing was found, nobody asked";
  looks.ask();
  EXPECT_TRUE(looks.turn());
  EXPECT_FALSE(looks.turn());
}

TEST(Looks, WhoSleptIsLookedAtAtOnce) {
  Looks looks(16);
  ASSERT_TRUE(looks.turn());
  looks.found();
  looks.ask_at_once();
  EXPECT_TRUE(looks.turn());
}

}  // namespace
}  // namespace rp::backend::vhost_user
