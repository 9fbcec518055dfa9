// SPDX-License-Identifier: BSD-3-Clause
// nat_guestfwd_test.cc - guestfwd: UNIX sockets and commands of the host as servers of the guest's.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

constexpr std::uint32_t kService = ip4(10, 0, 2, 100);

std::string echo_command() {
  return "tcp:10.0.2.100:7-cmd:cat";
}

std::string as_text(const Data& d) {
  return {d.begin(), d.end()};
}

volatile std::sig_atomic_t g_children = 0;

/// Counts SIGCHLD while it lives.
class ChildCounter {
 public:
  ChildCounter() {
    g_children = 0;
    struct sigaction count {};
    count.sa_handler = [](int) { g_children = g_children + 1; };
    sigaction(SIGCHLD, &count, &before_);
  }
  ~ChildCounter() { sigaction(SIGCHLD, &before_, nullptr); }
  ChildCounter(ChildCounter&&) = delete;

 private:
  struct sigaction before_ {};
};

/// What a command sees: all that it writes until it ends.
std::string output_of(World& w, Guest& g, std::uint16_t port, const std::string& input = {}) {
  TcpConn& c = g.connect(kService, port);
  EXPECT_TRUE(w.until([&] { return c.established; }));
  c.write(text(input));
  EXPECT_TRUE(w.until([&] { return c.peer_closed || c.reset; }));
  return as_text(c.received);
}

TEST(GuestForward, ConnectionsCountAgainstTheQuota) {
  World w({{"guestfwd", "tcp:10.0.2.100:7-cmd:cat"}, {"max-flows", "4"}});
  Guest &g = w.add_guest(), &other = w.add_guest();
  std::vector<TcpConn*> all;
  for (int i = 0; i < 40; ++i) all.push_back(&g.connect(kService, 7));
  w.settle();
  const auto established =
      std::count_if(all.begin(), all.end(), [](const TcpConn* c) { return c->established; });
  EXPECT_EQ(established, 4);
  EXPECT_EQ(w.counter("flows.open"), 4u);
  EXPECT_GE(w.counter("flows.refused.max-flows"), 36u);
  // Another guest is none the worse, and a place that is given back can be had again.
  TcpConn& theirs = other.connect(kService, 7);
  EXPECT_TRUE(w.until([&] { return theirs.established; }));
  theirs.abort();
  for (TcpConn* c : all) c->abort();
  w.settle();
  EXPECT_EQ(w.counter("flows.open"), 0u);
  TcpConn& again = g.connect(kService, 7);
  EXPECT_TRUE(w.until([&] { return again.established; }));
}

TEST(GuestForward, CommandsThatOutliveTheirConnectionsAreBounded) {
  const ScratchDir dir;
  World w({{"guestfwd",
            "tcp:10.0.2.100:7-cmd:sh -c 'echo x >> " + dir.path("started") + "; exec sleep 30'"},
           {"max-flows", "3"}});
  Guest& g = w.add_guest();
  for (int i = 0; i < 12; ++i) {
    TcpConn& c = g.connect(kService, 7);
    w.settle();
    c.abort();
    w.settle();
  }
  std::ifstream in(dir.path("started"));
  std::string line;
  int started = 0;
  while (std::getline(in, line)) ++started;
  EXPECT_GT(started, 0);
  EXPECT_LE(started, 3);
}

