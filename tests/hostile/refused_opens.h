// SPDX-License-Identifier: BSD-3-Clause
// refused_opens.h - an open that fails at each point leaves nothing, and is told.
#pragma once

#include <gtest/gtest.h>

#include "tests/api/handles.h"
#include "tests/api/process_state.h"

namespace rp::test {

/// Opens the locator again and again, until the n-th of what `fail` arms is not reached any more.
/// Returns how often the open was refused.
inline unsigned refused_opens(const char* locator, void (*fail)(unsigned), bool (*failed)()) {
  open_plug(locator);  // what the first one keeps for good
  const process_state before = process_state_now();
  unsigned n = 1, refused = 0;
  for (bool reached = true; reached && !testing::Test::HasFailure(); ++n) {
    EXPECT_LT(n, 2000u);
    rp_error err = RP_ERROR_INIT;
    rp_plug* plug = nullptr;
    fail(n);
    const int code = rp_plug_open(locator, nullptr, &plug, &err);
    reached = failed();
    if (code == RP_OK) {
      // Some can be done without.
      EXPECT_NE(plug, nullptr);
      rp_plug_close(plug);
    } else {
      EXPECT_TRUE(reached) << err.message;
      EXPECT_TRUE(code == RP_ERESOURCES || code == RP_ESYSTEM) << code << ' ' << err.message;
      EXPECT_NE(err.message[0], 0) << "call " << n;
      EXPECT_EQ(plug, nullptr);
      ++refused;
    }
    const process_state after = process_state_now();
    EXPECT_EQ(after.descriptors, before.descriptors) << "call " << n;
    EXPECT_EQ(after.threads, before.threads) << "call " << n;
    EXPECT_TRUE(open_plug(locator)) << "a second try";
  }
  return refused;
}

}  // namespace rp::test
