// SPDX-License-Identifier: BSD-3-Clause
// netlink_test.cc - devices made, changed and removed over netlink, in a network of their own.
#include <gtest/gtest.h>
#include <linux/rtnetlink.h>

#include "switch/mac_text.h"
#include "tap/link_monitor.h"
#include "tap/links.h"
#include "tests/tap/network.h"

namespace rp::test {
namespace {

using tap::find_link;
using tap::get_link;

constexpr const char* kNoNode = "/";

TEST(Links, OneIsMadeChangedAndRemoved) {
  in_network(
      [] {
        tap::Netlink n;
        EXPECT_FALSE(find_link(n, "br0"));
        const unsigned index = create_link(
            n, {.name = "br0", .kind = "bridge", .mac = sw::parse_mac("02:00:00:00:00:07")},
            "test");
        const auto made = find_link(n, index);
        ASSERT_TRUE(made);
        EXPECT_EQ(made->name, "br0");
        EXPECT_EQ(made->kind, "bridge");
        EXPECT_EQ(sw::text_of(made->mac), "02:00:00:00:00:07");
        tap::LinkChange c;
        c.up = true;
        c.mtu = 1280;
        change_link(n, index, c, "test");
        EXPECT_EQ(find_link(n, index)->mtu, 1280u);
        EXPECT_TRUE(find_link(n, index)->flags & IFF_UP);
        EXPECT_TRUE(remove_link(n, index, "test"));
        EXPECT_FALSE(remove_link(n, index, "test"));
        EXPECT_FALSE(find_link(n, index));
      },
      kNoNode);
}

TEST(Links, AllAreListed) {
  in_network(
      [] {
        tap::Netlink n;
        for (int i = 0; i < 100; ++i)
          create_link(n, {.name = "b" + std::to_string(i), .kind = "bridge"}, "test");
        int bridges = 0;
        each_link(n, [&](const tap::Link& l) { bridges += l.kind == "bridge"; });
        EXPECT_EQ(bridges, 100);
      },
      kNoNode);
}

// Devices that go between two parts of a listing make the kernel say that it is not whole.
TEST(Links, AListingThatWasInterruptedIsToldOrTakenAgain) {
  in_network(
      [] {
        tap::Netlink n, other;
        for (int i = 0; i < 100; ++i)
          create_link(n, {.name = "b" + std::to_string(i), .kind = "bridge"}, "test");
        bool changed = false;
        tap::Request r(RTM_GETLINK, NLM_F_DUMP);
        r.header<ifinfomsg>();
        const int err = n.ask(r, [&](const nlmsghdr&) {
          if (!changed) create_link(other, {.name = "late", .kind = "bridge"}, "test");
          changed = true;
        });
        EXPECT_EQ(err, EINTR);
        int bridges = 0;
        each_link(n, [&](const tap::Link& l) { bridges += l.kind == "bridge"; });
        EXPECT_EQ(bridges, 101);
      },
      kNoNode);
}

// Root of a namespace may fill whatever socket listens in there.
TEST(Links, AFullSocketStillBringsAnswers) {
  in_network(
      [] {
        Fd ours = tap::Netlink::open_socket();
        sockaddr_nl to{};
        to.nl_family = AF_NETLINK;
        socklen_t length = sizeof to;
        ASSERT_EQ(bind(ours.get(), reinterpret_cast<const sockaddr*>(&to), length), 0);
        getsockname(ours.get(), reinterpret_cast<sockaddr*>(&to), &length);
        const Fd s = tap::Netlink::open_socket();
        tap::Request forged(RTM_NEWLINK, 0);
        forged.header<ifinfomsg>();
        int sent = 0;
        while (sent < 100000 && sendto(s.get(), forged.message(), forged.message()->nlmsg_len, 0,
                                       reinterpret_cast<const sockaddr*>(&to), length) > 0)
          ++sent;
        EXPECT_GT(sent, 0) << errno;
        EXPECT_LT(sent, 100000);
        tap::Netlink n(std::move(ours));
        EXPECT_TRUE(find_link(n, "lo"));
      },
      kNoNode);
}

TEST(Links, ErrorsNameTheDeviceAndTheReason) {
  in_network(
      [] {
        tap::Netlink n;
        EXPECT_TRUE(
            contains(error_of([&] { get_link(n, "br0", "test"); }, Errc::not_found), "'br0'"));
        EXPECT_TRUE(
            contains(error_of([&] { create_link(n, {.name = "x", .kind = "nonesuch"}, "test:x"); },
                              Errc::unsupported),
                     "test:x: this kernel has no nonesuch"));
        create_link(n, {.name = "br0", .kind = "bridge"}, "test");
        EXPECT_TRUE(contains(
            error_of([&] { create_link(n, {.name = "br0", .kind = "bridge"}, "test:br0"); },
                     Errc::busy),
            "test:br0: making a bridge"));
        tap::LinkChange c;
        c.master = 1;
        EXPECT_TRUE(
            contains(error_of([&] { change_link(n, get_link(n, "br0", "").index, c, "test"); },
                              Errc::system),
                     "joining the bridge"));
        c = {};
        c.mtu = 90;
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) GTEST_FAIL();
        if (geteuid() != 65534) return;
        EXPECT_TRUE(
            contains(error_of([&] { change_link(n, get_link(n, "br0", "").index, c, "test"); },
                              Errc::denied),
                     "CAP_NET_ADMIN"));
      },
      kNoNode);
}

TEST(Links, AddressesAndRoutes) {
  in_network(
      [] {
        tap::Netlink n;
        const unsigned index = create_link(n, {.name = "br0", .kind = "bridge"}, "test");
        tap::LinkChange up;
        up.up = true;
        change_link(n, index, up, "test");
        for (const char* a : {"192.0.2.2/24", "2001:db8::2/64"}) {
          add_address(n, index, tap::parse_prefix(a), "test");
          add_address(n, index, tap::parse_prefix(a), "test");
        }
        add_default_route(n, index, tap::parse_ip("192.0.2.1"), "test");
        add_default_route(n, index, tap::parse_ip("2001:db8::1"), "test");
        const Fd s(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        sockaddr_in to{};
        to.sin_family = AF_INET;
        to.sin_port = htons(9);
        inet_pton(AF_INET, "198.51.100.1", &to.sin_addr);
        EXPECT_EQ(connect(s.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0) << errno;
        EXPECT_TRUE(contains(
            error_of([&] { add_default_route(n, index, tap::parse_ip("203.0.113.1"), "test"); },
                     Errc::system),
            "203.0.113.1"));
      },
      kNoNode);
}

TEST(LinkMonitor, HearsOfDevices) {
  in_network(
      [] {
        tap::LinkMonitor monitor;
        std::vector<std::string> heard;
        const auto collect = [&] {
          monitor.each(0, [&](const tap::LinkEvent& e) {
            heard.push_back(std::string(e.gone ? "-" : e.up ? "^" : "v") + std::string(e.name));
          });
        };
        tap::Netlink n;
        const unsigned index = create_link(n, {.name = "br0", .kind = "bridge"}, "test");
        collect();
        ASSERT_FALSE(heard.empty());
        EXPECT_EQ(heard.back(), "vbr0");
        tap::LinkChange up;
        up.up = true;
        change_link(n, index, up, "test");
        collect();
        EXPECT_EQ(heard.back(), "^br0");
        heard.clear();
        collect();
        EXPECT_TRUE(heard.empty());
        monitor.ask(index);
        collect();
        EXPECT_EQ(heard, std::vector<std::string>{"^br0"});
        remove_link(n, index, "test");
        collect();
        EXPECT_EQ(heard.back(), "-br0");
        heard.clear();
        monitor.ask(index);
        collect();
        EXPECT_EQ(heard, std::vector<std::string>{"-"});
      },
      kNoNode);
}

// Root of a namespace may send to whatever listens in there.
TEST(LinkMonitor, OnlyTheKernelIsBelieved) {
  in_network(
      [] {
        tap::LinkMonitor monitor;
        sockaddr_nl to{};
        socklen_t length = sizeof to;
        getsockname(monitor.fd(), reinterpret_cast<sockaddr*>(&to), &length);
        to.nl_groups = 0;
        tap::Request forged(RTM_DELLINK, 0);
        forged.header<ifinfomsg>().ifi_index = 1;
        forged.put_text(IFLA_IFNAME, "lo");
        const Fd s = tap::Netlink::open_socket();
        EXPECT_GT(sendto(s.get(), forged.message(), forged.message()->nlmsg_len, 0,
                         reinterpret_cast<const sockaddr*>(&to), length),
                  0)
            << errno;
        int heard = 0;
        auto count = [&](const tap::LinkEvent&) { ++heard; };
        monitor.each(0, count);
        EXPECT_EQ(heard, 0);
        monitor.ask(1);
        monitor.each(0, count);
        EXPECT_EQ(heard, 1);
      },
      kNoNode);
}

// What was lost to a full socket is asked for again.
TEST(LinkMonitor, AFloodOfChanges) {
  in_network(
      [] {
        tap::LinkMonitor monitor;
        tap::Netlink n;
        const unsigned index = create_link(n, {.name = "br0", .kind = "bridge"}, "test");
        tap::LinkChange up, down;
        up.up = true;
        down.up = false;
        for (int i = 0; i < 2000; ++i) change_link(n, index, i % 2 ? up : down, "test");
        bool last = false;
        for (int i = 0; i < 100; ++i)
          monitor.each(index, [&](const tap::LinkEvent& e) { last = e.up; });
        EXPECT_TRUE(last);
      },
      kNoNode);
}

}  // namespace
}  // namespace rp::test
