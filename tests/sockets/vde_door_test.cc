// SPDX-License-Identifier: BSD-3-Clause
// vde_door_test.cc - who comes in at a VDE door, who does not, and what that costs the others.
#include "sockets/vde_door.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <fstream>
#include <map>
#include <mutex>
#include <random>

#include "backend/loop.h"
#include "base/error.h"
#include "tests/api/process_state.h"
#include "tests/base/temp_folder.h"
#include "tests/sockets/vde_client.h"
#include "tests/switch/fake_port.h"

namespace rp::sockets {
namespace {

using test::abstract_address;
using test::Bytes;
using test::ethernet;
using test::readable;
using test::request_v1;
using test::request_v3;
using test::soon;
using test::TempFolder;
using test::VdeClient;

constexpr std::uint64_t kAll = 0xffffffffffff;

/// A switch with a VDE door in a folder of its own.
class Net {
 public:
  explicit Net(VdeDoorOptions o = {}) : loop_({}) {
    if (o.path.empty()) o.path = path();
    door = loop_.add(std::make_unique<VdeDoor>(o, Log(keep, this)), "door");
  }
  std::string path() const { return folder / "net"; }
  std::string ctl() const { return path() + "/ctl"; }
  std::string fresh() { return folder / ("client" + std::to_string(clients_++)); }

  std::vector<std::string> ports() {
    std::vector<std::string> names;
    loop_.call([&](sw::Switch& s) {
      s.each_port([&](sw::PortId id) { names.emplace_back(s.name(id)); });
    });
    return names;
  }
  bool has_ports(std::size_t n) {
    return soon([&] { return ports().size() == n; });
  }
  std::uint64_t counter(const std::string& port, const std::string& name) {
    std::uint64_t sum = 0;
    loop_.call([&](sw::Switch& s) {
      s.report([&](sw::PortId, const std::string& p, std::string_view n, std::uint64_t v) {
        if (p == port && n == name) sum += v;
      });
    });
    return sum;
  }
  std::string describe(const std::string& port) {
    std::string text;
    loop_.call([&](sw::Switch& s) {
      s.each_port([&](sw::PortId id) {
        if (s.name(id) == port) text = s.port(id)->describe();
      });
    });
    return text;
  }
  unsigned number(const std::string& port) {
    unsigned n = 0;
    loop_.call([&](sw::Switch& s) {
      s.each_port([&](sw::PortId id) {
        if (s.name(id) == port) n = s.number(id);
      });
    });
    return n;
  }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  void remove(sw::PortId id) { loop_.remove(id); }

  /// A client that is in.
  std::unique_ptr<VdeClient> join(const std::string& description = "client") {
    auto c = std::make_unique<VdeClient>(ctl());
    c->say(request_v3(c->bind_to(unix_address(fresh(), "")), description));
    EXPECT_TRUE(c->joined());
    return c;
  }
  /// The door serves, whoever else is there.
  void expect_service() {
    const auto a = join("a"), b = join("b");
    const Bytes frame = ethernet(kAll, 0x020000000001, 100);
    ASSERT_TRUE(a->send(frame));
    EXPECT_EQ(b->next(), frame);
  }

  TempFolder folder;
  sw::PortId door;

