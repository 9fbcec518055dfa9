// SPDX-License-Identifier: BSD-3-Clause
// no_memory_test.cc - each allocation of who comes and of the switch that lets him in may fail.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "tests/api/handles.h"
#include "tests/api/process_state.h"
#include "tests/base/runtime.h"
#include "tests/hostile/faults.h"

namespace rp {
namespace {

using test::broadcast;

class EachAllocationOf : public testing::TestWithParam<const char*> {
 protected:
  EachAllocationOf() {
    if (const auto at = locator_.find("PATH"); at != locator_.npos)
      locator_.replace(at, 4, folder_ / "door");
  }

  bool heard(std::uint8_t mark, int patience_ms) {
    const test::Spared ours;
    while (test::readable(rp_plug_fd(steady_.get()), patience_ms)) {
      std::vector<std::uint8_t> frame(RP_MAX_FRAME);
      const ssize_t n = rp_plug_recv(steady_.get(), frame.data(), frame.size());
      if (n > 14 && frame[14] == mark) return true;
    }
    return false;
  }

  static std::vector<std::uint8_t> spared_broadcast(std::uint8_t mark) {
    const test::Spared ours;
    return broadcast(7, mark);
  }

  test::Runtime runtime_;
  test::TempFolder folder_;
  std::string locator_ = GetParam();
  test::SwitchHandle lan_ = test::new_switch();
  test::PlugHandle steady_ = test::join(lan_, "steady");
};

INSTANTIATE_TEST_SUITE_P(Faults, EachAllocationOf,
                         testing::Values("stream:PATH", "dgram:PATH", "vde:PATH", "switch:lan0"),
                         [](const auto& i) {
                           const std::string locator = i.param;
                           return locator.substr(0, locator.find(':'));
                         });

TEST_P(EachAllocationOf, ADoorMayStayClosed) {
  unsigned n = 1, refused = 0;
  for (bool reached = true; reached; ++n) {
    ASSERT_LT(n, 1000u);
    const process_state before = process_state_now();
    rp_error err = RP_ERROR_INIT;
    rp_port port = 0;
    test::fail_allocation(n);
    const int code = rp_switch_listen(lan_.get(), locator_.c_str(), &port, &err);
    reached = test::allocation_failed();
    if (code == RP_OK) {
      EXPECT_EQ(rp_switch_remove(lan_.get(), port, &err), RP_OK) << err.message;
    } else {
      EXPECT_EQ(code, RP_ERESOURCES) << err.message;
      ++refused;
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder_.path())) << "allocation " << n;
    EXPECT_EQ(process_state_now().descriptors, before.descriptors) << "allocation " << n;
  }
  EXPECT_GT(refused, 5u) << "of " << n;
}

TEST_P(EachAllocationOf, AVisitMayFail) {
  rp_error err = RP_ERROR_INIT;
  ASSERT_EQ(rp_switch_listen(lan_.get(), locator_.c_str(), nullptr, &err), RP_OK) << err.message;
  const std::string uplink =
      locator_.starts_with("vde:") ? "vde:vde://" + locator_.substr(4) : locator_;

  // True: a frame came through.
  std::uint8_t mark = 0;
  const auto visit = [&](int patience_ms) {
    ++mark;  // of its own: what an earlier one sent may still come
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
    test::PlugHandle visitor;
    for (const auto frame = spared_broadcast(mark); std::chrono::steady_clock::now() < until;) {
      if (!visitor) {
        rp_plug* plug = nullptr;
        err = RP_ERROR_INIT;
        const int code = rp_plug_open(uplink.c_str(), nullptr, &plug, &err);
        EXPECT_EQ(code == RP_OK, plug != nullptr);
        EXPECT_EQ(code == RP_OK, err.message[0] == '\0');
        visitor.reset(plug);
      }
      // What is sent before the link is up is nobody's.
      if (visitor) rp_plug_send(visitor.get(), frame.data(), frame.size());
      if (heard(mark, 10)) return true;
    }
    return false;
  };

  ASSERT_TRUE(visit(20'000)) << err.message;
  unsigned n = 1;
  // That it is not reached twice in a row is no accident.
  for (unsigned unreached = 0; unreached < 2;) {
    ASSERT_LT(n, 1000u);
    test::fail_allocation(n);
    const bool came_through = visit(100);
    if (test::allocation_failed()) {
      unreached = 0;
      ++n;
    } else if (came_through) {
      ++unreached;
    }
    ASSERT_TRUE(n % 16 != 0 || visit(20'000)) << "after allocation " << n << ": " << err.message;
  }
  EXPECT_TRUE(visit(20'000));
  EXPECT_GT(n, 20u);
}

}  // namespace
}  // namespace rp
