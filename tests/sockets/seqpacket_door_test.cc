// SPDX-License-Identifier: BSD-3-Clause
// seqpacket_door_test.cc - connections that are ports, and what their ends cost the others.
#include "sockets/seqpacket_door.h"

#include <gtest/gtest.h>

#include "backend/loop.h"
#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/sockets/vde_client.h"
#include "tests/switch/fake_port.h"

namespace rp::sockets {
namespace {

using test::Bytes;
using test::ethernet;
using test::readable;
using test::soon;

class SeqpacketDoorTest : public testing::Test {
 protected:
  SeqpacketDoorTest() {
    loop_.add(std::make_unique<SeqpacketDoor>(make_seqpacket_options(path(), {})), "door");
  }
  std::string path() const { return folder_ / "s"; }
  Fd join() const {
    const auto a = unix_address(path(), "test");
    Fd s(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
    return s;
  }
  bool has_ports(std::size_t n) {
    return soon([&] {
      std::size_t count = 0;
      loop_.call([&](sw::Switch& s) { count = s.port_count(); });
      return count == n;
    });
  }
  static bool say(const Fd& s, const Bytes& b) {
    return send(s.get(), b.data(), b.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(b.size());
  }
  static Bytes next(const Fd& s) {
    Bytes b(100'000);
    if (!readable(s.get(), test::kPatienceMs)) return {};
    const auto n = recv(s.get(), b.data(), b.size(), 0);
    b.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return b;
  }

  test::TempFolder folder_;
  backend::Loop loop_{{}};
};

TEST_F(SeqpacketDoorTest, FramesPassWholeAndConnectionsArePorts) {
  const Fd a = join(), b = join();
  ASSERT_TRUE(has_ports(3));
  for (const std::size_t size : {std::size_t{14}, std::size_t{1514}, std::size_t{65'557}}) {
    const Bytes frame = ethernet(0xffffffffffff, 0x020000000001, size);
    ASSERT_TRUE(say(a, frame));
    ASSERT_EQ(next(b), frame);
  }
  {
    const Fd c = join();
    ASSERT_TRUE(has_ports(4));
  }
  EXPECT_TRUE(has_ports(3));
}

TEST_F(SeqpacketDoorTest, WhoLeavesWithFramesUnreadDisturbsNobody) {
  const Fd a = join(), b = join();
  ASSERT_TRUE(has_ports(3));
  Fd stuck = join();
  ASSERT_TRUE(has_ports(4));
  for (int i = 0; i < 2000; ++i) {
    const Bytes frame = ethernet(0xffffffffffff, 0x020000000001, 1000);
    ASSERT_TRUE(say(a, frame));
    ASSERT_EQ(next(b), frame) << i;
  }
  stuck.reset();
  EXPECT_TRUE(has_ports(3));
}

TEST_F(SeqpacketDoorTest, APathHasOneDoor) {
  EXPECT_THROW(SeqpacketDoor(make_seqpacket_options(path(), {})), Error);
  EXPECT_THROW(make_seqpacket_options("", {}), Error);
  EXPECT_THROW(make_seqpacket_options("x", {{"queue", "0"}}), Error);
}

}  // namespace
}  // namespace rp::sockets
