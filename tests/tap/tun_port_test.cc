// SPDX-License-Identifier: BSD-3-Clause
// tun_port_test.cc - the kernel's own stack behind a tun device, and a guest of Ethernet frames.
#include "tap/open.h"
#include "tests/tap/world.h"

namespace rp::test {
namespace {

std::unique_ptr<sw::Port> open(const std::string& name, const tap::Params& params) {
  return tap::open_tun(name, params, Log([](void*, int, const char*) {}, nullptr), 0ns);
}

constexpr std::uint64_t kGuest = 0x020000000011;

Bytes request(std::uint64_t from) {
  Bytes f = ethernet(0xffffffffffff, from, 42, 0x0806);
  const Bytes rest{0,   1, 8, 0, 6, 4, 0, 1, 2, 0, 0,   0, 0, 0x11,
                   192, 0, 2, 2, 0, 0, 0, 0, 0, 0, 192, 0, 2, 1};
  std::copy(rest.begin(), rest.end(), f.begin() + 14);
  return f;
}

/// An echo request of the guest's to 192.0.2.1, `to` its MAC.
Bytes ping(std::uint64_t to) {
  Bytes f = ethernet(to, kGuest, 14 + 20 + 8 + 32, 0x0800);
  const Bytes head{0x45, 0, 0,   60, 0, 1, 0x40, 0, 64, 1, 0, 0, 192, 0,
                   2,    2, 192, 0,  2, 1, 8,    0, 0,  0, 0, 5, 0,   1};
  std::copy(head.begin(), head.end(), f.begin() + 14);
  const auto sum = [&](std::size_t from, std::size_t end, std::size_t at) {
    std::uint32_t s = 0;
    for (std::size_t i = from; i < end; i += 2) s += f[i] * 256u + f[i + 1];
    while (s > 0xffff) s = (s >> 16) + (s & 0xffff);
    f[at] = static_cast<std::uint8_t>(~s >> 8);
    f[at + 1] = static_cast<std::uint8_t>(~s);
  };
  sum(14, 34, 24);
  sum(34, f.size(), 36);
  return f;
}

std::uint64_t source_of(const Bytes& f) {
  std::uint64_t mac = 0;
  for (std::size_t i = 6; i < 12; ++i) mac = mac << 8 | f[i];
  return mac;
}

TEST(TunPort, AGuestFindsItAndThePingsCome) {
  for (const char* offload : {"on", "off"}) {
    in_network([&] {
      World w(open("t0", {{"address", "192.0.2.1/24"}, {"offload", offload}}));
      tap::Netlink n;
      EXPECT_NE(get_link(n, "t0", "").type, 1u);
      w.guest->inbound.emplace_back(request(kGuest), sw::Offload{});
      ASSERT_TRUE(w.until([&] { return !w.came(0x0806).empty(); }));
      const std::uint64_t gateway = source_of(w.came(0x0806)[0]);
      w.send(ping(gateway));
      ASSERT_TRUE(w.until([&] { return !w.came(0x0800).empty(); }));
      const Bytes back = w.came(0x0800)[0];
      EXPECT_EQ(source_of(back), gateway);
      EXPECT_EQ(back[34], 0);
      EXPECT_EQ(Bytes(back.begin() + 38, back.end()), [&] {
        const Bytes sent = ping(gateway);
        return Bytes(sent.begin() + 38, sent.end());
      }());
    });
  }
}

TEST(TunPort, TheHostSpeaksFirst) {
  in_network([] {
    World w(open("t0", {{"address", "192.0.2.1/24"}}));
    const Fd s(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(9);
    inet_pton(AF_INET, "192.0.2.2", &to.sin_addr);
    const auto say = [&] {
      return sendto(s.get(), "text", 4, 0, reinterpret_cast<sockaddr*>(&to), sizeof to);
    };
    ASSERT_EQ(say(), 4);
    ASSERT_TRUE(w.until([&] { return !w.came(0x0806).empty(); }));
    EXPECT_EQ(w.counter("tun.unresolved"), 1u);
    Bytes answer = request(kGuest);
    answer[21] = 2;
    w.send(answer);
    ASSERT_EQ(say(), 4);
    ASSERT_TRUE(w.until([&] { return !w.came(0x0800).empty(); }));
    const Bytes got = w.came(0x0800)[0];
    EXPECT_EQ(got.size(), 14u + 20 + 8 + 4);
    EXPECT_EQ(Bytes(got.begin(), got.begin() + 6), (Bytes{2, 0, 0, 0, 0, 0x11}));
  });
}

TEST(TunPort, WhatIsNotForItIsCounted) {
  in_network([] {
    World w(open("t0", {{"address", "192.0.2.1/24"}}));
    w.send(ethernet(0x020000000099, kGuest, 100, 0x0800));
    w.send(ethernet(0xffffffffffff, kGuest, 14, 0x0800));
    EXPECT_EQ(w.counter("tun.not-for-it"), 2u);
    EXPECT_EQ(w.counter("tap.refused"), 0u);
  });
}

TEST(TunPort, DeletedAndMadeAgain) {
  in_network([] {
    World w(open("t0", {{"address", "192.0.2.1/24"}}));
    tap::Netlink n;
    remove_link(n, if_nametoindex("t0"), "test");
    ASSERT_TRUE(w.until([&] { return w.counter("tap.found") == 1 && w.port->link_up(); }));
    w.guest->inbound.emplace_back(request(kGuest), sw::Offload{});
    ASSERT_TRUE(w.until([&] { return !w.came(0x0806).empty(); }));
    w.send(ping(source_of(w.came(0x0806)[0])));
    EXPECT_TRUE(w.until([&] { return !w.came(0x0800).empty(); }));
  });
}

TEST(TunPort, Errors) {
  EXPECT_TRUE(contains(error_of([] { open("t0", {}); }, Errc::invalid), "address="));
  error_of([] { open("a b", {{"proxy", "on"}}); }, Errc::invalid);
  in_network([] {
    const auto other = tap::open_tap("l2", {}, Log([](void*, int, const char*) {}, nullptr), 0ns);
    EXPECT_TRUE(contains(error_of(
                             [] {
                               open("l2", {{"proxy", "on"}});
                             },
                             Errc::invalid),
                         "use tap:l2"));
    error_of([] { open("lo", {{"proxy", "on"}}); }, Errc::invalid);
    const auto one = open("", {{"proxy", "on"}});
    EXPECT_TRUE(there("tun0"));
  });
}

}  // namespace
}  // namespace rp::test
