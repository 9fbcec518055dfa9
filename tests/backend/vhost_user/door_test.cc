// SPDX-License-Identifier: BSD-3-Clause
// door_test.cc - who comes in, who does not, and what that costs the others.
#include "backend/vhost_user/door.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <thread>

#include "backend/vhost_user/protocol.h"
#include "base/runtime_dir.h"
#include "base/unix_socket.h"
#include "tests/api/process_state.h"
#include "tests/backend/scale.h"
#include "tests/backend/vhost_user/linked.h"

namespace rp::backend::vhost_user {
namespace {

using namespace std::chrono_literals;

class DoorTest : public testing::Test {
 protected:
  /// A connection that has said nothing yet.
  static Fd knock() {
    Fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = unix_address(runtime_path("lan0", ".plug"), "");
    EXPECT_EQ(connect(s.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return s;
  }
  static bool alone(Hall& hall) {
    return soon([&] { return hall.ports().size() == 1; });
  }
  /// The switch works, whoever else is there.
  static void expect_service() {
    LinkedPlug a, b;
    ASSERT_TRUE(a.send(to_all(1, 100, 7)));
    EXPECT_TRUE(same(b.next(), to_all(1, 100, 7)));
  }
  test::Runtime runtime_;
};

TEST_F(DoorTest, EachPlugIsAPortNamedAfterItsProcess) {
  Hall hall;
  EXPECT_EQ(hall.ports(), std::vector<std::string>{"door"});
  const std::string mine = "plug:" + std::to_string(getpid());
  {
    const LinkedPlug a, b;
    EXPECT_EQ(hall.ports(), (std::vector<std::string>{"door", mine, mine}));
    EXPECT_EQ(hall.counters()["door/door.joined"], 2u);
  }
  EXPECT_TRUE(alone(hall));
}

TEST_F(DoorTest, IsNoPlaceForFrames) {
  Hall hall;
  LinkedPlug a;
  ASSERT_TRUE(a.send(to_all(1, 100, 1)));
  const std::string port = "plug:" + std::to_string(getpid());
  EXPECT_TRUE(soon([&] { return hall.counters()[port + "/drop.nowhere"] == 1; }));
  EXPECT_EQ(hall.counters()["door/out.frames"], 0u);
}

TEST_F(DoorTest, ANameHasOneDoor) {
  const Hall hall;
  try {
    const Hall second;
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Errc::busy);
    EXPECT_NE(std::string(e.what()).find(std::to_string(getpid())), std::string::npos);
  }
  const Hall other("lan1");
  EXPECT_THROW(Hall("a/b"), Error);
}

TEST_F(DoorTest, ClosesBehindItself) {
  { const Hall hall; }
  EXPECT_NE(access(runtime_.socket("lan0.plug").c_str(), F_OK), 0);
}

TEST_F(DoorTest, ARemovedDoorLeavesThePlugsThatAreIn) {
  Hall hall;
  LinkedPlug a, b;
  ASSERT_TRUE(hall.loop.remove(hall.door));
  EXPECT_THROW(LinkedPlug(), Error);
  ASSERT_TRUE(a.send(to_all(1, 100, 1)));
  EXPECT_FALSE(b.next().empty());
}

TEST_F(DoorTest, ThreeHundredPlugsAtOnce) {
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  const rlimit most{usual.rlim_max, usual.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &most), 0);
  if (most.rlim_cur < 3000) GTEST_SKIP() << "too few descriptors for both ends";
  const process_state before = process_state_now();
  {
    Hall hall;
    std::vector<std::unique_ptr<LinkedPlug>> plugs(300);
    std::vector<std::thread> threads;
    std::atomic<std::size_t> next{0};
    for (int t = 0; t < 8; ++t) {
      threads.emplace_back([&] {
        for (std::size_t i; (i = next++) < plugs.size();) plugs[i] = std::make_unique<LinkedPlug>();
      });
    }
    for (auto& t : threads) t.join();
    EXPECT_EQ(hall.ports().size(), 301u);
    ASSERT_TRUE(plugs[0]->send(to_all(1, 100, 1)));
    for (std::size_t i = 1; i < plugs.size(); ++i)
      ASSERT_TRUE(same(plugs[i]->next(), to_all(1, 100, 1))) << i;
    plugs.clear();
    EXPECT_TRUE(alone(hall));
  }
  const process_state after = process_state_now();
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

TEST_F(DoorTest, GarbageEndsItsOwnConnectionOnly) {
  Hall hall;
  LinkedPlug a, b;
  std::mt19937 random(1);
  for (std::size_t i = 0; i < rounds(300); ++i) {
    const Fd peer = knock();
    Bytes junk = pattern(1 + random() % 600, static_cast<std::uint32_t>(i));
    if (i % 2) {  // a header that is in order, so that what follows is looked at
      const auto below = [&](unsigned n) { return static_cast<std::uint32_t>(random() % n); };
      const Header h{below(45), kVersion | (below(2) ? kNeedReply : 0), below(500)};
      junk.resize(std::max(junk.size(), sizeof h));
      std::memcpy(junk.data(), &h, sizeof h);
    }
    EXPECT_EQ(send(peer.get(), junk.data(), junk.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(junk.size()));
    if (i % 16 == 0) {
      ASSERT_TRUE(a.send(to_all(1, 100, 7)));
      ASSERT_TRUE(same(b.next(), to_all(1, 100, 7)));
    }
  }
  EXPECT_TRUE(soon([&] { return hall.ports().size() == 3; }));
}

TEST_F(DoorTest, WhoVanishesInTheHandshakeIsForgotten) {
  Hall hall;
  const process_state before = process_state_now();
  // Every length of the beginning of a conversation.
  Bytes talk;
  for (const std::uint32_t request : {1u, 15u, 16u, 3u, 2u}) {
    const std::uint32_t size = request == 16 || request == 2 ? 8 : 0;
    const Header h{request, kVersion, size};
    const auto* p = reinterpret_cast<const std::uint8_t*>(&h);
    talk.insert(talk.end(), p, p + sizeof h);
    talk.resize(talk.size() + size);
  }
  for (std::size_t n = 0; n <= talk.size(); ++n) {
    const Fd peer = knock();
    if (n != 0) {
      ASSERT_EQ(send(peer.get(), talk.data(), n, MSG_NOSIGNAL), static_cast<ssize_t>(n));
    }
  }
  EXPECT_TRUE(alone(hall));
  // One that stays and says nothing disturbs nobody.
  const Fd silent = knock();
  expect_service();
  EXPECT_TRUE(soon([&] { return hall.ports().size() == 2; }));
  const process_state after = process_state_now();
  EXPECT_EQ(after.descriptors, before.descriptors + 3) << "the silent one, its port's two";
}

/// Runs `work` in a child whose limits may be spoilt.
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

std::uint64_t cpu_ns() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(t.tv_nsec);
}

TEST_F(DoorTest, WithoutDescriptorsItWaitsAndDoesNotSpin) {
  in_child([&] {
    Hall hall;
    LinkedPlug a, b;
    Fd waiting(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const auto address = unix_address(runtime_path("lan0", ".plug"), "");
    const rlimit few{100, 100};
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    std::vector<Fd> hoard;
    for (int fd; (fd = dup(0)) >= 0;) hoard.emplace_back(fd);
    ASSERT_EQ(errno, EMFILE);
    ASSERT_EQ(connect(waiting.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    EXPECT_TRUE(soon([&] { return hall.counters()["door/door.back-offs"] > 1; }));
    const auto before = cpu_ns();
    poll(nullptr, 0, 1000);
    EXPECT_LT(cpu_ns() - before, 100'000'000u) << "of one second";
    // Who is in goes on.
    ASSERT_TRUE(a.send(to_all(1, 100, 7)));
    EXPECT_FALSE(b.next().empty());
    EXPECT_EQ(hall.ports().size(), 3u);
    // The one that waits comes in when there is room.
    hoard.clear();
    EXPECT_TRUE(soon([&] { return hall.ports().size() == 4; }));
    expect_service();
  });
}

TEST_F(DoorTest, AnotherUserStaysOut) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become another";
  Hall hall;
  // The directory would keep others out before the door does.
  const std::string folder = runtime_.socket("");
  ASSERT_EQ(chmod(folder.c_str(), 0755), 0);
  ASSERT_EQ(chmod((folder + "..").c_str(), 0755), 0);
  ASSERT_EQ(chmod(runtime_.socket("lan0.plug").c_str(), 0666), 0);
  const auto address = unix_address(runtime_.socket("lan0.plug"), "");
  in_child([&] {
    ASSERT_EQ(setgid(65534), 0);
    ASSERT_EQ(setuid(65534), 0);
    const Fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(connect(s.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    char c;
    EXPECT_EQ(recv(s.get(), &c, 1, 0), 0) << "was not hung up on";
  });
  EXPECT_EQ(hall.counters()["door/door.foreign-user"], 1u);
  EXPECT_EQ(hall.ports().size(), 1u);
}

}  // namespace
}  // namespace rp::backend::vhost_user
