// SPDX-License-Identifier: BSD-3-Clause
// stream_door_test.cc - who comes in at a stream door, what they get wrong, and where we connect
// to.
#include "sockets/stream_door.h"

#include <arpa/inet.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/error.h"
#include "sockets/stream_options.h"
#include "sockets/stream_uplink.h"
#include "tests/base/temp_folder.h"
#include "tests/sockets/stream_peer.h"
#include "tests/sockets/switch_net.h"

namespace rp::sockets {
namespace {

using test::Bytes;
using test::ethernet;
using test::soon;
using test::StreamPeer;
using test::TempFolder;

constexpr std::uint64_t kAll = 0xffffffffffff;

class Net : public test::SwitchNet {
 public:
  void door(const std::string& target, StreamOptions o = {}) {
    o.target = target;
    add(std::make_unique<StreamDoor>(o, log()), "door");
  }
  void uplink(const std::string& target, StreamOptions o = {}) {
    o.target = target;
    add(std::make_unique<StreamUplink>(o, log(), backend::Loop::now()), "uplink");
  }
};

void expect_talk(const StreamPeer& a, const StreamPeer& b) {
  const Bytes there = ethernet(kAll, 0x020000000001, 100);
  ASSERT_TRUE(a.send(there));
  ASSERT_EQ(b.next(), there);
  const Bytes back = ethernet(0x020000000001, 0x020000000002, 1514);
  ASSERT_TRUE(b.send(back));
  ASSERT_EQ(a.next(), back);
}

/// A TCP port of the loopback that nobody has.
std::uint16_t free_port() {
  const Fd s(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t n = sizeof a;
  EXPECT_EQ(bind(s.get(), reinterpret_cast<const sockaddr*>(&a), n), 0);
  EXPECT_EQ(getsockname(s.get(), reinterpret_cast<sockaddr*>(&a), &n), 0);
  return ntohs(a.sin_port);
}
Fd tcp_to(std::uint16_t port, const char* host = "127.0.0.1") {
  Fd s(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  inet_pton(AF_INET, host, &a.sin_addr);
  return connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0 ? std::move(s)
                                                                                : Fd();
}

class StreamDoorTest : public ::testing::Test {
 protected:
  std::string path() const { return folder / "net"; }
  TempFolder folder;
  Net net;
};

TEST_F(StreamDoorTest, EachConnectionIsAPort) {
  net.door(path());
  struct stat st;
  ASSERT_EQ(stat(path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  {
    const StreamPeer a(path()), b(path());
    ASSERT_TRUE(net.has_ports(3));
    EXPECT_EQ(net.ports()[1], "stream:" + path() + " process " + std::to_string(getpid()));
    expect_talk(a, b);
  }
  EXPECT_TRUE(net.has_ports(1));
  EXPECT_EQ(net.counter("door.joined"), 2u);
}

TEST_F(StreamDoorTest, VdeFraming) {
  StreamOptions o;
  o.limits.framing = Framing::vde;
  net.door(path(), o);
  const StreamPeer a(path(), Framing::vde), b(path(), Framing::vde);
  ASSERT_TRUE(net.has_ports(3));
  expect_talk(a, b);
}

TEST_F(StreamDoorTest, TcpOfTheLoopback) {
  const std::uint16_t port = free_port();
  net.door(":" + std::to_string(port));
  const StreamPeer a(tcp_to(port)), b(tcp_to(port));
  ASSERT_GE(a.fd(), 0);
  ASSERT_TRUE(net.has_ports(3));
  EXPECT_TRUE(net.ports()[1].starts_with("stream::" + std::to_string(port) + " 127.0.0.1:"))
      << net.ports()[1];
  expect_talk(a, b);
  EXPECT_FALSE(tcp_to(port, "127.0.0.2")) << "no host is not any host";
  try {
    Net other;
    other.door("127.0.0.1:" + std::to_string(port));
    FAIL() << "taken";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("in use"), std::string::npos) << e.what();
  }
}

TEST_F(StreamDoorTest, AddressesThatAreNone) {
  EXPECT_THROW(parse_stream_address(""), Error);
  for (const char* port : {"0", "65536", "70000000", "99999999999999999999"})
    EXPECT_THROW(parse_stream_address("127.0.0.1:" + std::string(port)), Error) << port;
  EXPECT_THROW(parse_stream_address("256.1.2.3.4:80"), Error);
  EXPECT_THROW(parse_stream_address(std::string(200, 'x')), Error);
  EXPECT_TRUE(parse_stream_address("name").is_unix());
  EXPECT_TRUE(parse_stream_address("/tmp/a:80").is_unix());
  EXPECT_TRUE(parse_stream_address("a:b").is_unix());
  EXPECT_FALSE(parse_stream_address(":80").is_unix());
  EXPECT_EQ(parse_stream_address("[::1]:80").address.ss_family, AF_INET6);
  EXPECT_EQ(make_stream_options("x", {{"framing", "vde"}}).limits.framing, Framing::vde);
  EXPECT_EQ(make_stream_options("x", {{"buffer", "64"}}).limits.buffer, 65536u);
  EXPECT_THROW(make_stream_options("x", {{"framing", "slip"}}), Error);
  EXPECT_THROW(make_stream_options("x", {{"buffer", "63"}}), Error);
  EXPECT_THROW(make_stream_options("x", {{"clients", "0"}}), Error);
  EXPECT_THROW(make_stream_options("x", {{"speed", "1"}}), Error);
}

TEST_F(StreamDoorTest, WhoLiesAboutLengthsIsHungUpOnAndTheOthersGoOn) {
  net.door(path());
  const StreamPeer a(path()), b(path());
  ASSERT_TRUE(net.has_ports(3));
  {
    const StreamPeer liar(path());
    ASSERT_TRUE(net.has_ports(4));
    ASSERT_TRUE(liar.say({0xff, 0xff, 0xff, 0xff, 1, 2, 3}));
    EXPECT_TRUE(liar.hung_up());
    EXPECT_TRUE(net.has_ports(3));
    EXPECT_NE(net.logged().find("announced a frame of 4294967295 bytes"), std::string::npos)
        << net.logged();
  }
  expect_talk(a, b);
  const StreamPeer empty(path()), half(path());
  ASSERT_TRUE(net.has_ports(5));
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(empty.say({0, 0, 0, 0}));
  ASSERT_TRUE(half.say({0, 0, 0, 100, 1, 2, 3}));
  expect_talk(a, b);
  EXPECT_TRUE(soon([&] { return net.counter("stream.empty-frames") == 1000; }));
  ASSERT_TRUE(empty.send(ethernet(kAll, 0x020000000009, 5)));
  EXPECT_TRUE(soon([&] { return net.counter("drop.runt") == 1; }));
}

TEST_F(StreamDoorTest, LiarsDoNotFillTheLog) {
  net.door(path());
  for (int i = 0; i < 50; ++i) {
    const StreamPeer liar(path());
    ASSERT_TRUE(liar.say({0xff, 0, 0, 0}));
    ASSERT_TRUE(liar.hung_up());
  }
  const std::string log = net.logged();
  EXPECT_LT(std::count(log.begin(), log.end(), '\n'), 25) << "one a second at most";
}

TEST_F(StreamDoorTest, WhoNeverReadsDisturbsNobody) {
  net.door(path());
  const StreamPeer a(path()), b(path()), stuck(path());
  ASSERT_TRUE(net.has_ports(4));
  const Bytes frame = ethernet(kAll, 0x020000000001, 1514);
  for (int i = 0; i < 3000; ++i) {
    ASSERT_TRUE(a.send(frame));
    ASSERT_EQ(b.next(), frame);
  }
  EXPECT_GT(net.counter("drop.queue-full"), 0u);
  expect_talk(a, b);
}

TEST_F(StreamDoorTest, NoMoreThanItWasTold) {
  StreamOptions o;
  o.guests = 2;
  net.door(path(), o);
  {
    const StreamPeer a(path()), b(path());
    ASSERT_TRUE(net.has_ports(3));
    const StreamPeer c(path());
    EXPECT_TRUE(c.hung_up());
    expect_talk(a, b);
    EXPECT_EQ(net.counter("door.refused"), 1u);
    EXPECT_NE(net.logged().find("clients="), std::string::npos) << net.logged();
  }
  ASSERT_TRUE(net.has_ports(1));
  const StreamPeer a(path()), b(path());
  ASSERT_TRUE(net.has_ports(3));
  expect_talk(a, b);
}

TEST_F(StreamDoorTest, OutOfDescriptorsItLooksAgain) {
  net.door(path());
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const StreamPeer a(path());
  ASSERT_TRUE(net.has_ports(2));
  Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const rlimit none{static_cast<rlim_t>(socket.get()) + 1, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const sockaddr_un at = unix_address(path(), "peer");
  EXPECT_EQ(connect(socket.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at), 0);
  const bool backed_off = soon([&] { return net.counter("door.back-offs") > 0; });
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_TRUE(backed_off);
  ASSERT_TRUE(net.has_ports(3));
  expect_talk(a, StreamPeer(std::move(socket)));
}

// Uplinks.

TEST_F(StreamDoorTest, AnUplinkToADoor) {
  Net far;
  far.door(path());
  const StreamPeer there(path());
  net.uplink(path());
  net.door(folder / "near");
  const StreamPeer here(folder / "near");
  ASSERT_TRUE(net.has_ports(3));
  ASSERT_TRUE(far.has_ports(3));
  EXPECT_TRUE(net.link("uplink"));
  expect_talk(here, there);
}

TEST_F(StreamDoorTest, AnUplinkWaitsForItsPeerAndComesBack) {
  net.uplink(path());
  net.door(folder / "near");
  const StreamPeer here(folder / "near");
  EXPECT_FALSE(net.link("uplink"));
  EXPECT_NE(net.logged().find("trying again"), std::string::npos) << net.logged();
  for (int i = 1; i <= 3; ++i) {
    Net far;
    far.door(path());
    const StreamPeer there(path());
    ASSERT_TRUE(soon([&] { return net.link("uplink"); }));
    ASSERT_TRUE(far.has_ports(3));
    expect_talk(here, there);
    EXPECT_EQ(net.counter("stream.connections"), static_cast<std::uint64_t>(i));
  }
  ASSERT_TRUE(soon([&] { return !net.link("uplink"); }));
  const std::string log = net.logged();
  EXPECT_LT(std::count(log.begin(), log.end(), '\n'), 10) << log;
}

TEST_F(StreamDoorTest, AnUplinkOverTcp) {
  const std::uint16_t port = free_port();
  const std::string target = "127.0.0.1:" + std::to_string(port);
  net.uplink(target);
  net.door(folder / "near");
  const StreamPeer here(folder / "near");
  EXPECT_FALSE(net.link("uplink"));
  Net far;
  far.door(target);
  ASSERT_TRUE(soon([&] { return net.link("uplink"); }));
  const StreamPeer there(tcp_to(port));
  ASSERT_TRUE(far.has_ports(3));
  ASSERT_TRUE(net.has_ports(3));
  expect_talk(here, there);
}

TEST_F(StreamDoorTest, AnUplinkWhosePeerLies) {
  const sockaddr_un a = unix_address(path(), "peer");
  const UnixListener listener(a, 8, "peer");
  net.uplink(path());
  Fd first;
  ASSERT_TRUE(soon([&] {
    first.reset(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    return static_cast<bool>(first);
  }));
  const StreamPeer liar(std::move(first));
  ASSERT_TRUE(liar.say({0x80, 0, 0, 0}));
  EXPECT_TRUE(liar.hung_up());
  EXPECT_NE(net.logged().find("2147483648 bytes"), std::string::npos) << net.logged();
  Fd again;
  EXPECT_TRUE(soon([&] {
    again.reset(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    return static_cast<bool>(again);
  })) << "tried again";
}

}  // namespace
}  // namespace rp::sockets