TEST(GuestForward, AHangUpBeforeAStuckServiceLeavesNothing) {
  const ScratchDir dir;
  const Fd service = bound(unix_address(dir.path("s")), SOCK_STREAM);
  World w({{"guestfwd", "tcp:10.0.2.100:80-unix:" + dir.path("s")}});
  Guest& g = w.add_guest();
  w.settle();
  const auto descriptors = [] {
    namespace fs = std::filesystem;
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = descriptors();
  {
    TcpConn& c = g.connect(kService, 80);
    const Stream stuck = accept_in(w, service);
    ASSERT_TRUE(stuck);
    c.write(pattern(1'000'000));
    w.settle();
    c.abort();
    w.settle();
  }
  EXPECT_EQ(descriptors(), before);
  EXPECT_EQ(w.counter("flows.open"), 0u);
}

TEST(GuestForward, AServiceThatIsNotThereCostsAResetOnly) {
  const ScratchDir dir;
  World w({{"guestfwd", "tcp:10.0.2.100:80-unix:" + dir.path("nobody")}});
  TcpConn& c = w.add_guest().connect(kService, 80);
  EXPECT_TRUE(w.until([&] { return c.peer_closed || c.reset; }));
}

TEST(GuestForward, Unix) {
  const ScratchDir dir;
  const Fd service = bound(unix_address(dir.path("s")), SOCK_STREAM);
  World w({{"guestfwd", "tcp:10.0.2.100:80-unix:" + dir.path("s")}});
  Guest& g = w.add_guest();
  for (int round = 0; round < 3; ++round) {
    TcpConn& c = g.connect(kService, 80);
    Stream host = accept_in(w, service);
    ASSERT_TRUE(host);
    const Data sent = pattern(300'000, static_cast<std::uint32_t>(round));
    c.write(sent);
    ASSERT_TRUE(w.until([&] {
      host.echo();
      return c.received.size() >= sent.size();
    }));
    EXPECT_TRUE(c.received == sent);
    host.close();
    EXPECT_TRUE(w.until([&] { return c.peer_closed || c.reset; }));
    c.close();
    w.settle();
  }
}

TEST(GuestForward, UnixServiceThatIsNotThere) {
  const ScratchDir dir;
  World w({{"guestfwd", "tcp:10.0.2.100:80-unix:" + dir.path("none")}});
  Guest& g = w.add_guest();
  TcpConn& c = g.connect(kService, 80);
  EXPECT_TRUE(w.until([&] { return c.reset || c.peer_closed; }));
  // It may come later.
  const Fd service = bound(unix_address(dir.path("none")), SOCK_STREAM);
  g.connect(kService, 80);
  EXPECT_TRUE(accept_in(w, service));
}

TEST(GuestForward, CommandEchoes) {
  World w({{"guestfwd", echo_command()}});
  Guest& g = w.add_guest();
  TcpConn& c = g.connect(kService, 7);
  const Data sent = pattern(200'000);
  c.write(sent);
  ASSERT_TRUE(w.until([&] { return c.received.size() >= sent.size(); }, 20000));
  EXPECT_TRUE(c.received == sent);
  c.close();
  EXPECT_TRUE(w.until([&] { return c.peer_closed || c.reset; }));
}

TEST(GuestForward, EachConnectionHasItsOwnCommand) {
  World w({{"guestfwd", "tcp:10.0.2.100:7-cmd:sh -c 'read line; echo $$ $line'"}});
  Guest& g = w.add_guest();
  const std::string first = output_of(w, g, 7, "one\n"), second = output_of(w, g, 7, "two\n");
  EXPECT_NE(first.find(" one\n"), first.npos) << first;
  EXPECT_NE(second.find(" two\n"), second.npos) << second;
  EXPECT_NE(std::stol(first), std::stol(second));
}

TEST(GuestForward, CommandsAreNoChildrenOfTheHost) {
  const ChildCounter counter;
  {
    World w({{"guestfwd", "tcp:10.0.2.100:7-cmd:sh -c 'echo $PPID'"}});
    Guest& g = w.add_guest();
    for (int i = 0; i < 3; ++i) {
      const std::string parent = output_of(w, g, 7);
      EXPECT_NE(parent, std::to_string(getpid()) + "\n");
      EXPECT_FALSE(parent.empty());
    }
  }
  EXPECT_EQ(g_children, 0);
  int status = 0;
  EXPECT_EQ(waitpid(-1, &status, WNOHANG | __WALL), -1);
  EXPECT_EQ(errno, ECHILD);
}

TEST(GuestForward, CommandsInheritOnlyTheirConnection) {
  const Fd leak(open("/dev/null", O_RDONLY));  // without close-on-exec, as a careless host's
  World w({{"guestfwd",
            "tcp:10.0.2.100:7-cmd:sh -c 'for f in /proc/$$/fd/*; do echo ${f##*/} "
            "$(readlink $f); done'"}});
  Guest& g = w.add_guest();
  std::istringstream lines(output_of(w, g, 7));
  std::string line;
  int sockets = 0;
  while (std::getline(lines, line)) {
    const int fd = std::stoi(line);
    const bool connection = line.find("socket:") != line.npos;
    sockets += connection && fd < 2;
    // The shell may keep descriptors of its own making, never ours.
    EXPECT_TRUE(fd <= 2 || line.find("pipe:") != line.npos) << line;
  }
  EXPECT_EQ(sockets, 2);
}

TEST(GuestForward, CommandsHaveStandardSignals) {
  World w({{"guestfwd", "tcp:10.0.2.100:7-cmd:grep -E ^Sig /proc/self/status"}});
  Guest& g = w.add_guest();
  std::istringstream lines(output_of(w, g, 7));
  std::string key, value;
  int seen = 0;
  while (lines >> key >> value) {
    if (key != "SigBlk:" && key != "SigIgn:") continue;
    ++seen;
    EXPECT_EQ(value, "0000000000000000") << key;
  }
  EXPECT_EQ(seen, 2);
}

TEST(GuestForward, LeavesNoDescriptorBehind) {
  const auto count = [] {
    const auto all = std::filesystem::directory_iterator("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto before = count();
  {
    World w({{"guestfwd", echo_command()}});
    Guest& g = w.add_guest();
    TcpConn& c = g.connect(kService, 7);
    c.write(text("x"));
    EXPECT_TRUE(w.until([&] { return !c.received.empty(); }));
  }
  EXPECT_EQ(count(), before);
}

TEST(GuestForward, WorksWhenRestricted) {
  World w({{"restrict", "on"}, {"guestfwd", echo_command()}});
  Guest& g = w.add_guest();
  TcpConn& c = g.connect(kService, 7);
  c.write(text("let me through"));
  EXPECT_TRUE(w.until([&] { return c.received == text("let me through"); }));
}

std::string failure(Options options) {
  try {
    World w(options);
  } catch (const Error& e) {
    return e.what();
  }
  return {};
}

TEST(GuestForward, SaysWhatIsWrong) {
  for (const auto& [value, part] :
       {std::pair<std::string, std::string>{"tcp:10.0.2.100:7-cmd:no-such-program-at-all x",
                                            "no-such-program-at-all"},
        {"tcp:10.0.2.100:7-cmd:cat 'unfinished", "parsed"},
        {"tcp:10.0.2.2:7-cmd:cat", "10.0.2.2"},
        {"tcp:192.0.2.1:7-cmd:cat", "192.0.2.1"}}) {
    const std::string why = failure({{"guestfwd", value}});
    EXPECT_NE(why.find("guestfwd"), why.npos) << value << ": " << why;
    EXPECT_NE(why.find(part), why.npos) << value << ": " << why;
  }
  EXPECT_NE(failure({{"guestfwd", echo_command()}, {"guestfwd", echo_command()}}), "");
  EXPECT_NE(failure({{"ipv4", "off"}, {"guestfwd", echo_command()}}), "");
}

}  // namespace
}  // namespace rp::test