 private:
  static void keep(void* self, int, const char* sentence) {
    auto& net = *static_cast<Net*>(self);
    const std::lock_guard lock(net.mutex_);
    net.log_ += std::string(sentence) + "\n";
  }
  std::mutex mutex_;
  std::string log_;
  unsigned clients_ = 0;
  backend::Loop loop_;
};

TEST(VdeDoor, ClientsAreNamedPortsAndFramesPass) {
  Net net;
  {
    const auto a = net.join("one"), b = net.join("two");
    EXPECT_EQ(net.ports(), (std::vector<std::string>{"door", "one", "two"}));
    EXPECT_EQ(net.counter("door", "door.joined"), 2u);
    for (const std::size_t size : {std::size_t{14}, std::size_t{60}, std::size_t{1514},
                                   std::size_t{9018}, std::size_t{65'000}}) {
      const Bytes there = ethernet(kAll, 0x020000000001, size);
      ASSERT_TRUE(a->send(there));
      ASSERT_EQ(b->next(), there);
      const Bytes back = ethernet(0x020000000001, 0x020000000002, size, 0x0026);  // LLC
      ASSERT_TRUE(b->send(back));
      ASSERT_EQ(a->next(), back);
    }
    const std::string who = "process " + std::to_string(getpid());
    EXPECT_TRUE(net.describe("one").starts_with(who)) << net.describe("one");
  }
  EXPECT_TRUE(net.has_ports(1));
  // A client's own socket file is its own business; ours are gone with it.
  for (const auto& f : std::filesystem::directory_iterator(net.path()))
    EXPECT_EQ(f.path().filename(), "ctl");
}

TEST(VdeDoor, AbstractSocketsAreTakenVerbatim) {
  Net net;
  VdeClient uml(net.ctl()), other(net.ctl());
  const auto pid = std::to_string(getpid());
  uml.say(request_v3(uml.bind_to(abstract_address(std::string("\0\0\0", 3) + pid)), ""));
  other.say(request_v1(other.bind_to(abstract_address("rp-test-" + pid))));
  ASSERT_TRUE(uml.joined());
  ASSERT_TRUE(other.joined());
  const Bytes frame = ethernet(kAll, 0x020000000001);
  ASSERT_TRUE(uml.send(frame));
  EXPECT_EQ(other.next(), frame);
  EXPECT_EQ(net.ports()[1], "vde:" + pid);
}

TEST(VdeDoor, PortNumbersAndManagementAreAskedFor) {
  Net net;
  VdeClient five(net.ctl()), zero(net.ctl());
  five.say(request_v3(five.bind_to(unix_address(net.fresh(), "")), "five", 5u << 8));
  zero.say(request_v3(zero.bind_to(unix_address(net.fresh(), "")), "zero", 1));
  ASSERT_TRUE(five.joined());
  ASSERT_TRUE(zero.joined());
  EXPECT_EQ(net.number("five"), 5u);
  EXPECT_EQ(net.number("zero"), 1u);
  EXPECT_EQ(net.number("door"), 0u);
  EXPECT_TRUE(net.describe("zero").ends_with("management")) << net.describe("zero");
  EXPECT_TRUE(std::string(five.theirs.sun_path).starts_with(net.path() + "/005."));
}

TEST(VdeDoor, ABareSocketBesideTheFolder) {
  const TempFolder folder;
  VdeDoorOptions o;
  o.path = folder / "net";
  o.alias = folder / "bare";
  {
    Net net(o);
    VdeClient c(o.alias);
    c.say(request_v3(c.bind_to(abstract_address("rp-bare-" + std::to_string(getpid())))));
    EXPECT_TRUE(c.joined());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(VdeDoor, ARemovedDoorLeavesItsClientsAndTakesItsSocketAway) {
  Net net;
  const auto a = net.join(), b = net.join();
  net.remove(net.door);
  EXPECT_FALSE(std::filesystem::exists(net.ctl()));
  const Bytes frame = ethernet(kAll, 0x020000000001);
  ASSERT_TRUE(a->send(frame));
  EXPECT_EQ(b->next(), frame);
  a->control.reset();
  b->control.reset();
  EXPECT_TRUE(soon([&] { return !std::filesystem::exists(net.path()); }));
}

TEST(VdeDoor, T_VDE_1_RequestsInPiecesWaitForTheRest) {
  Net net;
  VdeClient slow(net.ctl());
  const Bytes whole = request_v3(slow.bind_to(unix_address(net.fresh(), "")), "");
  for (const auto byte : whole) {
    EXPECT_FALSE(readable(slow.control.get(), 0));
    slow.say({byte});
  }
  ASSERT_TRUE(slow.joined());
  // A description that is late names nobody and harms nobody.
  slow.say(Bytes(100, 'x'));
  net.expect_service();
  EXPECT_EQ(net.ports()[1], "vde:" + std::to_string(getpid()));
  // A client that does not stop talking is hung up on.
  slow.say(Bytes(8192, 'x'));
  EXPECT_TRUE(net.has_ports(1));
}

TEST(VdeDoor, T_VDE_1_RequestsOfEachLengthFromWhoVanishes) {
  Net net;
  const process_state before = process_state_now();
  Bytes whole = request_v3(unix_address(net.fresh(), ""), std::string(133, 'x'));
  ASSERT_EQ(whole.size(), 255u);
  for (std::size_t n = 0; n <= whole.size(); ++n) {
    VdeClient c(net.ctl());
    if (n) c.say(Bytes(whole.begin(), whole.begin() + static_cast<long>(n)));
  }
  EXPECT_TRUE(soon([&] {
    return net.counter("door", "door.vanished") + net.counter("door", "door.refused") == 256;
  }));
  EXPECT_EQ(net.counter("door", "door.vanished"), 122u);
  net.expect_service();
  EXPECT_TRUE(net.has_ports(1));
  EXPECT_EQ(process_state_now().descriptors, before.descriptors);
}

TEST(VdeDoor, T_VDE_1_WrongMagicAndVersionAreHungUpOn) {
  Net net;
  const auto bystander = net.join();
  for (const Bytes& bad : {Bytes(122, 0), Bytes{0xce, 0xfa, 0xed, 0xfe, 2, 0, 0, 0},
                           Bytes{0xce, 0xfa, 0xed, 0xfe, 4, 0, 0, 0}, Bytes{'G', 'E', 'T'}}) {
    VdeClient c(net.ctl());
    c.say(bad);
    EXPECT_TRUE(c.refused());
  }
  EXPECT_NE(net.log().find("magic"), std::string::npos) << net.log();
  EXPECT_NE(net.log().find("process " + std::to_string(getpid())), std::string::npos);
  net.expect_service();
}

TEST(VdeDoor, T_VDE_1_RandomRequestsDisturbNobody) {
  Net net;
  const auto a = net.join("a"), b = net.join("b");
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) {
    VdeClient c(net.ctl());
    Bytes junk = request_v3(unix_address(net.fresh(), ""));
    junk.resize(1 + random() % 400);
    for (auto n = random() % 5; n-- > 0;)
      junk[random() % junk.size()] = static_cast<std::uint8_t>(random());
    c.say(junk);
    if (i % 16 == 0) {
      const Bytes frame = ethernet(kAll, 0x020000000001);
      ASSERT_TRUE(a->send(frame));
      ASSERT_EQ(b->next(), frame);
    }
  }
  EXPECT_TRUE(net.has_ports(3));
}

/// Whether the door refuses a client that names this address.
bool refuses(Net& net, const sockaddr_un& a, std::uint32_t type = 0) {
  VdeClient c(net.ctl());
  c.say(request_v3(a, "", type));
  return c.refused();
}

TEST(VdeDoor, T_VDE_2_SocketsThatAClientMayNotName) {
  Net net;
  const auto bystander = net.join();
  sockaddr_un a = unix_address("/", "");
  std::memset(a.sun_path + 1, 'x', sizeof a.sun_path - 1);
  EXPECT_TRUE(refuses(net, a)) << "108 bytes without NUL, which name nothing";
  EXPECT_TRUE(refuses(net, abstract_address("nobody-" + std::to_string(getpid()))));
  a = {};
  a.sun_family = AF_UNIX;
  EXPECT_TRUE(refuses(net, a)) << "no name at all";

  const std::string real = net.fresh();
  VdeClient holder(net.ctl());
  holder.bind_to(unix_address(real, ""));
  EXPECT_TRUE(refuses(net, unix_address("../" + real, ""))) << "relative";
  std::filesystem::create_symlink(real, net.folder / "link");
  EXPECT_TRUE(refuses(net, unix_address(net.folder / "link", "")));
  std::ofstream(net.folder / "file") << "text";
  EXPECT_TRUE(refuses(net, unix_address(net.folder / "file", "")));
  EXPECT_TRUE(refuses(net, unix_address(net.path(), ""))) << "a folder";
  EXPECT_TRUE(refuses(net, unix_address(net.ctl(), ""))) << "the door itself";
  EXPECT_TRUE(refuses(net, unix_address(bystander->theirs.sun_path, ""))) << "a port of ours";
  for (const std::uint32_t type : {0xffffff00u, 0x80000000u, 0xffffffffu})
    EXPECT_TRUE(refuses(net, unix_address(real, ""), type));
  net.expect_service();
}

TEST(VdeDoor, T_VDE_2_APathOf108BytesWithoutNul) {
  Net net;
  VdeClient c(net.ctl());
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  const std::string start = net.folder.path() + "/";
  std::memset(a.sun_path, 'x', sizeof a.sun_path);
  std::memcpy(a.sun_path, start.data(), start.size());
  c.say(request_v3(c.bind_to(a), ""));
  EXPECT_TRUE(c.joined());
}

/// Runs `work` in a child, which may give up rights.
template <typename Work>
void in_child(Work&& work) {
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(60);
    work();
    fflush(nullptr);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

constexpr unsigned kNobody = 65534;

void become_nobody() {
  ASSERT_EQ(setgid(kNobody), 0);
  ASSERT_EQ(setuid(kNobody), 0);
}

TEST(VdeDoor, T_VDE_2_AnotherUsersSocketIsNotTheClients) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another";
  const TempFolder folder;
  ASSERT_EQ(chmod(folder.path().c_str(), 0777), 0);
  VdeDoorOptions o;
  o.path = folder / "net";
  o.access = {.mode = 0666, .dirmode = 0777, .given = true};
  Net net(o);
  const auto victim = unix_address(folder / "victim", "");
  const Fd roots(socket(AF_UNIX, SOCK_DGRAM, 0));
  ASSERT_EQ(bind(roots.get(), reinterpret_cast<const sockaddr*>(&victim), sizeof victim), 0);
  ASSERT_EQ(chmod(victim.sun_path, 0666), 0);
  in_child([&] {
    become_nobody();
    VdeClient bad(o.path + "/ctl"), port0(o.path + "/ctl"), good(o.path + "/ctl");
    bad.say(request_v3(victim, ""));
    EXPECT_TRUE(bad.refused());
    port0.say(request_v3(port0.bind_to(unix_address(folder / "port0", "")), "", 1));
    EXPECT_TRUE(port0.refused()) << "port 0 is management's";
    good.say(request_v3(good.bind_to(unix_address(folder / "good", "")), ""));
    EXPECT_TRUE(good.joined()) << "root gives the port to its client";
    struct stat st {};
    EXPECT_EQ(stat(good.theirs.sun_path, &st), 0);
    EXPECT_EQ(st.st_uid, kNobody);
  });
  EXPECT_NE(net.log().find("belongs to user 0"), std::string::npos) << net.log();
}

TEST(VdeDoor, T_VDE_3_ModesAreVdeSwitchsAndNothingIsAbstract) {
  const mode_t before = umask(0);
  Net net;
  const auto c = net.join();
  umask(before);
  struct stat st {};
  ASSERT_EQ(stat(net.path().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 02700u);
  ASSERT_EQ(stat(net.ctl().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  ASSERT_EQ(stat(c->theirs.sun_path, &st), 0) << "an abstract name is no file";
  EXPECT_EQ(st.st_mode & 07777, 0600u);
}

TEST(VdeDoor, T_VDE_3_AnotherUserStaysOutEvenWithTheFilesOpened) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another";
  Net net;
  ASSERT_EQ(chmod(net.folder.path().c_str(), 0777), 0);
  in_child([&] {
    become_nobody();
    const auto a = unix_address(net.ctl(), "");
    const Fd s(socket(AF_UNIX, SOCK_STREAM, 0));
    EXPECT_NE(connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
  });
  ASSERT_EQ(chmod(net.path().c_str(), 0777), 0);
  ASSERT_EQ(chmod(net.ctl().c_str(), 0666), 0);
  in_child([&] {
    become_nobody();
    VdeClient c(net.ctl());
    EXPECT_TRUE(c.refused());
  });
  EXPECT_EQ(net.counter("door", "door.refused"), 1u);
  net.expect_service();
}

TEST(VdeDoor, T_VDE_3_AGroupComesInWhenTheModeSaysSo) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another";
  const TempFolder folder;
  ASSERT_EQ(chmod(folder.path().c_str(), 0777), 0);
  VdeDoorOptions o;
  o.path = folder / "net";
  o.access = {.mode = 0660, .dirmode = 02770, .group = 12345, .given = true};
  Net net(o);
  in_child([&] {
    const gid_t groups[] = {12345};
    ASSERT_EQ(setgroups(1, groups), 0);
    become_nobody();
    VdeClient c(o.path + "/ctl");
    c.say(request_v3(c.bind_to(unix_address(folder / "c", "")), ""));
    EXPECT_TRUE(c.joined());
  });
}

TEST(VdeDoor, AnIdleDoorNeverWakesUp) {
  Net net;
  const auto a = net.join(), b = net.join();
  net.expect_service();
  const auto wakeups = [] {
    std::uint64_t sum = 0;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      std::ifstream comm(task.path() / "comm"), status(task.path() / "status");
      std::string name;
      std::getline(comm, name);
      if (name != "rp-switch") continue;
      for (std::string line; std::getline(status, line);)
        if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stoull(line.substr(24));
    }
    return sum;
  };
  ASSERT_TRUE(net.has_ports(3));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto before = wakeups();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_EQ(wakeups(), before);
}

TEST(VdeDoor, AStuckReaderHasItsOwnDropsOnly) {
  Net net;
  const auto a = net.join("a"), b = net.join("b"), stuck = net.join("stuck");
  constexpr std::uint64_t kFrames = 6000;
  for (std::uint64_t i = 0; i < kFrames; ++i) {
    Bytes frame = ethernet(kAll, 0x020000000001, 1000);
    std::memcpy(&frame[14], &i, sizeof i);
    ASSERT_TRUE(a->send(frame));
    ASSERT_EQ(b->next(), frame) << i;
  }
  EXPECT_TRUE(soon([&] {
    return net.counter("stuck", "out.frames") + net.counter("stuck", "drop.queue-full") == kFrames;
  }));
  EXPECT_GT(net.counter("stuck", "drop.queue-full"), 1000u);
  EXPECT_EQ(net.counter("b", "drop.queue-full"), 0u);
  // It reads again: what was taken for it comes, the oldest first, and nothing else.
  const std::uint64_t taken = net.counter("stuck", "out.frames");
  for (std::uint64_t i = 0; i < taken; ++i) {
    const auto frame = stuck->next();
    ASSERT_EQ(frame.size(), 1000u) << i;
    std::uint64_t number;
    std::memcpy(&number, &frame[14], sizeof number);
    ASSERT_EQ(number, i);
  }
  EXPECT_EQ(net.counter("stuck", "socket.waiting"), 0u);
}

TEST(VdeDoor, AThousandClients) {
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  const rlimit more{std::min<rlim_t>(usual.rlim_max, 8192), usual.rlim_max};
  if (more.rlim_cur < 5200) GTEST_SKIP() << "the limit of descriptors is below 5200";
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &more), 0);
  {
    Net net;
    std::vector<std::unique_ptr<VdeClient>> clients;
    for (int i = 0; i < 1000; ++i) clients.push_back(net.join());
    EXPECT_TRUE(net.has_ports(1001));
    const Bytes frame = ethernet(kAll, 0x020000000001);
    ASSERT_TRUE(clients[0]->send(frame));
    for (std::size_t i = 1; i < clients.size(); ++i) ASSERT_EQ(clients[i]->next(), frame) << i;
    clients.clear();
    EXPECT_TRUE(net.has_ports(1));
  }
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

TEST(VdeDoor, SilentVisitorsAreBoundedAndKeepNobodyOut) {
  Net net;
  std::vector<std::unique_ptr<VdeClient>> silent;
  for (int i = 0; i < 300; ++i) silent.push_back(std::make_unique<VdeClient>(net.ctl()));
  EXPECT_TRUE(soon([&] { return net.counter("door", "door.late") == 300 - 256; }));
  EXPECT_TRUE(silent.front()->refused()) << "the oldest goes first";
  net.expect_service();
}

TEST(VdeDoor, TimeIsUpForAVisitorThatNeverFinishes) {
  const TempFolder folder;
  VdeDoorOptions o;
  o.path = folder / "net";
  using namespace std::chrono_literals;
  o.patience = 300ms;
  VdeDoor door(o, Log());
  VdeClient c(folder / "net/ctl");
  c.say({0xce});
  sw::Burst burst;
  door.receive(burst, 1000s);
  EXPECT_FALSE(readable(c.control.get(), 0));
  // A younger one has its own time.
  VdeClient other(folder / "net/ctl");
  door.receive(burst, 1000s + 200ms);
  std::map<std::string, std::uint64_t, std::less<>> counters;
  door.report([&](std::string_view n, std::uint64_t v) { counters.emplace(n, v); });
  EXPECT_EQ(counters["door.late"], 0u);
  ASSERT_TRUE(readable(door.poll_fd(), 30'000));
  door.receive(burst, 1000s + 300ms);
  EXPECT_TRUE(c.refused());
  EXPECT_FALSE(readable(other.control.get(), 0));
  ASSERT_TRUE(readable(door.poll_fd(), 30'000)) << "the timer runs on for the other";
  door.receive(burst, 1000s + 500ms);
  EXPECT_TRUE(other.refused());
}

TEST(VdeDoor, WithoutDescriptorsItWaitsAndDoesNotSpin) {
  in_child([&] {
    Net net;
    const auto a = net.join("a"), b = net.join("b");
    const Fd raw(socket(AF_UNIX, SOCK_STREAM, 0));
    const auto address = unix_address(net.ctl(), "");
    const rlimit few{100, 100};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    std::vector<Fd> hoard;
    for (int fd; (fd = dup(0)) >= 0;) hoard.emplace_back(fd);
    ASSERT_EQ(errno, EMFILE);
    ASSERT_EQ(connect(raw.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    EXPECT_TRUE(soon([&] { return net.counter("door", "door.back-offs") > 2; }));
    EXPECT_LT(net.counter("door", "door.back-offs"), 100u);
    const Bytes frame = ethernet(kAll, 0x020000000001);
    ASSERT_TRUE(a->send(frame));
    EXPECT_EQ(b->next(), frame);
    hoard.clear();
    net.expect_service();
  });
}

}  // namespace
}  // namespace rp::sockets
