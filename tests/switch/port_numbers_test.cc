// SPDX-License-Identifier: BSD-3-Clause
// port_numbers_test.cc - who gets which port number.
#include "switch/port_numbers.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace rp::sw {
namespace {

TEST(PortNumbers, TheLowestFreeOneIsTaken) {
  PortNumbers n;
  EXPECT_EQ(n.take({}, {}), 1u);
  EXPECT_EQ(n.take({}, {}), 2u);
  EXPECT_EQ(n.take({.number = 4}, {}), 4u);
  EXPECT_EQ(n.take({}, {}), 3u);
  EXPECT_EQ(n.take({}, {}), 5u);
  n.leave(2);
  EXPECT_EQ(n.take({}, {}), 2u);
}

TEST(PortNumbers, TwoPortsMayShareANumber) {
  PortNumbers n;
  EXPECT_EQ(n.take({.number = 7}, {}), 7u);
  EXPECT_EQ(n.take({.number = 7}, {}), 7u);
  n.leave(7);
  EXPECT_NE(n.policy(7), nullptr);
  n.leave(7);
  EXPECT_EQ(n.policy(7), nullptr);
}

TEST(PortNumbers, WhatWasSetStays) {
  PortNumbers n;
  PortPolicy door, mine;
  door.untagged = 5;
  mine.untagged = 9;
  EXPECT_EQ(n.take({}, door), 1u);
  EXPECT_EQ(n.policy(1)->untagged, 5);
  n.leave(1);
  EXPECT_EQ(n.take({}, {}), 1u);
  EXPECT_EQ(n.policy(1)->untagged, 0) << "a door's policy goes with its port";
  n.set(1, mine);
  n.leave(1);
  EXPECT_EQ(n.take({}, door), 1u);
  EXPECT_EQ(n.policy(1)->untagged, 9);
  EXPECT_THROW(n.forget(1), Error);
  n.leave(1);
  n.forget(1);
  EXPECT_EQ(n.policy(1), nullptr);
}

TEST(PortNumbers, UsersAndGroups) {
  PortNumbers n;
  PortPolicy p;
  p.user = 1000;
  p.group = 100;
  n.set(1, p);
  EXPECT_EQ(n.take({.user = 1001, .group = 100}, {}), 2u) << "passed over";
  EXPECT_THROW(n.take({.number = 1, .user = 1001, .group = 100}, {}), Error);
  EXPECT_THROW(n.take({.number = 1, .user = 1000, .group = 101}, {}), Error);
  EXPECT_EQ(n.take({.number = 1, .user = 1000, .group = 100}, {}), 1u);
  EXPECT_EQ(n.take({.number = 1, .user = 0, .group = 0}, {}), 1u) << "root";
}

TEST(PortNumbers, ARefusalTakesNothing) {
  PortNumbers n;
  PortPolicy p;
  p.user = 1000;
  EXPECT_THROW(n.take({.number = 1, .user = 1001}, p), Error);
  EXPECT_EQ(n.policy(1), nullptr);
}

TEST(PortNumbers, SomeAreNotForWhoeverComes) {
  PortNumbers n;
  PortPolicy p;
  p.allocatable = false;
  n.set(1, p);
  EXPECT_EQ(n.take({}, {}), 2u);
  EXPECT_EQ(n.take({.number = 1}, {}), 1u);
}

TEST(PortNumbers, TheLimit) {
  PortNumbers n;
  EXPECT_THROW(n.set_limit(0), Error);
  EXPECT_THROW(n.set_limit(65536), Error);
  n.set_limit(2);
  EXPECT_EQ(n.take({}, {}), 1u);
  EXPECT_EQ(n.take({}, {}), 2u);
  EXPECT_THROW(n.take({}, {}), Error);
  EXPECT_THROW(n.take({.number = 3}, {}), Error);
  EXPECT_THROW(n.set_limit(1), Error);
}

}  // namespace
}  // namespace rp::sw
