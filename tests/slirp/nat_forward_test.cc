// SPDX-License-Identifier: BSD-3-Clause
// nat_forward_test.cc - hostfwd: from sockets on the host to servers in the guest.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

std::string number(unsigned n) {
  return std::to_string(n);
}

/// The sentence of the Error that a world of these options ends in; empty: it came up.
std::string failure(Options options, Errc* code = nullptr) {
  try {
    World w(options);
  } catch (const Error& e) {
    if (code) *code = e.code();
    return e.what();
  }
  return {};
}

bool refused(Address to) {
  const Stream s = stream_to(to);
  if (!s) return errno == ECONNREFUSED;
  pollfd p{s.fd(), POLLOUT, 0};
  int error = 0;
  socklen_t len = sizeof error;
  return poll(&p, 1, 1000) == 1 && getsockopt(s.fd(), SOL_SOCKET, SO_ERROR, &error, &len) == 0 &&
         error == ECONNREFUSED;
}

/// The port that the log announces for a forward from port 0.
std::uint16_t announced(const World& w, std::size_t entry = 0) {
  const std::string needle = " listens on port ";
  if (entry >= w.log.size()) return 0;
  const auto at = w.log[entry].find(needle);
  if (at == std::string::npos) return 0;
  return static_cast<std::uint16_t>(std::stoul(w.log[entry].substr(at + needle.size())));
}

/// Both ways over one forwarded connection to the guest's port 22.
void talk(World& w, Guest& g, Address to) {
  g.listening = {22};
  g.accepted.clear();
  Stream s = stream_to(to);
  ASSERT_TRUE(s);
  ASSERT_TRUE(w.until([&] { return !g.accepted.empty() && g.accepted[0]->established; }));
  TcpConn& c = *g.accepted[0];
  const Data question = pattern(70000, 1), answer = pattern(90000, 2);
  append(s.out, question);
  c.write(answer);
  ASSERT_TRUE(w.until([&] {
    s.step();
    return c.received.size() >= question.size() && s.in.size() >= answer.size();
  }));
  EXPECT_TRUE(c.received == question);
  EXPECT_TRUE(s.in == answer);
  s.close();
  EXPECT_TRUE(w.until([&] { return c.peer_closed; }));
  c.close();
  w.settle();
  EXPECT_EQ(g.broken, 0u);
}

TEST(HostForward, Tcp) {
  const auto port = free_port();
  World w({{"hostfwd", "tcp:127.0.0.1:" + number(port) + "-:22"}});
  Guest& g = w.add_guest();
  talk(w, g, address("127.0.0.1", port));
  talk(w, g, address("127.0.0.1", port));
}

TEST(HostForward, Tcp6) {
  if (!have_ipv6_loopback()) GTEST_SKIP() << "this host has no ::1";
  const auto port = free_port(SOCK_STREAM, "::1");
  World w({{"hostfwd", "tcp:[::1]:" + number(port) + "-[fec0::101]:22"}});
  talk(w, w.add_guest(), address("::1", port));
}

// As guests do whose card came up late: the SYN was repeated, and so each has its answer.
TEST(HostForward, ARepeatedSynAckLosesNothing) {
  World w({{"hostfwd", "tcp::0-:22"}});
  Guest& g = w.add_guest();
  g.listening = {22};
  Stream s = stream_to(address("127.0.0.1", announced(w)));
  s.out = pattern(300000, 1);
  s.step();
  for (int i = 0; i < 100 && g.accepted.empty(); ++i) w.exchange();
  ASSERT_FALSE(g.accepted.empty());
  TcpConn& c = *g.accepted[0];
  c.hold = true;
  const std::uint32_t begin = c.ack();
  w.settle();
  sw::TcpHeader syn{};
  syn.seq.set(begin - 1);
  c.accept(syn);
  w.settle();
  c.hold = false;
  w.pass(5s);
  EXPECT_TRUE(w.until([&] {
    s.step();
    return c.received.size() >= 300000;
  })) << c.received.size();
  w.settle();
  EXPECT_TRUE(c.received == s.out) << c.received.size();
}

TEST(HostForward, NamesAGuestThatIsNotTheFirst) {
  const auto port = free_port();
  World w({{"hostfwd", "tcp::" + number(port) + "-10.0.2.16:22"}});
  w.add_guest();
  talk(w, w.add_guest(), address("127.0.0.1", port));
}

