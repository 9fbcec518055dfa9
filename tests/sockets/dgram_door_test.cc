// SPDX-License-Identifier: BSD-3-Clause
// dgram_door_test.cc - who comes in at a dgram door by speaking to it, what they get wrong, and
// uplinks to such doors.
#include "sockets/dgram_door.h"

#include <sys/stat.h>

#include "base/error.h"
#include "sockets/dgram_uplink.h"
#include "tests/base/temp_folder.h"
#include "tests/sockets/dgram_peer.h"
#include "tests/sockets/switch_net.h"
#include "tests/switch/fake_port.h"

namespace rp::sockets {
namespace {

using test::Bytes;
using test::DgramPeer;
using test::ethernet;
using test::free_udp_port;
using test::loopback;
using test::soon;
using test::SwitchNet;

constexpr std::uint64_t kAll = 0xffffffffffff, kA = 0x020000000001, kB = 0x020000000002;

class DgramTest : public testing::Test {
 protected:
  std::string path() const { return folder / "net"; }
  void door(const std::string& target, const DgramParams& params = {}) {
    net.add(std::make_unique<DgramDoor>(make_dgram_options(target, params), net.log()), "door");
  }
  void uplink(const std::string& target, const DgramParams& params = {}) {
    net.add(std::make_unique<DgramUplink>(make_dgram_options(target, params), net.log()), "uplink");
  }
  std::string refusal(const std::string& target, const DgramParams& params = {}) {
    try {
      door(target, params);
    } catch (const Error& e) {
      return e.what();
    }
    return {};
  }
  static void expect_talk(const DgramPeer& a, const DgramPeer& b) {
    const Bytes there = ethernet(kAll, kA, 100);
    ASSERT_TRUE(a.send(there)) << strerror(errno);
    ASSERT_EQ(b.next(), there);
    const Bytes back = ethernet(kA, kB, 1514);
    ASSERT_TRUE(b.send(back)) << strerror(errno);
    ASSERT_EQ(a.next(), back);
  }

  test::TempFolder folder;
  SwitchNet net;
};

/// The three kinds of peers, of whom any may be on one door, but UDP's on another.
enum Kind { kQemu, kVfkit, kUdp };

class AnyPeer : public DgramTest, public testing::WithParamInterface<const char*> {
 protected:
  void SetUp() override {
    kind = GetParam() == std::string("udp") ? kUdp : *GetParam() == 'q' ? kQemu : kVfkit;
    target = kind == kUdp ? loopback(free_udp_port()) : path();
  }
  std::string mine(int i) {
    while (kind == kUdp && ports.size() <= static_cast<std::size_t>(i))
      ports.push_back(free_udp_port());
    return kind == kUdp ? loopback(ports[static_cast<std::size_t>(i)])
                        : folder / ("peer" + std::to_string(i));
  }
  std::unique_ptr<DgramPeer> peer(int i) {
    if (kind != kUdp) unlink(mine(i).c_str());
    return std::make_unique<DgramPeer>(mine(i), target, kind == kVfkit);
  }
  /// One that has said something.
  std::unique_ptr<DgramPeer> joined(int i) {
    auto p = peer(i);
    const std::size_t before = net.ports().size();
    EXPECT_TRUE(p->send(std::string("VFKT"))) << strerror(errno);
    EXPECT_TRUE(net.has_ports(before + 1)) << i;
    return p;
  }

