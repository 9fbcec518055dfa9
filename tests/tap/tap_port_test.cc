// SPDX-License-Identifier: BSD-3-Clause
// tap_port_test.cc - frames through a tap device, and what may become of the device meanwhile.
#include "tap/tap_port.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include <random>

#include "switch/mac_text.h"
#include "tap/links.h"
#include "tap/open.h"
#include "tap/tap_device.h"
#include "tap/tun_ioctl.h"
#include "tests/switch/packets.h"
#include "tests/tap/world.h"

namespace rp::test {
namespace {

using tap::Params;

std::unique_ptr<sw::Port> open(const std::string& name, const Params& params = {}) {
  return tap::open_tap(name, params, Log([](void*, int, const char*) {}, nullptr), 0ns);
}

/// A persistent tap device, as an administrator makes it.
Fd admin_makes(const std::string& name, unsigned flags = IFF_TAP | IFF_NO_PI) {
  Fd fd = tap::open_tun_node("test");
  std::string n = name;
  EXPECT_EQ(tap::set_interface(fd, n, flags), 0);
  EXPECT_EQ(ioctl(fd.get(), TUNSETPERSIST, 1), 0);
  return fd;
}

void set_up(const std::string& name, bool up) {
  tap::Netlink n;
  tap::LinkChange c;
  c.up = up;
  change_link(n, if_nametoindex(name.c_str()), c, "test");
}

void remove(const std::string& name) {
  tap::Netlink n;
  EXPECT_TRUE(remove_link(n, if_nametoindex(name.c_str()), "test"));
}

tap::Link link_of(const std::string& name) {
  tap::Netlink n;
  return get_link(n, name, "test");
}

void expect_passes(World& w, const std::string& device) {
  Wire wire(device);
  const Bytes out = ethernet(0x020000000001, 0x020000000002, 200);
  w.send(out);
  EXPECT_EQ(wire.receive(), out);
  const Bytes in = ethernet(0x020000000002, 0x020000000001, 300);
  w.guest->sent.clear();
  ASSERT_TRUE(wire.send(in));
  EXPECT_TRUE(w.until([&] { return !w.came().empty(); }));
  EXPECT_EQ(w.came().empty() ? Bytes() : w.came()[0], in);
}

TEST(TapPort, FramesOfAllSizesBothWays) {
  for (const char* offload : {"on", "off"}) {
    in_network([&] {
      World w(open("t0", {{"mtu", "65521"}, {"offload", offload}}));
      Wire wire("t0");
      for (const std::size_t size : {14u, 60u, 127u, 128u, 129u, 1514u, 9000u, 65535u}) {
        const Bytes out = ethernet(0x020000000001, 0x020000000002, size);
        w.send(out);
        EXPECT_EQ(wire.receive(), out) << size;
        w.guest->sent.clear();
        const Bytes in = ethernet(0x020000000002, 0x020000000001, size);
        ASSERT_TRUE(wire.send(in)) << size;
        ASSERT_TRUE(w.until([&] { return !w.came().empty(); })) << size;
        EXPECT_EQ(w.came()[0], in) << size;
      }
    });
  }
}

/// The kernel believes who leaves a checksum to do, not who says that it is right.
TEST(TapPort, AVouchedChecksumIsLeftToDo) {
  const Recipe r;
  std::mt19937 rng(1);
  Bytes whole = build(r, rng), open_again = whole;
  for (const std::size_t address : {0u, 6u}) whole[address] = open_again[address] = 2;
  naive_complete(whole, r);
  for (const char* offload : {"on", "off"}) {
    in_network([&] {
      World w(open("t0", {{"offload", offload}}));
      Wire wire("t0");
      w.send(whole, {.flags = kDataValid});
      EXPECT_EQ(wire.receive(sw::kEtherIpv4), offload[1] == 'n' ? open_again : whole) << offload;
      w.send(whole);
      EXPECT_EQ(wire.receive(sw::kEtherIpv4), whole) << offload;
    });
  }
}

TEST(TapPort, AFrameInManyPartsGoesOutWhole) {
  in_network([] {
    auto port = open("t0", {{"mtu", "9000"}});
    Wire wire("t0");
    const Bytes whole = ethernet(0x020000000001, 0x020000000002, 1500);
    sw::Frame f;
    sw::Part all;
    sw::make_frame(f, all, whole);
    std::vector<sw::Part> parts;
    for (std::uint32_t at = 0; at < all.len; ++at) parts.push_back({all.data + at, 1});
    for (const std::size_t n : {std::size_t{5}, std::size_t{1000}}) {
      const auto rest = static_cast<std::uint32_t>(parts.size() - n);
      std::vector<sw::Part> some(parts.begin(), parts.begin() + static_cast<long>(n));
      some.push_back({all.data + n, rest});
      f.body = some;
      const sw::Frame* one = &f;
      EXPECT_EQ(port->send({&one, 1}, 0ns), 0u);
      EXPECT_EQ(wire.receive(), whole) << n;
    }
  });
}

TEST(TapPort, AFullBurstKeepsTheOrder) {
  in_network([] {
    World w(open("t0"));
    Wire wire("t0");
    for (std::size_t i = 0; i < 200; ++i)
      ASSERT_TRUE(wire.send(ethernet(0x020000000002, 0x020000000001, 100 + i)));
    EXPECT_TRUE(w.until([&] { return w.came().size() == 200; }));
    for (std::size_t i = 0; i < w.came().size(); ++i) EXPECT_EQ(w.came()[i].size(), 100 + i);
  });
}

TEST(TapPort, QueuesOfOneDevice) {
  in_network([] {
    World w(open("t0", {{"queues", "4"}}));
    EXPECT_TRUE(contains(w.port->describe(), "queues=4")) << w.port->describe();
    for (int i = 0; i < 4; ++i) expect_passes(w, "t0");
  });
}

TEST(TapPort, SettingsAreApplied) {
  in_network([] {
    tap::Netlink n;
    create_link(n, {.name = "br0", .kind = "bridge"}, "test");
    const auto port = open("t0", {{"bridge", "br0"},
                                  {"mac", "02:11:22:33:44:55"},
                                  {"mtu", "4000"},
                                  {"owner", "65534"},
                                  {"group", "0"},
                                  {"address", "192.0.2.1/24"},
                                  {"address", "2001:db8::1/64"}});
    const auto link = link_of("t0");
    EXPECT_EQ(link.kind, "tun");
    EXPECT_EQ(link.mtu, 4000u);
    EXPECT_EQ(sw::text_of(link.mac), "02:11:22:33:44:55");
    EXPECT_EQ(link.master, if_nametoindex("br0"));
    EXPECT_TRUE(link.flags & IFF_UP);
    const Fd s(socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    inet_pton(AF_INET6, "2001:db8::1", &at.sin6_addr);
    EXPECT_EQ(bind(s.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0) << errno;
  });
}

TEST(TapPort, WhatWasMadeGoesAndWhatWasThereStays) {
  in_network([] {
    open("mine");
    EXPECT_FALSE(there("mine"));
    open("kept", {{"persist", "on"}});
    EXPECT_TRUE(there("kept"));
    admin_makes("theirs");
    {
      World w(open("theirs", {{"up", "on"}}));
      expect_passes(w, "theirs");
    }
    EXPECT_TRUE(there("theirs"));
    open("theirs", {{"persist", "off"}});
    EXPECT_FALSE(there("theirs"));
  });
}

TEST(TapPort, ADeviceThatIsThereStaysAsItWasUnlessAsked) {
  in_network([] {
    admin_makes("t0");
    const auto port = open("t0");
    EXPECT_FALSE(link_of("t0").flags & IFF_UP);
    EXPECT_FALSE(port->link_up());
  });
}

TEST(TapPort, ADeviceOfSeveralQueuesIsFound) {
  in_network([] {
    admin_makes("t0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE);
    World w(open("t0", {{"up", "on"}}));
    expect_passes(w, "t0");
  });
}

// The next reader of a device that stays may know nothing of unfinished frames.
TEST(TapPort, ADeviceThatStaysHandsOutFinishedFramesAgain) {
  in_network([] {
    admin_makes("t0");
    open("t0", {{"up", "on"}});
    const Fd next = tap::open_tun_node("test");
    std::string name = "t0";
    ASSERT_EQ(tap::set_interface(next, name, IFF_TAP | IFF_NO_PI), 0);
    tap::Netlink n;
    add_address(n, if_nametoindex("t0"), tap::parse_prefix("192.0.2.1/24"), "test");
    const Fd s(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const int on = 1;
    setsockopt(s.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);
    inet_pton(AF_INET, "192.0.2.255", &to.sin_addr);
    ASSERT_EQ(sendto(s.get(), "text", 4, 0, reinterpret_cast<sockaddr*>(&to), sizeof to), 4);
    std::array<std::uint8_t, 2048> b;
    ssize_t got;
    // Others are the kernel's own, of IPv6.
    while ((got = read(next.get(), b.data(), b.size())) > 0 && (b[12] != 8 || b[13] != 0)) {
    }
    ASSERT_EQ(got, 14 + 20 + 8 + 4);
    std::uint32_t sum = 17 + 12;
    for (int i = 26; i < got; i += 2)
      sum += b[static_cast<std::size_t>(i)] * 256u + b[static_cast<std::size_t>(i) + 1];
    while (sum > 0xffff) sum = (sum >> 16) + (sum & 0xffff);
    EXPECT_EQ(sum, 0xffffu);
  });
}

TEST(TapPort, AGivenDescriptor) {
  in_network([] {
    Fd fd = tap::open_tun_node("test");
    std::string name = "given";
    ASSERT_EQ(tap::set_interface(fd, name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), 0);
    set_up("given", true);
    World w(open("", {{"fd", std::to_string(fd.get())}}));
    EXPECT_TRUE(w.port->offloads().tso4);
    expect_passes(w, "given");
    fd.reset();
    remove("given");
    EXPECT_TRUE(w.until([&] { return !w.port->link_up(); }));
  });
}

TEST(TapPort, GivenDescriptorsThatWontDo) {
  in_network([] {
    const auto number = [](const Fd& fd) { return Params{{"fd", std::to_string(fd.get())}}; };
    const Fd file(::open("/dev/null", O_RDWR | O_CLOEXEC));
    EXPECT_TRUE(contains(error_of([&] { open("", number(file)); }, Errc::invalid),
                         "no descriptor of a tap"));
    const Fd fresh = tap::open_tun_node("test");
    error_of([&] { open("", number(fresh)); }, Errc::system);
    const Fd tun = tap::open_tun_node("test");
    std::string name = "tun0";
    ASSERT_EQ(tap::set_interface(tun, name, IFF_TUN | IFF_NO_PI), 0);
    EXPECT_TRUE(contains(error_of([&] { open("", number(tun)); }, Errc::invalid), "tun device"));
    const Fd wide = tap::open_tun_node("test");
    name = "t0";
    ASSERT_EQ(tap::set_interface(wide, name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), 0);
    tap::set_header_size(wide, 33, "test");
    EXPECT_TRUE(contains(error_of([&] { open("", number(wide)); }, Errc::invalid), "33 bytes"));
    tap::set_header_size(wide, 32, "test");
    open("", number(wide));
  });
}

TEST(TapPort, TwoOnOneDevice) {
  in_network([] {
    const auto first = open("t0");
    const auto why = error_of([] { open("t0"); }, Errc::busy);
    EXPECT_TRUE(contains(why, "tap:t0") && contains(why, "another process")) << why;
    EXPECT_TRUE(first->link_up());
  });
}

TEST(TapPort, WrongDevices) {
  in_network([] {
    tap::Netlink n;
    create_link(n, {.name = "br0", .kind = "bridge"}, "test");
    EXPECT_TRUE(contains(error_of([] { open("br0"); }, Errc::invalid), "a bridge device"));
    EXPECT_TRUE(contains(error_of([] { open("lo"); }, Errc::invalid), "no tap device"));
    admin_makes("l3", IFF_TUN | IFF_NO_PI);
    EXPECT_TRUE(contains(error_of([] { open("l3"); }, Errc::invalid), "use tun:l3"));
    admin_makes("one");
    EXPECT_TRUE(contains(error_of(
                             [] {
                               open("one", {{"queues", "2"}});
                             },
                             Errc::invalid),
                         "leave out queues="));
    EXPECT_TRUE(contains(error_of(
                             [] {
                               open("t0", {{"bridge", "br7"}});
                             },
                             Errc::not_found),
                         "br7"));
    EXPECT_FALSE(there("t0"));
    EXPECT_TRUE(contains(error_of(
                             [] {
                               open("t0", {{"mtu", "65535"}});
                             },
                             Errc::system),
                         "MTU 65535"));
    EXPECT_FALSE(there("t0"));
  });
}

TEST(TapPort, AMissingRightIsNamedWithItsRemedy) {
  in_network([] {
    const Fd made = admin_makes("theirs");
    ASSERT_EQ(ioctl(made.get(), TUNSETOWNER, 0), 0);
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) GTEST_FAIL();
    const auto making = error_of([] { open("t0"); }, Errc::denied);
    EXPECT_TRUE(contains(making, "CAP_NET_ADMIN") && contains(making, "ip tuntap add t0"))
        << making;
    const auto theirs = error_of([] { open("theirs"); }, Errc::denied);
    EXPECT_TRUE(contains(theirs, "another user's")) << theirs;
  });
}

TEST(TapPort, ADeviceOfOnesOwnNeedsNoRights) {
  in_network([] {
    if (geteuid() != 0) _exit(kSkipped);
    const Fd made = admin_makes("mine");
    ASSERT_EQ(ioctl(made.get(), TUNSETOWNER, 65534), 0);
    set_up("mine", true);
    // The descriptor would keep the device's only queue.
    const_cast<Fd&>(made).reset();
    ASSERT_EQ(setresuid(65534, 65534, 65534), 0);
    const auto port = open("mine");
    EXPECT_TRUE(port->link_up());
    EXPECT_TRUE(contains(error_of([] { open("mine", {{"mtu", "900"}}); }, Errc::busy), "open"));
  });
}

TEST(TapPort, DownAndUpAgain) {
  in_network([] {
    World w(open("t0"));
    EXPECT_TRUE(w.port->link_up());
    set_up("t0", false);
    // Before it is known, a frame finds out; it is counted, and nothing breaks.
    const Bytes f = ethernet(0x020000000001, 0x020000000002);
    sw::Frame frame;
    sw::Part part;
    sw::make_frame(frame, part, f);
    const sw::Frame* one = &frame;
    EXPECT_EQ(w.port->send({&one, 1}, 0ns), 0u);
    EXPECT_EQ(w.counter("tap.while-down"), 1u);
    EXPECT_TRUE(w.until([&] { return !w.port->link_up(); }));
    w.send(f);
    EXPECT_EQ(w.counter("tap.while-down"), 1u);
    set_up("t0", true);
    EXPECT_TRUE(w.until([&] { return w.port->link_up(); }));
    expect_passes(w, "t0");
    EXPECT_EQ(w.counter("tap.lost"), 0u);
  });
}

/// How often the port's descriptor is readable in so many looks, with all work done between.
int wakeups(World& w, int looks) {
  int n = 0;
  for (int i = 0; i < looks; ++i) {
    pollfd p{w.port->poll_fd(), POLLIN, 0};
    if (poll(&p, 1, 1) > 0) ++n;
    for (int k = 0; k < 70; ++k) w.turn();
  }
  return n;
}

TEST(TapPort, ADeviceDeletedInUseIsFoundAgain) {
  in_network([] {
    admin_makes("t0");
    World w(open("t0", {{"up", "on"}, {"mtu", "1300"}}));
    expect_passes(w, "t0");
    remove("t0");
    EXPECT_TRUE(w.until([&] { return !w.port->link_up(); }));
    EXPECT_EQ(w.counter("tap.lost"), 1u);
    EXPECT_TRUE(contains(w.port->describe(), "gone"));
    // It never comes back by itself, and costs next to nothing meanwhile.
    EXPECT_LT(wakeups(w, 200), 20);
    EXPECT_FALSE(there("t0"));
    w.send(ethernet(0x020000000001, 0x020000000002));
    admin_makes("t0");
    EXPECT_TRUE(w.until([&] { return w.port->link_up(); }));
    EXPECT_EQ(link_of("t0").mtu, 1300u);
    EXPECT_EQ(w.counter("tap.found"), 1u);
    expect_passes(w, "t0");
  });
}

// Its open file stays in the world, and would stay readable for ever.
TEST(TapPort, AGivenDescriptorThatItsOwnerKeepsSleepsOnceTheDeviceIsDeleted) {
  in_network([] {
    const Fd fd = tap::open_tun_node("test");
    std::string name = "given";
    ASSERT_EQ(tap::set_interface(fd, name, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR), 0);
    set_up("given", true);
    World w(open("", {{"fd", std::to_string(fd.get())}}));
    remove("given");
    EXPECT_TRUE(w.until([&] { return !w.port->link_up(); }));
    EXPECT_LT(wakeups(w, 200), 20);
  });
}

TEST(TapPort, AGivenDescriptorThatIsGoneSleepsThroughADeviceOfItsName) {
  in_network([] {
    Fd fd = tap::open_tun_node("test");
    std::string name = "given";
    ASSERT_EQ(tap::set_interface(fd, name, IFF_TAP | IFF_NO_PI), 0);
    World w(open("", {{"fd", std::to_string(fd.get())}}));
    fd.reset();
    remove("given");
    EXPECT_TRUE(w.until([&] { return w.counter("tap.lost") == 1; }));
    admin_makes("given");
    EXPECT_TRUE(w.until([&] { return w.port->arm(0ns); }));
    EXPECT_EQ(w.counter("tap.found"), 0u);
  });
}

// Each attempt makes the device, is refused the bridge, and hears of what it made.
TEST(TapPort, AnAttemptThatFailsDoesNotCallForTheNext) {
  in_network([] {
    tap::Netlink n;
    create_link(n, {.name = "br0", .kind = "bridge"}, "test");
    World w(open("t0", {{"mtu", "1300"}, {"bridge", "br0"}}));
    remove("br0");
    remove("t0");
    EXPECT_TRUE(w.until([&] { return w.counter("tap.lost") == 1; }));
    EXPECT_LT(wakeups(w, 200), 30);
    create_link(n, {.name = "br0", .kind = "bridge"}, "test");
    EXPECT_TRUE(w.until([&] { return w.counter("tap.found") == 1; }));
  });
}

TEST(TapPort, ADeviceOfOursThatIsDeletedIsMadeAgain) {
  in_network([] {
    World w(open("t0", {{"mtu", "1300"}}));
    for (unsigned i = 1; i <= 3; ++i) {
      remove("t0");
      EXPECT_TRUE(w.until([&] { return w.counter("tap.found") == i && w.port->link_up(); })) << i;
      EXPECT_EQ(link_of("t0").mtu, 1300u);
      expect_passes(w, "t0");
    }
  });
}

TEST(TapPort, ADeletionThatAWriteFindsOut) {
  in_network([] {
    World w(open("t0"));
    remove("t0");
    const Bytes f = ethernet(0x020000000001, 0x020000000002);
    sw::Frame frame;
    sw::Part part;
    sw::make_frame(frame, part, f);
    const sw::Frame* three[] = {&frame, &frame, &frame};
    EXPECT_EQ(w.port->send(three, 0ns), 0u);
    EXPECT_EQ(w.counter("tap.while-down"), 3u);
    EXPECT_EQ(w.counter("tap.lost"), 1u);
    EXPECT_TRUE(w.until([&] { return w.port->link_up(); }));
  });
}

TEST(TapPort, ADeviceThatMovesToAnotherNamespaceGoesOn) {
  in_network([] {
    World w(open("t0"));
    const Fd home(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    const Fd other(::open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
    ASSERT_EQ(setns(home.get(), CLONE_NEWNET), 0);
    tap::Netlink n;
    tap::LinkChange move;
    move.netns = other.get();
    change_link(n, if_nametoindex("t0"), move, "test");
    w.until([&] { return w.port->link_up(); });
    ASSERT_EQ(setns(other.get(), CLONE_NEWNET), 0);
    set_up("t0", true);
    expect_passes(w, "t0");
    EXPECT_EQ(w.counter("tap.lost"), 0u);
  });
}

// A refused frame is counted, and the next one passes.
TEST(TapPort, T_HDR_4_ShortFrames) {
  in_network([] {
    World w(open("t0"));
    Bytes bytes = ethernet(0x020000000001, 0x020000000002);
    for (const std::size_t size : {0u, 1u, 13u}) {
      const Bytes shortened(bytes.begin(), bytes.begin() + static_cast<long>(size));
      sw::Frame frame;
      sw::Part part;
      sw::make_frame(frame, part, shortened);
      const sw::Frame* one = &frame;
      EXPECT_EQ(w.port->send({&one, 1}, 0ns), 0u);
    }
    EXPECT_EQ(w.counter("tap.refused"), 3u);
    expect_passes(w, "t0");
  });
}

// The kernel queues so many frames for a reader that does not come; none is stuck afterwards.
TEST(TapPort, AStormThatNobodyReads) {
  in_network([] {
    World w(open("t0"));
    Wire wire("t0");
    int sent = 0;
    for (int i = 0; i < 5000; ++i) sent += wire.send(ethernet(0x020000000002, 0x020000000001, 100));
    EXPECT_TRUE(w.until([&] {
      pollfd p{w.port->poll_fd(), POLLIN, 0};
      return poll(&p, 1, 0) == 0;
    }));
    EXPECT_GT(w.came().size(), 100u);
    EXPECT_LE(w.came().size(), static_cast<std::size_t>(sent));
    w.guest->sent.clear();
    expect_passes(w, "t0");
  });
}

}  // namespace
}  // namespace rp::test