TEST(HostForward, Udp) {
  const auto port = free_port(SOCK_DGRAM);
  World w({{"hostfwd", "udp::" + number(port) + "-:53"}});
  Guest& g = w.add_guest();
  const Fd host = udp_socket();
  Address to = address("127.0.0.1", port);
  const Data question = pattern(600);
  ASSERT_GT(sendto(host.get(), question.data(), question.size(), 0, to.raw(), to.len), 0);
  ASSERT_TRUE(w.until([&] { return !g.datagrams.empty(); }));
  EXPECT_EQ(g.datagrams[0].to_port, 53);
  EXPECT_EQ(g.datagrams[0].payload, question);
  g.send_udp(v4_of(g.datagrams[0].from), 53, g.datagrams[0].from_port, text("answer"));
  Data got(100);
  ssize_t n = -1;
  ASSERT_TRUE(w.until([&] { return (n = recv(host.get(), got.data(), got.size(), 0)) > 0; }));
  got.resize(static_cast<std::size_t>(n));
  EXPECT_EQ(got, text("answer"));
}

TEST(HostForward, Unix) {
  const ScratchDir dir;
  const std::string path = dir.path("guest-22");
  {
    World w({{"hostfwd", "unix:" + path + "-:22"}});
    Guest& g = w.add_guest();
    talk(w, g, unix_address(path));
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(HostForward, UnixReplacesWhatADeadProcessLeft) {
  const ScratchDir dir;
  const std::string path = dir.path("stale");
  bound(unix_address(path), SOCK_STREAM).reset();
  ASSERT_TRUE(std::filesystem::exists(path));
  World w({{"hostfwd", "unix:" + path + "-:22"}});
  talk(w, w.add_guest(), unix_address(path));
}

TEST(HostForward, UnixRefusesALiveSocket) {
  const ScratchDir dir;
  const std::string path = dir.path("live");
  const Fd other = bound(unix_address(path), SOCK_STREAM);
  Errc code{};
  const std::string why = failure({{"hostfwd", "unix:" + path + "-:22"}}, &code);
  EXPECT_EQ(code, Errc::busy);
  EXPECT_NE(why.find(path), why.npos) << why;
  EXPECT_TRUE(std::filesystem::exists(path));
  EXPECT_TRUE(stream_to(unix_address(path)));
}

TEST(HostForward, UnixRefusesAFileThatIsNoSocket) {
  const ScratchDir dir;
  const std::string path = dir.path("file");
  std::ofstream(path) << "precious";
  EXPECT_NE(failure({{"hostfwd", "unix:" + path + "-:22"}}), "");
  std::string word;
  std::ifstream(path) >> word;
  EXPECT_EQ(word, "precious");
}

TEST(HostForward, UnixLeavesAnothersSocketAloneOnClose) {
  const ScratchDir dir;
  const std::string path = dir.path("taken-over");
  Fd other;
  {
    World w({{"hostfwd", "unix:" + path + "-:22"}});
    std::filesystem::remove(path);
    other = bound(unix_address(path), SOCK_STREAM);
  }
  EXPECT_TRUE(std::filesystem::exists(path));
}

TEST(HostForward, UnixNeedsADirectoryThatIsThere) {
  const ScratchDir dir;
  const std::string path = dir.path("no/such/socket");
  const std::string why = failure({{"hostfwd", "unix:" + path + "-:22"}});
  EXPECT_NE(why.find(path), why.npos) << why;
}

TEST(HostForward, AnnouncesTheFreePortItGot) {
  World w({{"hostfwd", "tcp::0-:22"}, {"hostfwd", "udp::0-:53"}, {"hostfwd", "tcp::0-:80"}});
  ASSERT_EQ(w.log.size(), 3u);
  EXPECT_NE(w.log[0].find("hostfwd=tcp::0-:22"), std::string::npos) << w.log[0];
  EXPECT_NE(w.log[1].find("hostfwd=udp::0-:53"), std::string::npos) << w.log[1];
  EXPECT_NE(announced(w, 0), 0);
  EXPECT_NE(announced(w, 1), 0);
  EXPECT_NE(announced(w, 0), announced(w, 2));
  talk(w, w.add_guest(), address("127.0.0.1", announced(w)));
}

TEST(HostForward, SaysWhoHasThePort) {
  const Fd taken = tcp_listener();
  const std::string port = number(local_of(taken.get()).port());
  Errc code{};
  const std::string why = failure({{"hostfwd", "tcp::" + port + "-:22"}}, &code);
  std::string name;
  std::getline(std::ifstream("/proc/self/comm"), name);
  EXPECT_EQ(code, Errc::busy);
  for (const std::string& part :
       {std::string("hostfwd=tcp::"), "port " + port, "pid " + std::to_string(getpid()), name})
    EXPECT_NE(why.find(part), why.npos) << part << " in: " << why;
}

TEST(HostForward, SaysWhoHasTheUdpPort) {
  const Fd taken = udp_socket();
  const std::string port = number(local_of(taken.get()).port());
  const std::string why = failure({{"hostfwd", "udp::" + port + "-:53"}});
  EXPECT_NE(why.find("pid " + std::to_string(getpid())), why.npos) << why;
}

TEST(HostForward, LeavesNothingBehindWhenALaterOneFails) {
  const ScratchDir dir;
  const Fd taken = tcp_listener();
  const auto first = free_port();
  const std::string path = dir.path("s"), port = number(local_of(taken.get()).port());
  EXPECT_NE(failure({{"hostfwd", "tcp::" + number(first) + "-:22"},
                     {"hostfwd", "unix:" + path + "-:22"},
                     {"hostfwd", "tcp::" + port + "-:22"}}),
            "");
  EXPECT_TRUE(refused(address("127.0.0.1", first)));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(HostForward, SaysThatTheHostHasNoSuchAddress) {
  const std::string why = failure({{"hostfwd", "tcp:203.0.113.77:0-:22"}});
  EXPECT_NE(why.find("203.0.113.77"), why.npos) << why;
  EXPECT_NE(why.find("no such address"), why.npos) << why;
}

TEST(HostForward, RefusesAGuestOutsideTheNetwork) {
  for (const char* guest : {"10.0.3.15:22", "192.0.2.1:22", "[fd00::1]:22"}) {
    const std::string why = failure({{"hostfwd", std::string("tcp::0-") + guest}});
    EXPECT_NE(why.find(guest), why.npos) << why;
  }
  EXPECT_NE(failure({{"ipv6", "off"}, {"hostfwd", "tcp::0-[fec0::15]:22"}}), "");
  EXPECT_NE(failure({{"ipv4", "off"}, {"hostfwd", "tcp::0-:22"}}), "");
}

/// "socket:[INODE]" of each.
std::set<std::string> own_sockets() {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    found.insert(std::filesystem::read_symlink(entry, gone).string());
  }
  return found;
}

/// The local addresses, in the kernel's hexadecimal, of this process's sockets with this port.
std::vector<std::string> bound_addresses(const char* table, std::uint16_t port) {
  const std::set<std::string> own = own_sockets();
  std::ifstream in(table);
  std::string line;
  std::vector<std::string> found;
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string slot, local, skipped, inode;
    fields >> slot >> local;
    for (int i = 0; i < 7; ++i) fields >> skipped;
    fields >> inode;
    const auto colon = local.find(':');
    if (colon == local.npos || slot == "sl" || !own.contains("socket:[" + inode + "]")) continue;
    if (std::stoul(local.substr(colon + 1), nullptr, 16) == port)
      found.push_back(local.substr(0, colon));
  }
  return found;
}

TEST(HostForward, BindsLoopbackUnlessTold) {
  World w({{"hostfwd", "tcp::0-:22"}, {"hostfwd", "udp::0-:53"}});
  const std::vector<std::string> loopback{"0100007F"};
  EXPECT_EQ(bound_addresses("/proc/self/net/tcp", announced(w, 0)), loopback);
  EXPECT_EQ(bound_addresses("/proc/self/net/udp", announced(w, 1)), loopback);
  EXPECT_TRUE(bound_addresses("/proc/self/net/tcp6", announced(w, 0)).empty());
  EXPECT_TRUE(refused(address("127.0.0.2", announced(w, 0))));
}

TEST(HostForward, BindsWhereItIsTold) {
  World w({{"hostfwd", "tcp:127.0.0.2:0-:22"}});
  EXPECT_EQ(bound_addresses("/proc/self/net/tcp", announced(w)),
            std::vector<std::string>{"0200007F"});
  talk(w, w.add_guest(), address("127.0.0.2", announced(w)));
}

TEST(HostForward, ConnectionsOfTheHostAreNoGuestsFlows) {
  World w({{"max-flows", "1"}, {"hostfwd", "tcp::0-:22"}});
  Guest& g = w.add_guest();
  g.listening = {22};
  std::vector<Stream> many;
  for (int i = 0; i < 5; ++i) {
    many.push_back(stream_to(address("127.0.0.1", announced(w))));
    ASSERT_TRUE(w.until([&] { return g.accepted.size() == many.size(); }));
  }
  const Fd listener = tcp_listener();
  g.connect(kGateway, local_of(listener.get()).port());
  EXPECT_TRUE(accept_in(w, listener));
}

}  // namespace
}  // namespace rp::test
