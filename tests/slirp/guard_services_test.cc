// SPDX-License-Identifier: BSD-3-Clause
// guard_services_test.cc - the check in front of libslirp's servers and of its TCP queue.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/slirp/guard_fixture.h"

namespace rp::test {
namespace {

using sw::kProtoTcp, sw::kProtoUdp;

constexpr std::uint8_t kDiscover = 1, kOffer = 2, kRequest = 3, kDecline = 4, kAck = 5,
                       kRelease = 7;

class DhcpTest : public GuardTest {
 protected:
  Refusal ask(const Dhcp& d, sw::PortId port = 1, std::uint32_t src = 0) {
    const Ip4 ip{src, kAll};
    return judge(ipv4(d.client, ip, kProtoUdp, udp(68, 67, dhcp(d)), sw::kBroadcast), port);
  }
  Refusal ask(std::uint8_t n, std::uint8_t type, std::uint32_t wanted = 0, sw::PortId port = 1) {
    return ask({.client = guest_mac(n), .options = dhcp_options(type, wanted)}, port);
  }
  void answer(std::uint8_t n, std::uint8_t type, std::uint32_t address) {
    const Dhcp d{.op = 2, .client = guest_mac(n), .yiaddr = address, .options = dhcp_options(type)};
    EXPECT_TRUE(from_nat(ipv4(kGatewayMac, {kGateway, kAll}, kProtoUdp, udp(67, 68, dhcp(d)))));
  }
  Refusal options(const Data& o) { return ask({.client = guest_mac(1), .options = o}); }
};

TEST_F(DhcpTest, T_NAT_12_Options) {
  EXPECT_EQ(options(dhcp_options(kDiscover)), Refusal::none);
  EXPECT_EQ(options({53, 1, 1}), Refusal::none);  // no END
  EXPECT_EQ(options({0, 0, 53, 1, 1, 52, 1, 3, 255, 9, 9}), Refusal::none);
  EXPECT_EQ(options({53, 1, 1, 12, 200, 'a'}), Refusal::dhcp);
  EXPECT_EQ(options({53, 1, 1, 12}), Refusal::dhcp);
  EXPECT_EQ(options({53, 2, 1, 1}), Refusal::dhcp);
  EXPECT_EQ(options({53, 0}), Refusal::dhcp);
  EXPECT_EQ(options({53, 1, 1, 53, 1, 3}), Refusal::dhcp);
  EXPECT_EQ(options({53, 1, 1, 50, 3, 10, 0, 2}), Refusal::dhcp);
  Data id{53, 1, 1, 61, 136};
  id.resize(5 + 136);
  EXPECT_EQ(options(id), Refusal::dhcp);
  for (std::uint8_t type : {kOffer, kAck, std::uint8_t{6}, std::uint8_t{200}})
    EXPECT_EQ(options(dhcp_options(type)), Refusal::dhcp);
}

TEST_F(DhcpTest, T_NAT_12_Header) {
  const Data o = dhcp_options(kDiscover);
  EXPECT_EQ(ask({.op = 2, .client = guest_mac(1), .options = o}), Refusal::dhcp);
  EXPECT_EQ(ask({.htype = 6, .client = guest_mac(1), .options = o}), Refusal::dhcp);
  EXPECT_EQ(ask({.hlen = 16, .client = guest_mac(1), .options = o}), Refusal::dhcp);
  const Data good = dhcp({.client = guest_mac(1), .options = o});
  for (std::size_t len = 0; len < 240; ++len) {
    const Data cut(good.begin(), good.begin() + static_cast<long>(len));
    EXPECT_EQ(judge(ipv4(guest_mac(1), {0, kAll}, kProtoUdp, udp(68, 67, cut))), Refusal::dhcp);
  }
  // Another's hardware address inside.
  EXPECT_EQ(judge(ipv4(guest_mac(2), {0, kAll}, kProtoUdp, udp(68, 67, good))), Refusal::dhcp);
}

TEST_F(DhcpTest, T_NAT_12_LeaseBindsAddressAndMac) {
  const Data l4 = udp(1, 2, {});
  ASSERT_EQ(judge(ipv4(guest_mac(2), {kGuest, kFar}, kProtoUdp, l4), 2), Refusal::none);
  EXPECT_EQ(ask(1, kDiscover), Refusal::none);
  answer(1, kOffer, kGuest);
  EXPECT_EQ(ask(1, kRequest, kGuest), Refusal::none);
  answer(1, kAck, kGuest);
  EXPECT_EQ(judge(ipv4(guest_mac(1), {kGuest, kFar}, kProtoUdp, l4), 1), Refusal::none);
  EXPECT_EQ(judge(ipv4(guest_mac(2), {kGuest, kFar}, kProtoUdp, l4), 2), Refusal::spoofed_source);
  guard.forget(1);
  EXPECT_EQ(judge(ipv4(guest_mac(2), {kGuest, kFar}, kProtoUdp, l4), 2), Refusal::none);
}

TEST_F(DhcpTest, T_NAT_12_HundredThousandClients) {
  unsigned passed = 0;
  for (unsigned i = 0; i < 100000; ++i) {
    const sw::Mac mac{{0x52, 0x54, 1, static_cast<std::uint8_t>(i >> 16),
                       static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)}};
    if (ask({.client = mac, .options = dhcp_options(kDiscover)}, i % 7) != Refusal::none) continue;
    const Dhcp d{
        .op = 2, .client = mac, .yiaddr = kGuest + passed++, .options = dhcp_options(kOffer)};
    from_nat(ipv4(kGatewayMac, {kGateway, kAll}, kProtoUdp, udp(67, 68, dhcp(d))));
  }
  EXPECT_EQ(passed, 16u);  // one more, and libslirp would lose a buffer each time
}

TEST_F(DhcpTest, T_NAT_12_OneGuestCannotHoard) {
  unsigned passed = 0;
  for (unsigned i = 0; i < 16; ++i) {
    if (ask(1, kDiscover, kGuest + i) != Refusal::none) continue;
    answer(1, kOffer, kGuest + i);
    ++passed;
  }
  EXPECT_EQ(passed, 2u);
  EXPECT_EQ(ask(1, kRequest, kGuest), Refusal::none);
  EXPECT_EQ(ask(2, kRequest, kGuest, 2), Refusal::none);  // libslirp says no
}

TEST_F(DhcpTest, T_NAT_18_ReleaseOfForeignAddress) {
  ASSERT_EQ(judge4(kProtoUdp, udp(1, 2, {})), Refusal::none);  // 10.0.2.15 is guest 1's
  const auto release = [&](std::uint8_t n, std::uint32_t ciaddr, std::uint32_t src) {
    return ask({.client = guest_mac(n), .ciaddr = ciaddr, .options = dhcp_options(kRelease)}, n,
               src);
  };
  EXPECT_EQ(release(2, kGuest, 0), Refusal::dhcp);
  EXPECT_EQ(release(2, kGuest, kOther), Refusal::dhcp);
  EXPECT_EQ(release(2, 0, kOther), Refusal::dhcp);
  EXPECT_EQ(release(1, kGuest, kGuest), Refusal::none);
  EXPECT_EQ(ask(2, kDecline, kGuest, 2), Refusal::dhcp);
  EXPECT_EQ(ask(1, kDecline, kGuest, 1), Refusal::none);
}

TEST_F(GuardTest, T_NAT_6_Dhcp6) {
  const auto ask = [&](const Data& message, const char* to = "ff02::1:2") {
    return judge6(kProtoUdp, udp(546, 547, message), to, "fe80::15", 1);
  };
  const auto id = [](std::size_t len) {
    Data o{11, 1, 2, 3, 0, 1, static_cast<std::uint8_t>(len >> 8), static_cast<std::uint8_t>(len)};
    o.resize(8 + len);
    return o;
  };
  EXPECT_EQ(ask({11, 1, 2, 3}), Refusal::none);
  EXPECT_EQ(ask({11, 1, 2}), Refusal::dhcp);
  EXPECT_EQ(ask({11, 1, 2, 3, 0}), Refusal::dhcp);
  EXPECT_EQ(ask({11, 1, 2, 3, 0, 8, 0, 3, 0, 0}), Refusal::dhcp);
  EXPECT_EQ(ask({7, 1, 2, 3}), Refusal::dhcp);
  EXPECT_EQ(ask({12, 1, 2, 3}), Refusal::dhcp);
  EXPECT_EQ(ask(id(130)), Refusal::none);
  EXPECT_EQ(ask(id(131)), Refusal::dhcp);
  Data twice = id(4);
  append(twice, Data{0, 1, 0, 0});
  EXPECT_EQ(ask(twice), Refusal::dhcp);
  EXPECT_EQ(ask({11, 1, 2, 3}, "fec0::2"), Refusal::dhcp);
}

struct Root {
  Root() {
    char name[] = "/tmp/rp-tftp-XXXXXX";
    path = mkdtemp(name);
    std::filesystem::create_directories(path / "srv/dir");
    std::ofstream(path / "srv/boot") << "data";
    std::ofstream(path / "secret") << "secret";
    std::filesystem::create_symlink("../secret", path / "srv/up");
    std::filesystem::create_symlink("/etc/passwd", path / "srv/away");
    std::filesystem::create_symlink("boot", path / "srv/same");
    mkfifo((path / "srv/fifo").c_str(), 0600);
    fd = open((path / "srv").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  }
  ~Root() {
    close(fd);
    std::filesystem::remove_all(path);
  }
  std::filesystem::path path;
  int fd = -1;
};

GuardConfig with_root(int fd, unsigned mtu = 1500) {
  GuardConfig c = default_config();
  c.tftp_root = fd;
  c.mtu = mtu;
  return c;
}

class TftpTest : private Root, public GuardTest {
 protected:
  TftpTest() : GuardTest(with_root(fd)) {}
  static Data request(std::string_view name,
                      std::string_view tail = std::string_view("octet\0", 6)) {
    Data d{0, 1};
    append(d, text(name));
    d.push_back(0);
    append(d, text(tail));
    return d;
  }
  Refusal send(const Data& message, std::uint16_t port, std::uint32_t to = kGateway) {
    return judge4(kProtoUdp, udp(port, 69, message), to);
  }
  /// Each from a port of its own, and over before the next.
  Refusal read(std::string_view name, std::string_view tail = std::string_view("octet\0", 6)) {
    now += 6s;
    return send(request(name, tail), ++client);
  }
  std::uint16_t client = 2000;
};

TEST_F(TftpTest, T_NAT_11_Paths) {
  EXPECT_EQ(read("boot"), Refusal::none);
  EXPECT_EQ(read("/boot"), Refusal::none);
  EXPECT_EQ(read("//boot"), Refusal::none);
  EXPECT_EQ(read("same"), Refusal::none);
  EXPECT_EQ(read("nothing-here"), Refusal::none);  // libslirp says so
  for (const char* name : {"../secret", "dir/../../secret", "..", "dir/..", "..\\secret", "a\\b",
                           "up", "away", "dir", "dir/", "fifo", "", "/", "/etc/passwd/", "a\nb"})
    EXPECT_EQ(read(name), Refusal::tftp) << name;
  EXPECT_EQ(read("/etc/passwd"), Refusal::none);  // not there, below the root
  EXPECT_EQ(read(std::string(201, 'a')), Refusal::tftp);
  EXPECT_EQ(read(std::string_view("boot\0/../../secret", 18)), Refusal::tftp);
}

TEST_F(TftpTest, T_NAT_11_ModeAndOptions) {
  using std::string_view_literals::operator""sv;
  for (auto tail : {"OCTET\0"sv, "octet\0blksize\0008\0"sv,
                    "octet\0BLKSIZE\00065464\0tsize\0000\0"sv, "octet\0timeout\0005\0"sv})
    EXPECT_EQ(read("boot", tail), Refusal::none) << tail;
  for (auto tail : {""sv, "octet"sv, "netascii\0"sv, "octet\0blksize\0007\0"sv,
                    "octet\0blksize\00065465\0"sv, "octet\0blksize\0-1\0"sv, "octet\0blksize\0\0"sv,
                    "octet\0blksize\0"sv, "octet\0blksize\000512"sv, "octet\0\0\0"sv,
                    "octet\0blksize\0009\0blksize\0009\0"sv, "octet\0tsize\0009999999999\0"sv})
    EXPECT_EQ(read("boot", tail), Refusal::tftp) << tail;
  std::string many("octet\0", 6);
  for (int i = 0; i < 9; ++i) many += std::string("o\0v\0", 4);
  EXPECT_EQ(read("boot", many), Refusal::tftp);
}

TEST_F(TftpTest, T_NAT_11_LiveSessionIsNotOpenedAgain) {
  const Data ack{0, 4, 0, 1}, error{0, 5, 0, 0, 0};
  EXPECT_EQ(send(ack, 7000), Refusal::tftp);
  EXPECT_EQ(send(request("boot"), 7000), Refusal::none);
  EXPECT_EQ(send(request("boot"), 7000), Refusal::tftp);
  EXPECT_EQ(send(ack, 7000), Refusal::none);
  EXPECT_EQ(send({0, 4, 0}, 7000), Refusal::tftp);
  EXPECT_EQ(send(error, 7000), Refusal::none);
  EXPECT_EQ(send(ack, 7000), Refusal::tftp);
  EXPECT_EQ(send(request("boot"), 7000), Refusal::none);
  const auto block = [&](std::size_t len) {
    Data d{0, 3, 0, 1};
    d.resize(4 + len);
    EXPECT_TRUE(from_nat(ipv4(kGatewayMac, {kGateway, kGuest}, kProtoUdp, udp(69, 7000, d))));
  };
  block(512);
  EXPECT_EQ(send(request("boot"), 7000), Refusal::tftp);
  block(100);  // the last one
  EXPECT_EQ(send(request("boot"), 7000), Refusal::none);
  now += 6s;
  EXPECT_EQ(send(request("boot"), 7000), Refusal::none);  // libslirp gave it up, too
  for (std::uint8_t op : std::initializer_list<std::uint8_t>{0, 2, 3, 6, 7})
    EXPECT_EQ(send({0, op, 0, 1, 0}, 7000), Refusal::tftp);
  EXPECT_EQ(send(request("boot"), 7001, kFar), Refusal::tftp);
}

TEST_F(TftpTest, T_NAT_11_ThousandSessions) {
  unsigned passed = 0;
  for (std::uint16_t i = 0; i < 1000; ++i)
    passed += send(request("boot"), static_cast<std::uint16_t>(3000 + i)) == Refusal::none;
  EXPECT_EQ(passed, 8u);
}

TEST(TftpConfigTest, T_NAT_11_OffByDefaultAndSmallMtu) {
  Root root;
  const auto judge = [](const GuardConfig& c, std::string_view tail) {
    Guard guard(c);
    Data d{0, 1, 'b', 'o', 'o', 't', 0};
    append(d, text(tail));
    Data frame = ipv4(guest_mac(1), {kGuest, kGateway}, kProtoUdp, udp(1000, 69, d));
    std::span<std::uint8_t> span(frame);
    return guard.check(span, 1, 0s);
  };
  using std::string_view_literals::operator""sv;
  EXPECT_EQ(judge(default_config(), "octet\0"sv), Refusal::tftp);
  EXPECT_EQ(judge(with_root(root.fd, 563), "octet\0"sv), Refusal::tftp);
  EXPECT_EQ(judge(with_root(root.fd, 564), "octet\0"sv), Refusal::none);
  EXPECT_EQ(judge(with_root(root.fd, 1479), "octet\0blksize\0009000\0"sv), Refusal::tftp);
  EXPECT_EQ(judge(with_root(root.fd, 68), "octet\0blksize\00016\0"sv), Refusal::none);
}

// A segment may neither end at sequence number 0 nor be cut there by libslirp.
TEST_F(GuardTest, SegmentsKeepOffTheTrap) {
  const auto send = [&](std::uint32_t seq, std::size_t len, std::uint8_t flags = sw::kTcpAck) {
    return judge4(kProtoTcp, tcp({.seq = seq, .flags = flags}, Data(len, 'x')));
  };
  const auto window = [&](std::uint32_t ack, std::uint16_t size) {
    EXPECT_TRUE(from_nat(ipv4(kGatewayMac, {kFar, kGuest}, kProtoTcp,
                              tcp({.from = 80, .to = 40000, .ack = ack, .window = size}))));
  };
  EXPECT_EQ(send(0u - 100, 99), Refusal::none);
  EXPECT_EQ(send(0, 100), Refusal::none);
  EXPECT_EQ(send(0, 0), Refusal::none);
  EXPECT_EQ(send(0, 0, sw::kTcpFin | sw::kTcpAck), Refusal::tcp_header);
  EXPECT_EQ(send(0u - 1, 1), Refusal::tcp_header);
  EXPECT_EQ(send(0u - 100, 100, sw::kTcpFin | sw::kTcpAck), Refusal::none);
  EXPECT_EQ(out,
            ipv4(guest_mac(1), {kGuest, kFar}, kProtoTcp, tcp({.seq = 0u - 100}, Data(99, 'x'))));
  EXPECT_EQ(send(0u - 100, 200), Refusal::tcp_header);  // no window known
  window(0u - 100, 150);
  EXPECT_EQ(send(0u - 100, 150), Refusal::none);
  EXPECT_EQ(send(0u - 100, 151), Refusal::tcp_header);
  EXPECT_EQ(send(0u - 101, 150, sw::kTcpSyn), Refusal::tcp_header);
  window(0u - 100, 100);
  EXPECT_EQ(send(0u - 100, 150), Refusal::tcp_header);
  window(50, 65535);
  EXPECT_EQ(send(0u - 100, 150), Refusal::tcp_header);
  EXPECT_EQ(send(50, 150), Refusal::none);
}

TEST_F(GuardTest, SegmentsKeepOffTheTrapIpv6) {
  // Bytes 4 to 7 of the guest's address, as this machine reads them.
  const auto c = default_config();
  const char* guest = "fe80:0:7856:3412::15";
  std::uint32_t trap = 0;
  std::memcpy(&trap, ip6(guest).data() + 4, 4);
  const Data l4 = tcp({.seq = trap - 10}, Data(10, 'x'));
  EXPECT_EQ(judge6(kProtoTcp, l4, "fec0::2", guest), Refusal::none);
  EXPECT_EQ(out.size(), 14u + 40 + 20 + 9);
  EXPECT_EQ(out, ipv6(guest_mac(1), ip6(guest), c.gateway6, kProtoTcp,
                      tcp({.seq = trap - 10}, Data(9, 'x')), 255));
  EXPECT_EQ(judge6(kProtoTcp, tcp({.seq = trap - 1}, Data(1)), "fec0::2", guest),
            Refusal::tcp_header);
}

}  // namespace
}  // namespace rp::test
