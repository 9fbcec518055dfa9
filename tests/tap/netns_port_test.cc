// SPDX-License-Identifier: BSD-3-Clause
// netns_port_test.cc - a device in another network namespace, configured, lost and gone.
#include "tap/netns_port.h"

#include <fcntl.h>
#include <sys/prctl.h>

#include <thread>

#include "switch/mac_text.h"
#include "tap/open.h"
#include "tests/tap/dhcp_server.h"
#include "tests/tap/sleeper.h"
#include "tests/tap/world.h"

namespace rp::test {
namespace {

using tap::Params;

std::unique_ptr<sw::Port> open(const std::string& target, const Params& params = {}) {
  return tap::open_netns(target, params, Log([](void*, int, const char*) {}, nullptr), 0ns);
}

TEST(NetnsPort, MakesAndConfiguresADevice) {
  in_network([] {
    Sleeper s;
    World w(open(s.pid(), {{"address", "192.0.2.2/24"},
                           {"address", "2001:db8::2/64"},
                           {"gateway", "192.0.2.1"},
                           {"gateway", "2001:db8::1"},
                           {"mtu", "9000"},
                           {"mac", "02:00:00:00:00:77"},
                           {"name", "wan0"}}));
    EXPECT_FALSE(there("wan0"));
    s.inside([] {
      tap::Netlink n;
      const auto link = get_link(n, "wan0", "test");
      EXPECT_EQ(link.mtu, 9000u);
      EXPECT_EQ(sw::text_of(link.mac), "02:00:00:00:00:77");
      EXPECT_TRUE(link.flags & IFF_UP);
      EXPECT_TRUE(get_link(n, "lo", "test").flags & IFF_UP);
      for (const char* far : {"198.51.100.1", "2001:db8:7::1"}) {
        const bool v6 = std::string(far).find(':') != std::string::npos;
        sockaddr_in6 to6{};
        to6.sin6_family = AF_INET6;
        to6.sin6_port = htons(9);
        sockaddr_in to4{};
        to4.sin_family = AF_INET;
        to4.sin_port = htons(9);
        inet_pton(AF_INET6, far, &to6.sin6_addr);
        inet_pton(AF_INET, far, &to4.sin_addr);
        const Fd u(socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(v6 ? connect(u.get(), reinterpret_cast<sockaddr*>(&to6), sizeof to6)
                     : connect(u.get(), reinterpret_cast<sockaddr*>(&to4), sizeof to4),
                  0)
            << far << " " << errno;
      }
    });
    EXPECT_TRUE(contains(w.port->describe(),
                         "address=192.0.2.2/24 address=2001:db8::2/64 "
                         "gateway=192.0.2.1 gateway=2001:db8::1"))
        << w.port->describe();
  });
}

TEST(NetnsPort, FramesBothWays) {
  in_network([] {
    Sleeper s;
    World w(open(s.path(), {{"address", "192.0.2.2/24"}}));
    s.inside([&] {
      Wire wire("eth0");
      const Bytes out = ethernet(0x020000000001, 0x020000000002, 700);
      w.send(out);
      EXPECT_EQ(wire.receive(), out);
      const Bytes in = ethernet(0x020000000002, 0x020000000001, 300);
      ASSERT_TRUE(wire.send(in));
    });
    EXPECT_TRUE(w.until([&] { return !w.came().empty(); }));
  });
}

/// The loop's clock, as the port has timers that go by it.
Instant uptime() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::chrono::seconds(t.tv_sec) + std::chrono::nanoseconds(t.tv_nsec);
}

/// Turns as the loop does, with a DHCP server at the other end.
bool get_address(World& w, DhcpServer& server, Instant& now, const std::string& wanted) {
  for (int i = 0; i < 2000; ++i) {
    now += 1ms;
    w.sw.turn(w.guest_id, now);
    if (w.sw.turn(w.id, now) == 0) {
      std::string name;
      w.port->accept(name);
    }
    w.sw.flush(now, [](sw::PortId) {});
    for (const auto& [f, offload] : w.guest->sent)
      if (const Bytes a = server.answer(f); !a.empty())
        w.guest->inbound.emplace_back(a, sw::Offload{});
    w.guest->sent.clear();
    if (contains(w.port->describe(), wanted)) return true;
  }
  return false;
}

TEST(NetnsPort, AsksForItsAddress) {
  in_network([] {
    Sleeper s;
    World w(open(s.pid()));
    DhcpServer server;
    Instant now = uptime();
    ASSERT_TRUE(get_address(w, server, now,
                            "address=10.0.5.77/24 gateway=10.0.5.1 dns=10.0.5.3 dns=10.0.5.4 "
                            "search=example.org"))
        << w.port->describe();
    s.inside([] {
      const Fd u(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_in at{};
      at.sin_family = AF_INET;
      inet_pton(AF_INET, "10.0.5.77", &at.sin_addr);
      EXPECT_EQ(bind(u.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0) << errno;
    });
    // The port sleeps, also when the time to ask again has come, had nobody answered.
    usleep(600000);
    now = uptime();
    EXPECT_TRUE(w.until([&] { return w.port->arm(now); }));
  });
}

/// Whether this network has the address.
bool has_address(const char* address) {
  const Fd u(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  inet_pton(AF_INET, address, &at.sin_addr);
  return bind(u.get(), reinterpret_cast<sockaddr*>(&at), sizeof at) == 0;
}

TEST(NetnsPort, AnotherAddressTakesThePlaceOfTheFirst) {
  in_network([] {
    Sleeper s;
    World w(open(s.pid()));
    DhcpServer server;
    Instant now = uptime();
    ASSERT_TRUE(get_address(w, server, now, "address=10.0.5.77"));
    server.address = {10, 0, 5, 78};
    now += std::chrono::seconds(server.time);
    ASSERT_TRUE(get_address(w, server, now, "address=10.0.5.78"));
    EXPECT_TRUE(w.until([&] { return w.port->arm(now); }));
    s.inside([] {
      EXPECT_TRUE(has_address("10.0.5.78"));
      EXPECT_FALSE(has_address("10.0.5.77"));
    });
  });
}

TEST(NetnsPort, ADeviceDeletedInsideIsMadeAgainAsItWas) {
  in_network([] {
    Sleeper s;
    World w(open(s.pid()));
    DhcpServer server;
    Instant now = uptime();
    ASSERT_TRUE(get_address(w, server, now, "address=10.0.5.77"));
    s.inside([] {
      tap::Netlink n;
      ASSERT_TRUE(remove_link(n, get_link(n, "eth0", "test").index, "test"));
    });
    EXPECT_TRUE(w.until([&] { return w.counter("tap.found") == 1 && w.port->link_up(); }));
    s.inside([] {
      const Fd u(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      sockaddr_in at{};
      at.sin_family = AF_INET;
      inet_pton(AF_INET, "10.0.5.77", &at.sin_addr);
      EXPECT_EQ(bind(u.get(), reinterpret_cast<sockaddr*>(&at), sizeof at), 0) << errno;
    });
  });
}

TEST(NetnsPort, DownAndUpInside) {
  in_network([] {
    Sleeper s;
    World w(open(s.pid(), {{"address", "192.0.2.2/24"}}));
    EXPECT_TRUE(w.port->link_up());
    for (const bool up : {false, true}) {
      s.inside([&] {
        tap::Netlink n;
        tap::LinkChange c;
        c.up = up;
        change_link(n, get_link(n, "eth0", "test").index, c, "test");
      });
      EXPECT_TRUE(w.until([&] { return w.port->link_up() == up; })) << up;
    }
  });
}

TEST(NetnsPort, GoesWithItsProcessAndTakesItsDeviceAlong) {
  in_network([] {
    Sleeper s, other;
    const Fd net(::open(s.path().c_str(), O_RDONLY | O_CLOEXEC));
    auto port = std::make_unique<World>(open(s.pid(), {{"address", "192.0.2.2/24"}}));
    EXPECT_FALSE(port->port->gone());
    s.end();
    EXPECT_TRUE(port->until([&] { return port->port->gone(); }));
    port.reset();
    std::thread([&] {
      ASSERT_EQ(setns(net.get(), CLONE_NEWNET), 0);
      EXPECT_FALSE(there("eth0"));
    }).join();
  });
}

TEST(NetnsPort, ANamespaceByPathNeverEnds) {
  in_network([] {
    Sleeper s;
    const std::string path = "/proc/self/fd/";
    const Fd net(::open(s.path().c_str(), O_RDONLY | O_CLOEXEC));
    World w(open(path + std::to_string(net.get()), {{"address", "192.0.2.2/24"}}));
    s.end();
    EXPECT_FALSE(w.until([&] { return w.port->gone(); }, 10));
    EXPECT_TRUE(w.port->link_up());
  });
}

TEST(NetnsPort, TheUsersOwnNamespaceTakesNoRights) {
  in_network([] {
    if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) GTEST_FAIL();
    prctl(PR_SET_DUMPABLE, 1);
    Sleeper s(CLONE_NEWUSER | CLONE_NEWNET);
    World w(open(s.pid(), {{"address", "192.0.2.2/24"}, {"mtu", "65520"}}));
    EXPECT_TRUE(w.port->link_up());
    EXPECT_TRUE(contains(w.port->describe(), "tso"));
  });
}

TEST(NetnsPort, ItLeavesNoProcessAndRaisesNoSignal) {
  in_network([] {
    static volatile sig_atomic_t children = 0;
    signal(SIGCHLD, [](int) { children = children + 1; });
    Sleeper s;
    { const auto port = open(s.pid(), {{"address", "192.0.2.2/24"}}); }
    EXPECT_EQ(children, 0);
    EXPECT_EQ(waitpid(-1, nullptr, static_cast<int>(WNOHANG | __WALL)), 0);  // the sleeper alone
  });
}

TEST(NetnsPort, WrongTargets) {
  in_network([] {
    Sleeper s;
    error_of([] { open(""); }, Errc::invalid);
    EXPECT_TRUE(contains(error_of([] { open("999999999"); }, Errc::not_found), "no process"));
    EXPECT_TRUE(contains(error_of([] { open("/nonesuch"); }, Errc::not_found), "/nonesuch"));
    EXPECT_TRUE(
        contains(error_of([] { open("/dev/null"); }, Errc::invalid), "no network namespace"));
    EXPECT_TRUE(contains(error_of([] { open("/proc/self/ns/mnt"); }, Errc::invalid),
                         "no network namespace"));
    const auto first = open(s.pid());
    EXPECT_TRUE(contains(error_of([&] { open(s.pid()); }, Errc::busy), "choose name="));
    EXPECT_TRUE(contains(error_of(
                             [&] {
                               open(s.pid(), {{"name", "x"}, {"gateway", "203.0.113.1"}});
                             },
                             Errc::system),
                         "203.0.113.1"));
    s.inside([] { EXPECT_FALSE(there("x")); });
    if (geteuid() != 0 || setresuid(65534, 65534, 65534) != 0) return;
    error_of([&] { open(s.pid()); }, Errc::denied);
  });
}

}  // namespace
}  // namespace rp::test
