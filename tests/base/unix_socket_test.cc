// SPDX-License-Identifier: BSD-3-Clause
// unix_socket_test.cc - whose socket may be replaced, and whose path taken away.
#include "base/unix_socket.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace rp {
namespace {

using test::TempFolder;
namespace fs = std::filesystem;

UnixListener listen_on(const std::string& path) {
  return UnixListener(unix_address(path, "door"), 8, "door");
}

/// The error that listening there gives.
Error refusal(const std::string& path) {
  try {
    listen_on(path);
  } catch (const Error& e) {
    return e;
  }
  return Error(Errc::internal, "it listened on " + path);
}

/// A socket that is bound to the path; closing it leaves the path behind, as dying does.
Fd bound(const std::string& path, int type = SOCK_STREAM) {
  const auto a = unix_address(path, "test");
  Fd s(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  EXPECT_EQ(bind(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
  return s;
}

bool answers(const std::string& path) {
  const auto a = unix_address(path, "test");
  const Fd s(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0;
}

bool says(const Error& e, const std::string& words) {
  return std::string(e.what()).find(words) != std::string::npos;
}

TEST(UnixAddress, EmptyAndTooLong) {
  EXPECT_EQ(refusal("").code(), Errc::invalid);
  EXPECT_NO_THROW(unix_address(std::string(107, 'a'), "door"));
  try {
    unix_address(std::string(108, 'a'), "door");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), Errc::invalid);
    EXPECT_TRUE(says(e, "107")) << e.what();
    EXPECT_EQ(std::string(e.what()).rfind("door: ", 0), 0u) << e.what();
  }
}

TEST(UnixListener, ListensForItsUserAloneAndGoesWithItsPath) {
  const TempFolder folder;
  const auto path = folder / "s";
  {
    const mode_t before = umask(0);
    const auto listener = listen_on(path);
    umask(before);
    struct stat st;
    ASSERT_EQ(lstat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode, S_IFSOCK | 0600u);
    EXPECT_NE(fcntl(listener.fd(), F_GETFD) & FD_CLOEXEC, 0);
    EXPECT_NE(fcntl(listener.fd(), F_GETFL) & O_NONBLOCK, 0);
    EXPECT_TRUE(answers(path));
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(UnixListener, MovesAsAWhole) {
  const TempFolder folder;
  UnixListener none, first = listen_on(folder / "s");
  EXPECT_FALSE(none);
  EXPECT_EQ(none.fd(), -1);
  none = std::move(first);
  EXPECT_TRUE(answers(folder / "s"));
  none = UnixListener();
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(UnixListener, ALiveOneIsNeverReplaced) {
  const TempFolder folder;
  const auto path = folder / "s";
  const auto live = listen_on(path);
  const Error e = refusal(path);
  EXPECT_EQ(e.code(), Errc::busy);
  EXPECT_TRUE(says(e, "process " + std::to_string(getpid()))) << e.what();
  EXPECT_TRUE(says(e, path)) << e.what();
  EXPECT_TRUE(answers(path));
}

TEST(UnixListener, AFullQueueIsLife) {
  const TempFolder folder;
  const auto path = folder / "s";
  const Fd live = bound(path);
  ASSERT_EQ(listen(live.get(), 0), 0);
  EXPECT_TRUE(answers(path));  // fills the queue
  EXPECT_EQ(refusal(path).code(), Errc::busy);
}

TEST(UnixListener, ASocketOfAnotherTypeIsLife) {
  const TempFolder folder;
  const Fd live = bound(folder / "s", SOCK_DGRAM);
  EXPECT_EQ(refusal(folder / "s").code(), Errc::busy);
}

TEST(UnixListener, OfPackets) {
  const TempFolder folder;
  const auto a = unix_address(folder / "s", "door");
  bound(folder / "s", SOCK_SEQPACKET);
  const UnixListener listener(a, 8, "door", SOCK_SEQPACKET);
  const Fd s(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  EXPECT_EQ(connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
  EXPECT_THROW(UnixListener(a, 8, "door", SOCK_SEQPACKET), Error);
  EXPECT_EQ(refusal(folder / "s").code(), Errc::busy) << "of another type";
}

TEST(UnixListener, OfDatagramsRenewedInOneStep) {
  const TempFolder folder;
  const std::string path = folder / "s";
  UnixListener door(unix_address(path, "door"), 0, "door", SOCK_DGRAM);
  const auto a = unix_address(path, "test");
  const auto connected = [&] {
    Fd s(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
    return s;
  };
  const Fd before = connected();
  const Fd old = door.renew("door");
  const Fd after = connected();
  EXPECT_EQ(send(before.get(), "old", 3, 0), 3);
  EXPECT_EQ(send(after.get(), "new", 3, 0), 3);
  char said[4] = {};
  EXPECT_EQ(recv(old.get(), said, 3, MSG_DONTWAIT), 3);
  EXPECT_STREQ(said, "old");
  EXPECT_EQ(recv(door.fd(), said, 3, MSG_DONTWAIT), 3);
  EXPECT_STREQ(said, "new");
  struct stat st;
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  fs::remove(path);
  std::ofstream(path) << "another's";
  EXPECT_THROW(door.renew("door"), Error);
  door = UnixListener();
  EXPECT_TRUE(fs::exists(path));
}

TEST(UnixListener, ADeadOneIsReplaced) {
  const TempFolder folder;
  const auto path = folder / "s";
  bound(path);
  ASSERT_TRUE(fs::is_socket(path));
  const auto listener = listen_on(path);
  EXPECT_TRUE(answers(path));
}

TEST(UnixListener, WhatIsNoSocketStays) {
  const TempFolder folder;
  std::ofstream(folder / "file") << "text";
  fs::create_symlink(folder / "elsewhere", folder / "link");
  for (const auto* name : {"file", "link"}) {
    const Error e = refusal(folder / name);
    EXPECT_EQ(e.code(), Errc::invalid);
    EXPECT_TRUE(says(e, "no socket")) << e.what();
    EXPECT_TRUE(fs::exists(fs::symlink_status(folder / name)));
  }
  EXPECT_EQ(refusal(folder / "none/s").code(), Errc::not_found);
}

TEST(UnixListener, AMovedOrReplacedPathIsNotTakenAway) {
  const TempFolder folder;
  const auto path = folder / "s";
  {
    const auto moved = listen_on(path);
    fs::rename(path, folder / "moved");
  }
  EXPECT_TRUE(fs::is_socket(folder / "moved"));
  Fd other;
  {
    const auto replaced = listen_on(path);
    fs::remove(path);
    other = bound(path);
  }
  EXPECT_TRUE(fs::is_socket(path));
}

TEST(UnixListener, ARelativePathIsTakenAwayFromAnotherFolder) {
  const TempFolder folder;
  const auto before = fs::current_path();
  fs::current_path(folder.path());
  {
    const auto listener = listen_on("s");
    EXPECT_TRUE(fs::is_socket(folder / "s"));
    fs::current_path(before);
  }
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

TEST(UnixListener, AStrangersLockIsWaitedForAndThenNamed) {
  const TempFolder folder;
  const Fd lock(open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_EQ(flock(lock.get(), LOCK_EX), 0);
  const Error e = refusal(folder / "s");
  EXPECT_EQ(e.code(), Errc::busy);
  EXPECT_TRUE(says(e, "locked")) << e.what();
}

/// All start at the same moment on a dead process' socket; the number of those that listen.
int race(const std::string& path, int starters) {
  int gate[2], report[2];
  EXPECT_EQ(pipe(gate), 0);
  EXPECT_EQ(pipe(report), 0);
  const Fd start_in(gate[0]), results(report[0]), result_in(report[1]);
  Fd start(gate[1]);
  std::vector<pid_t> children;
  for (int i = 0; i < starters; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      start.reset();
      char byte;
      [[maybe_unused]] auto n = read(start_in.get(), &byte, 1);  // until all gates are closed
      UnixListener listener;
      char result = '0';
      try {
        listener = listen_on(path);
        result = answers(path) ? '1' : '?';
      } catch (const Error& e) {
        if (e.code() != Errc::busy) result = '?';
      }
      n = write(result_in.get(), &result, 1);
      pause();  // listening, until killed
      _exit(0);
    }
    children.push_back(child);
  }
  start.reset();
  int winners = 0;
  for (int i = 0; i < starters; ++i) {
    char result = 0;
    EXPECT_EQ(read(results.get(), &result, 1), 1);
    EXPECT_NE(result, '?');
    winners += result == '1';
  }
  for (pid_t child : children) kill(child, SIGKILL);
  for (pid_t child : children) waitpid(child, nullptr, 0);
  return winners;
}

TEST(UnixListener, OfManyStartersOneWins) {
  const TempFolder folder;
  // The first round finds nothing, each later one what its forerunner's winner left.
  for (int round = 0; round < 20; ++round) EXPECT_EQ(race(folder / "s", 8), 1) << round;
}

}  // namespace
}  // namespace rp
