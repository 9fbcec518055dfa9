// SPDX-License-Identifier: BSD-3-Clause
// vde_folder_test.cc - whose folder may be used, and what is taken away in the end.
#include "sockets/vde_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "tests/sockets/vde_client.h"

namespace rp::sockets {
namespace {

using test::TempFolder;
namespace fs = std::filesystem;

struct Open {
  explicit Open(const std::string& path, const VdeAccess& access = {})
      : folder(path, access, "vde:" + path), control(folder.listen()) {}
  VdeFolder folder;
  UnixListener control;
};

Error refusal(const std::string& path) {
  try {
    const Open o(path);
  } catch (const Error& e) {
    return e;
  }
  return Error(Errc::internal, "it listened on " + path);
}

bool says(const Error& e, const std::string& words) {
  return std::string(e.what()).find(words) != std::string::npos;
}

/// A socket file that nobody reads from, as dying leaves it.
void leave_socket(const std::string& path, int type) {
  const auto a = unix_address(path, "test");
  const Fd s(socket(AF_UNIX, type, 0));
  ASSERT_EQ(bind(s.get(), reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
}

mode_t mode_of(const std::string& path) {
  struct stat st {};
  EXPECT_EQ(lstat(path.c_str(), &st), 0);
  return st.st_mode & 07777;
}

TEST(VdeFolder, ComesAndGoes) {
  const TempFolder t;
  {
    const Open o(t / "net");
    EXPECT_TRUE(fs::is_socket(t / "net/ctl"));
    EXPECT_EQ(o.folder.path(), fs::canonical(t / "net"));
  }
  EXPECT_TRUE(fs::is_empty(t.path()));
}

TEST(VdeFolder, OneThatWeMadeHasItsModeByWhateverName) {
  const TempFolder tmp;
  ASSERT_EQ(mkdir((tmp / "real").c_str(), 0700), 0);
  ASSERT_EQ(symlink("real", (tmp / "link").c_str()), 0);
  const auto mode = [](const std::string& path) {
    const Open o(path);
    struct stat st {};
    EXPECT_EQ(stat(path.c_str(), &st), 0);
    return st.st_mode & 07777;
  };
  const auto plain = mode(tmp / "real/a");
  EXPECT_NE(plain, 0700u);
  EXPECT_EQ(mode(tmp / "link/a"), plain);
  EXPECT_EQ(mode(tmp / "real/../real/a"), plain);
  EXPECT_FALSE(fs::exists(tmp / "real/a"));
}

TEST(VdeFolder, ASecondSwitchIsToldWhoIsThere) {
  const TempFolder t;
  const Open o(t / "net");
  const Error e = refusal(t / "net");
  EXPECT_EQ(e.code(), Errc::busy);
  EXPECT_TRUE(says(e, "process " + std::to_string(getpid()) + " listens")) << e.what();
  EXPECT_TRUE(fs::is_socket(t / "net/ctl"));
}

TEST(VdeFolder, T_VDE_3_WhatADeadSwitchLeftIsReplaced) {
  const TempFolder t;
  fs::create_directory(t / "net");
  leave_socket(t / "net/ctl", SOCK_STREAM);
  leave_socket(t / "net/001.17", SOCK_DGRAM);
  leave_socket(t / "net/.00123-00000", SOCK_DGRAM);
  const auto live = unix_address(t / "net/002.18", "test");
  const Fd reader(socket(AF_UNIX, SOCK_DGRAM, 0));
  ASSERT_EQ(bind(reader.get(), reinterpret_cast<const sockaddr*>(&live), sizeof live), 0);
  {
    const Open o(t / "net");
    EXPECT_FALSE(fs::exists(t / "net/001.17"));
    EXPECT_FALSE(fs::exists(t / "net/.00123-00000"));
    EXPECT_TRUE(fs::exists(t / "net/002.18")) << "somebody reads from it";
    fs::remove(t / "net/002.18");
  }
  EXPECT_FALSE(fs::exists(t / "net")) << "the dead switch would have taken it away";
}

TEST(VdeFolder, AnEmptyFolderIsUsedAsItIsAndStays) {
  const TempFolder t;
  fs::create_directory(t / "net");
  ASSERT_EQ(chmod((t / "net").c_str(), 0750), 0);
  {
    const Open o(t / "net");
    EXPECT_EQ(mode_of(t / "net"), 0750u);
  }
  EXPECT_TRUE(fs::is_empty(t / "net"));
  const Open o(t / "net", {.mode = 0660, .dirmode = 02770, .given = true});
  EXPECT_EQ(mode_of(t / "net"), 02770u);
  EXPECT_EQ(mode_of(t / "net/ctl"), 0660u);
}

TEST(VdeFolder, OtherThingsAreLeftAlone) {
  const TempFolder t;
  std::ofstream(t / "file") << "text";
  EXPECT_TRUE(says(refusal(t / "file"), "is no folder"));
  EXPECT_TRUE(says(refusal(t.path()), "holds something else"));
  EXPECT_EQ(mode_of(t.path()), 0700u);
  fs::create_directory(t / "net");
  std::ofstream(t / "net/ctl") << "text";
  EXPECT_TRUE(says(refusal(t / "net"), "no socket"));
  EXPECT_TRUE(fs::exists(t / "net/ctl"));
  fs::create_directory(t / "notes");
  std::ofstream(t / "notes/2026.11") << "text";
  EXPECT_TRUE(says(refusal(t / "notes"), "holds something else"));
  EXPECT_TRUE(fs::exists(t / "notes/2026.11")) << "it has a socket's name and is none";
  EXPECT_EQ(refusal(t / "none/net").code(), Errc::not_found);
  EXPECT_EQ(refusal("").code(), Errc::invalid);
}

TEST(VdeFolder, PathsThatSocketsDoNotFitInAreRefused) {
  const TempFolder t;
  const std::string longest = t / std::string(93 - t.path().size() - 1, 'x');
  { const Open o(longest); }
  const Error e = refusal(longest + "x");
  EXPECT_EQ(e.code(), Errc::invalid);
  EXPECT_TRUE(says(e, "longer than 93 bytes")) << e.what();
  EXPECT_TRUE(fs::is_empty(t.path()));
  // A short way to a long path.
  fs::create_directories(t / std::string(60, 'y') + "/" + std::string(40, 'z'));
  fs::create_directory_symlink(t / std::string(60, 'y') + "/" + std::string(40, 'z'), t / "short");
  EXPECT_TRUE(says(refusal(t / "short/net"), "longer"));
  EXPECT_TRUE(fs::is_empty(t / "short")) << "what was made is taken away";
}

TEST(VdeFolder, WhatOthersPutThereInsteadStays) {
  const TempFolder t;
  {
    const Open o(t / "net");
    fs::rename(t / "net", t / "moved");
    fs::create_directory(t / "net");
  }
  EXPECT_TRUE(fs::is_directory(t / "net"));
  EXPECT_TRUE(fs::is_socket(t / "moved/ctl"));
}

TEST(VdeFolder, ARelativePathIsTakenAwayFromAnotherFolder) {
  const TempFolder t;
  const auto before = fs::current_path();
  fs::current_path(t.path());
  {
    const Open o("net");
    fs::current_path(before);
    EXPECT_TRUE(fs::path(o.folder.path()).is_absolute());
  }
  EXPECT_TRUE(fs::is_empty(t.path()));
}

}  // namespace
}  // namespace rp::sockets