  Kind kind = kQemu;
  std::string target;
  std::vector<std::uint16_t> ports;
};

INSTANTIATE_TEST_SUITE_P(, AnyPeer, testing::Values("qemu", "vfkit", "udp"),
                         [](const auto& i) { return std::string(i.param); });

TEST_P(AnyPeer, EachIsAPortAndHearsTheOthers) {
  door(target);
  const auto a = joined(0), b = joined(1), c = joined(2);
  EXPECT_EQ(net.ports()[1], "dgram:" + mine(0));
  expect_talk(*a, *b);
  const Bytes all = ethernet(kAll, 0x020000000003, 60);
  ASSERT_TRUE(c->send(all));
  EXPECT_EQ(a->next(), all);
  EXPECT_EQ(b->next(), all);
  EXPECT_EQ(net.counter("door.joined"), 3u);
}

TEST_P(AnyPeer, ItsFirstFrameArrives) {
  door(target);
  const auto a = joined(0);
  const auto b = peer(1);
  const Bytes first = ethernet(kAll, kB, 1000), second = ethernet(kAll, kB, 300);
  ASSERT_TRUE(b->send(first));
  ASSERT_EQ(a->next(), first);
  ASSERT_TRUE(b->send(second));
  ASSERT_EQ(a->next(), second);
}

TEST_P(AnyPeer, FramesStayWholeAndInOrder) {
  door(target);
  const auto a = joined(0), b = joined(1);
  for (std::size_t size = 14; size < 60'000; size = size * 3 / 2) {
    const Bytes frame = ethernet(kAll, kA, size);
    ASSERT_TRUE(a->send(frame)) << size;
    ASSERT_EQ(b->next(), frame) << size;
  }
  for (int round = 0; round < 50; ++round) {
    constexpr int kBurst = 8;
    for (int i = 0; i < kBurst; ++i) {
      Bytes frame = ethernet(kAll, kA, 100);
      frame[50] = static_cast<std::uint8_t>(i);
      ASSERT_TRUE(a->send(frame));
    }
    for (int i = 0; i < kBurst; ++i) ASSERT_EQ(b->next()[50], i);
  }
}

TEST_P(AnyPeer, RuntsAndWhatIsTooLongAreCountedAndNobodyElsesTrouble) {
  door(target);
  const auto a = joined(0), b = joined(1);
  ASSERT_TRUE(a->send(Bytes(13, 1)));
  ASSERT_TRUE(a->send(Bytes()));
  if (kind != kUdp) {  // a UDP datagram is never that long
    ASSERT_TRUE(a->send(Bytes(sw::kMaxFrame + 1, 0xff)));
    EXPECT_TRUE(soon([&] { return net.counter("drop.truncated") == 1; }));
  }
  EXPECT_TRUE(soon([&] { return net.counter("drop.runt") >= 1; }));
  expect_talk(*a, *b);
}

TEST_P(AnyPeer, WhoVanishesGoesWithTheNextFrameToIt) {
  door(target);
  const auto a = joined(0);
  auto b = joined(1);
  expect_talk(*a, *b);
  b.reset();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(a->send(ethernet(kAll, kA)));
  EXPECT_TRUE(net.has_ports(2));
  const auto c = joined(1);
  expect_talk(*a, *c);
}

TEST_P(AnyPeer, WhoComesBackAtTheSameAddressGoesOn) {
  door(target);
  const auto a = joined(0);
  for (int i = 0; i < 5; ++i) {
    const auto b = peer(1);
    // What is sent to it may be lost until the door has noticed.
    const Bytes hello = ethernet(kAll, kB);
    const Bytes answer = ethernet(kB, kA);
    EXPECT_TRUE(soon([&] {
      b->send(hello, MSG_DONTWAIT);
      while (!a->next(0).empty()) {
      }
      a->send(answer, MSG_DONTWAIT);
      return b->next(20) == answer;
    })) << i;
  }
}

TEST_P(AnyPeer, OneThatDoesNotReadCostsItsOwnFrames) {
  door(target);
  const auto a = joined(0), b = joined(1), stuck = joined(2);
  for (int i = 0; i < 1000; ++i) {
    const Bytes frame = ethernet(kAll, kA, 1000);
    ASSERT_TRUE(a->send(frame));
    ASSERT_EQ(b->next(), frame) << i;
  }
}

TEST_P(AnyPeer, OneThatFloodsLeavesTheOthersTheirFrames) {
  door(target);
  const auto a = joined(0), b = joined(1), flood = joined(2);
  std::atomic<bool> stop = false;
  std::thread flooder([&] {
    // To itself: the frames pass the door and the switch only.
    const Bytes frame = ethernet(0x0200000000fe, 0x0200000000fe, 1514);
    while (!stop) flood->send(frame, MSG_DONTWAIT);
  });
  const std::string name = "dgram:" + mine(2);
  EXPECT_TRUE(soon([&] { return net.counter("in.frames", name) > 1000; }));
  // UNIX sockets wait for room; of UDP some frames must get through.
  const int patience = kind == kUdp ? 50 : test::kPatienceMs;
  int arrived = 0;
  for (int i = 0; i < 200; ++i) {
    Bytes frame = ethernet(kAll, kA);
    frame[50] = static_cast<std::uint8_t>(i);
    a->send(frame);
    arrived += b->next(patience) == frame;
  }
  stop = true;
  flooder.join();
  EXPECT_GE(arrived, kind == kUdp ? 20 : 200);
}

TEST_P(AnyPeer, ThereAreOnlySoMany) {
  door(target, {{"clients", "2"}});
  const auto a = joined(0);
  {
    const auto b = joined(1);
    const auto c = peer(2);
    for (int i = 0; i < 3; ++i) ASSERT_TRUE(c->send(ethernet(kAll, 0x020000000003)));
    EXPECT_TRUE(soon([&] { return net.counter("door.refused") == 3; }));
    EXPECT_EQ(net.ports().size(), 3u);
    EXPECT_NE(net.logged().find("clients="), std::string::npos) << net.logged();
    EXPECT_TRUE(a->next(0).empty());
  }
  ASSERT_TRUE(a->send(ethernet(kAll, kA)));  // finds that b left
  EXPECT_TRUE(net.has_ports(2));
  const auto d = peer(3);
  EXPECT_TRUE(soon([&] { return d->send(ethernet(kAll, kB)) && net.ports().size() == 3; }));
}

TEST_P(AnyPeer, ADoorInUseIsNotTaken) {
  door(target);
  const std::string busy = refusal(target);
  EXPECT_NE(busy.find(kind == kUdp ? "in use" : "listens on"), std::string::npos) << busy;
  const auto a = joined(0);
  EXPECT_FALSE(refusal(target).empty());
  const auto b = joined(1);
  expect_talk(*a, *b);
}

TEST_P(AnyPeer, AnUplinkToADoor) {
  SwitchNet far;
  far.add(std::make_unique<DgramDoor>(make_dgram_options(target, {}), far.log()), "door");
  const auto there = peer(0);
  ASSERT_TRUE(there->send(std::string("VFKT")));
  ASSERT_TRUE(far.has_ports(2));
  uplink(target);
  const std::string near = folder / "near";
  door(near);
  const DgramPeer here(folder / "here", near);
  EXPECT_TRUE(net.link("uplink"));
  expect_talk(here, *there);
}

TEST_F(DgramTest, BothKindsOfUnixPeersOnOneDoor) {
  door(path());
  std::vector<std::unique_ptr<DgramPeer>> all;
  for (int i = 0; i < 6; ++i) {
    all.push_back(std::make_unique<DgramPeer>(folder / ("p" + std::to_string(i)), path(), i % 2));
    ASSERT_TRUE(all.back()->send(ethernet(kAll, 0x020000000100 + static_cast<unsigned>(i))));
    ASSERT_TRUE(net.has_ports(2 + static_cast<std::size_t>(i)));
  }
  for (std::size_t i = 0; i < all.size(); ++i)
    while (!all[i]->next(test::kMomentMs).empty()) {
    }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Bytes frame = ethernet(kAll, 0x020000000100 + i);
    ASSERT_TRUE(all[i]->send(frame)) << i << strerror(errno);
    for (std::size_t j = 0; j < all.size(); ++j)
      if (j != i) {
        EXPECT_EQ(all[j]->next(), frame) << i << " to " << j;
      }
  }
}

TEST_F(DgramTest, APathIsForItsUserAloneAndGoesWithTheDoor) {
  {
    SwitchNet own;
    own.add(std::make_unique<DgramDoor>(make_dgram_options(path(), {}), own.log()), "door");
    struct stat st;
    const auto mode = [&] {
      EXPECT_EQ(stat(path().c_str(), &st), 0);
      return st.st_mode & 0777;
    };
    EXPECT_EQ(mode(), 0600u);
    const DgramPeer connected(folder / "peer", path(), true);
    ASSERT_TRUE(connected.send(std::string("VFKT")));
    ASSERT_TRUE(own.has_ports(2));
    EXPECT_EQ(mode(), 0600u);
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
  std::size_t left = 0;
  for ([[maybe_unused]] const auto& e : std::filesystem::directory_iterator(folder.path())) ++left;
  EXPECT_EQ(left, 1u) << "the peer's own";
}

TEST_F(DgramTest, WhoHasNoAddressIsCountedAndTold) {
  door(path());
  const DgramPeer nameless("", path());
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(nameless.send(ethernet(kAll, kA)));
  EXPECT_TRUE(soon([&] { return net.counter("door.nameless") == 3; }));
  EXPECT_NE(net.logged().find("must bind"), std::string::npos) << net.logged();
  EXPECT_EQ(net.ports().size(), 1u);
}

TEST_F(DgramTest, ADeadDoorsPathIsTakenOver) {
  { const DgramPeer dead(path(), folder / "x"); }
  door(path());
  const DgramPeer a(folder / "a", path());
  ASSERT_TRUE(a.send(ethernet(kAll, kA)));
  EXPECT_TRUE(net.has_ports(2));
}

TEST_F(DgramTest, WhatIsWrongIsSaid) {
  EXPECT_NE(refusal("").find("no address"), std::string::npos);
  EXPECT_NE(refusal("/tmp/" + std::string(120, 'x')).find("107"), std::string::npos);
  EXPECT_NE(refusal("127.0.0.1:0").find("1 to 65535"), std::string::npos);
  EXPECT_NE(refusal("239.1.2.3:1234").find("multicast"), std::string::npos);
  EXPECT_NE(refusal(path(), {{"local", "/tmp/x"}}).find("uplinks"), std::string::npos);
  EXPECT_NE(refusal(path(), {{"klients", "1"}}).find("accepted: local, clients, queue"),
            std::string::npos);
  EXPECT_NE(refusal(folder.path()).find("no socket"), std::string::npos);
  EXPECT_THROW(uplink(path(), {{"local", "127.0.0.1:80"}}), Error);
}

// Uplinks.

TEST_F(DgramTest, AnUplinkWithItsOwnPathTalksToOneThatIsConfigured) {
  const std::string theirs = folder / "qemu", ours = folder / "ours";
  uplink(theirs, {{"local", ours}});
  door(folder / "near");
  const DgramPeer here(folder / "here", folder / "near");
  ASSERT_TRUE(here.send(std::string("VFKT")));
  ASSERT_TRUE(net.has_ports(3));
  EXPECT_FALSE(net.link("uplink"));
  EXPECT_NE(net.logged().find("trying again"), std::string::npos) << net.logged();
  for (int i = 1; i <= 3; ++i) {
    unlink(theirs.c_str());
    const DgramPeer there(theirs, ours);
    // The first frame to a peer that is gone finds that out.
    EXPECT_TRUE(soon([&] {
      here.send(ethernet(kAll, kA), MSG_DONTWAIT);
      return !there.next(20).empty();
    }));
    EXPECT_TRUE(net.link("uplink"));
    const Bytes back = ethernet(kAll, kB);
    ASSERT_TRUE(there.send(back));
    ASSERT_EQ(here.next(), back) << i;
  }
}

TEST_F(DgramTest, AnUplinkOfUdpBetweenTwoAddresses) {
  const std::string theirs = loopback(free_udp_port()), ours = loopback(free_udp_port());
  uplink(theirs, {{"local", ours}});
  EXPECT_TRUE(net.link("uplink"));
  door(folder / "near");
  const DgramPeer here(folder / "here", folder / "near");
  // Nobody there, for longer than a broken socket would be kept.
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(here.send(ethernet(kAll, kA)));
  const DgramPeer there(theirs, ours), stranger(loopback(free_udp_port()), ours);
  EXPECT_TRUE(soon([&] {
    here.send(ethernet(kAll, kA), MSG_DONTWAIT);
    return !there.next(20).empty();
  }));
  ASSERT_TRUE(stranger.send(ethernet(kAll, 0x020000000666)));
  const Bytes back = ethernet(kAll, kB);
  ASSERT_TRUE(there.send(back));
  EXPECT_EQ(here.next(), back) << "and nothing of the stranger's";
}

}  // namespace
}  // namespace rp::sockets
