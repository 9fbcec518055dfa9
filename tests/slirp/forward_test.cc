// SPDX-License-Identifier: BSD-3-Clause
// forward_test.cc - the grammars of hostfwd and guestfwd.
#include "slirp/forward.h"

#include <gtest/gtest.h>

#include "tests/slirp/host.h"

namespace rp::slirp {
namespace {

using Proto = HostForward::Proto;

std::string show(const sockaddr_storage& a) {
  if (a.ss_family == AF_UNIX) return reinterpret_cast<const sockaddr_un&>(a).sun_path;
  test::Address t;
  t.a = a;
  return t.text() + " " + std::to_string(t.port());
}

template <typename Parse>
std::string failure(Parse&& parse, const std::string& text) {
  try {
    parse(text);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

struct Row {
  const char* text;
  Proto proto;
  const char *host, *guest;
};

TEST(HostForwardSyntax, Good) {
  for (const Row& r : {
           Row{"tcp::2222-:22", Proto::tcp, "127.0.0.1 2222", "0.0.0.0 22"},
           Row{":127.0.0.1:2222-10.0.2.15:22", Proto::tcp, "127.0.0.1 2222", "10.0.2.15 22"},
           Row{"::0-:22", Proto::tcp, "127.0.0.1 0", "0.0.0.0 22"},
           Row{"tcp:0.0.0.0:80-:8080", Proto::tcp, "0.0.0.0 80", "0.0.0.0 8080"},
           Row{"udp::5353-:53", Proto::udp, "127.0.0.1 5353", "0.0.0.0 53"},
           Row{"udp:127.0.0.2:65535-:65535", Proto::udp, "127.0.0.2 65535", "0.0.0.0 65535"},
           Row{"tcp:[::1]:2222-[fec0::15]:22", Proto::tcp, "::1 2222", "fec0::15 22"},
           Row{"tcp:[::]:2222-[fec0::15]:22", Proto::tcp, ":: 2222", "fec0::15 22"},
           Row{"tcp:[::1]:2222-:22", Proto::tcp, "::1 2222", ":: 22"},
           Row{"tcp::2222-[fec0::15]:22", Proto::tcp, "::1 2222", "fec0::15 22"},
           Row{"unix:/run/a-b:c-:22", Proto::unix, "/run/a-b:c", "0.0.0.0 22"},
           Row{"unix:relative-[fec0::15]:22", Proto::unix, "relative", "fec0::15 22"},
       }) {
    const HostForward f = parse_hostfwd(r.text);
    EXPECT_EQ(f.proto, r.proto) << r.text;
    EXPECT_EQ(show(f.host), r.host) << r.text;
    EXPECT_EQ(show(f.guest), r.guest) << r.text;
    EXPECT_EQ(f.text, r.text);
  }
}

TEST(HostForwardSyntax, Bad) {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "expected"},
           {"tcp", "expected"},
           {"tcp:2222", "expected"},
           {"tcp::2222", "expected"},
           {"tcp-:22", "expected"},
           {"tcp::2222-22", "expected"},
           {"sctp::1-:2", "'sctp'"},
           {"TCP::1-:2", "'TCP'"},
           {"tcp::65536-:22", "65536"},
           {"tcp::-1-:22", "not a number"},
           {"tcp::2222-:0", "'0'"},
           {"tcp::2222-:", "not a number"},
           {"tcp::x-:22", "'x'"},
           {"tcp::22 -:22", "'22 '"},
           {"tcp::+22-:22", "'+22'"},
           {"tcp:localhost:1-:2", "localhost"},
           {"tcp::1-guest:2", "guest"},
           {"tcp:127.0.0.256:1-:2", "127.0.0.256"},
           {"tcp:::1:1-:2", "brackets"},
           {"tcp:[::1:1-:2", "expected"},
           {"tcp:[::g]:1-:2", "::g"},
           {"tcp:[::1]:1-10.0.2.15:2", "IPv4 guest"},
           {"tcp:127.0.0.1:1-[fec0::1]:2", "IPv6 guest"},
           {"unix:-:22", "empty"},
           {"unix:" + std::string(108, 'p') + "-:22", "107"}}) {
    const std::string why = failure(parse_hostfwd, text);
    EXPECT_NE(why.find(part), why.npos) << text << ": " << why;
  }
  EXPECT_EQ(failure(parse_hostfwd, "unix:" + std::string(107, 'p') + "-:22"), "");
}

TEST(GuestForwardSyntax, Good) {
  const GuestForward unix_one = parse_guestfwd("tcp:10.0.2.100:80-unix:/run/a-b");
  EXPECT_EQ(ntohl(unix_one.address.s_addr), test::ip4(10, 0, 2, 100));
  EXPECT_EQ(unix_one.port, 80);
  EXPECT_EQ(unix_one.target, GuestForward::Target::unix_socket);
  EXPECT_EQ(unix_one.value, "/run/a-b");
  const GuestForward command = parse_guestfwd("tcp::65535-cmd:sh -c 'echo a-b:c'");
  EXPECT_EQ(command.address.s_addr, 0u);
  EXPECT_EQ(command.port, 65535);
  EXPECT_EQ(command.target, GuestForward::Target::command);
  EXPECT_EQ(command.value, "sh -c 'echo a-b:c'");
}

TEST(GuestForwardSyntax, Bad) {
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"", "expected"},
           {"tcp", "expected"},
           {"tcp:10.0.2.4:7", "expected"},
           {"udp:10.0.2.4:7-cmd:cat", "expected"},
           {":10.0.2.4:7-cmd:cat", "expected"},
           {"tcp:10.0.2.4:7-cat", "expected"},
           {"tcp:10.0.2.4:7-cmd:", "expected"},
           {"tcp:10.0.2.4:7-unix:", "expected"},
           {"tcp:10.0.2.4:7-tcp:127.0.0.1:80", "expected"},
           {"tcp:10.0.2.4:0-cmd:cat", "'0'"},
           {"tcp:10.0.2.4:x-cmd:cat", "'x'"},
           {"tcp:10.0.2:7-cmd:cat", "10.0.2"},
           {"tcp:[fec0::4]:7-cmd:cat", "IPv4"},
           {"tcp:::7-cmd:cat", "brackets"},
           {"tcp:10.0.2.4-cmd:cat", "expected"},
           {"tcp:10.0.2.4:7-unix:" + std::string(108, 'p'), "107"}}) {
    const std::string why = failure(parse_guestfwd, text);
    EXPECT_NE(why.find(part), why.npos) << text << ": " << why;
  }
}

TEST(Numbers, Bounds) {
  EXPECT_EQ(parse_number("0", 0, 9), 0u);
  EXPECT_EQ(parse_number("007", 0, 9), 7u);
  for (const char* text : {"", " ", "10", "-1", "+1", "1.0", "0x1", "4294967297", "1 "})
    EXPECT_NE(failure([](const std::string& t) { parse_number(t, 0, 9); }, text), "") << text;
}

}  // namespace
}  // namespace rp::slirp
