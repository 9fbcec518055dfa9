// SPDX-License-Identifier: BSD-3-Clause
// lost_memory_test.cc - files cut short under a mapping, with the handler that a switch process
// has.
#include "backend/lost_memory.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include "backend/guest_memory.h"
#include "tests/backend/mock_driver.h"
#include "tests/backend/sigbus_handled.h"

namespace rp::backend {
namespace {

class LostMemoryTest : public ::testing::Test {
 private:
  SigbusHandled handled_;
};

std::uint8_t touch(const std::uint8_t* p) {
  return *static_cast<const volatile std::uint8_t*>(p);
}

TEST_F(LostMemoryTest, ReadsZeroesAndIsMarked) {
  const Fd fd = make_memfd(0x4000);
  Mapping m(fd.get(), 0x4000), other(fd.get(), 0x1000);
  m.data()[0x3fff] = 7;
  ASSERT_EQ(ftruncate(fd.get(), 0), 0);
  EXPECT_FALSE(m.lost());
  EXPECT_EQ(touch(m.data() + 0x3fff), 0);
  EXPECT_TRUE(m.lost());
  EXPECT_FALSE(other.lost()) << "nobody touched it";
  m.data()[0] = 1;
  EXPECT_EQ(touch(m.data()), 1) << "it can be written to";
}

TEST_F(LostMemoryTest, MovedMappingsStayWatched) {
  const Fd fd = make_memfd(0x2000);
  Mapping first(fd.get(), 0x2000);
  Mapping second(std::move(first));
  ASSERT_EQ(ftruncate(fd.get(), 0), 0);
  EXPECT_EQ(touch(second.data()), 0);
  EXPECT_TRUE(second.lost());
}

TEST_F(LostMemoryTest, ForeignAddressesAreRefused) {
  const Fd fd = make_memfd(0x1000);
  const Mapping m(fd.get(), 0x1000);
  int here = 0;
  EXPECT_FALSE(replace_lost_memory(&here));
  EXPECT_FALSE(replace_lost_memory(m.data() + 0x1000));
  EXPECT_FALSE(replace_lost_memory(nullptr));
}

TEST_F(LostMemoryTest, GuestMemoryTells) {
  const Fd fd = make_memfd(0x2000);
  GuestMemory memory;
  memory.add(0x10000, Mapping(fd.get(), 0x2000));
  ASSERT_EQ(ftruncate(fd.get(), 0x1000), 0);
  EXPECT_EQ(touch(memory.translate(0x10000, 1)), 0);
  EXPECT_FALSE(memory.lost()) << "that page is still there";
  EXPECT_EQ(touch(memory.translate(0x11000, 1)), 0);
  EXPECT_TRUE(memory.lost());
}

}  // namespace
}  // namespace rp::backend
