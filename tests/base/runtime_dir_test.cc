// SPDX-License-Identifier: BSD-3-Clause
// runtime_dir_test.cc - the directory is the user's alone, and names are plain.
#include "base/runtime_dir.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <optional>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace rp {
namespace {

namespace fs = std::filesystem;

/// Sets XDG_RUNTIME_DIR for one test; a test's process has one thread.
class RuntimeDir : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* before = getenv("XDG_RUNTIME_DIR")) before_ = before;
    setenv("XDG_RUNTIME_DIR", folder_.path().c_str(), 1);
  }
  void TearDown() override {
    if (before_)
      setenv("XDG_RUNTIME_DIR", before_->c_str(), 1);
    else
      unsetenv("XDG_RUNTIME_DIR");
  }
  std::string sentence(Errc code) {
    try {
      return "accepted: " + runtime_dir();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code) << e.what();
      return e.what();
    }
  }
  test::TempFolder folder_;
  std::optional<std::string> before_;
};

Errc refusal(const std::string& name, const std::string& suffix = ".control") {
  try {
    runtime_path(name, suffix);
    return Errc::internal;
  } catch (const Error& e) {
    return e.code();
  }
}

TEST_F(RuntimeDir, IsMadeForTheUserAlone) {
  EXPECT_EQ(runtime_dir(), folder_ / "ringplug");
  struct stat st;
  ASSERT_EQ(lstat((folder_ / "ringplug").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode, S_IFDIR | 0700u);
  EXPECT_EQ(runtime_dir(), folder_ / "ringplug") << "a second time";
}

TEST_F(RuntimeDir, OthersMayNotEnter) {
  runtime_dir();
  fs::permissions(folder_ / "ringplug", fs::perms(0710));
  EXPECT_NE(sentence(Errc::denied).find("chmod 700"), std::string::npos);
}

TEST_F(RuntimeDir, IsTheUsersOwn) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a directory away";
  runtime_dir();
  ASSERT_EQ(chown((folder_ / "ringplug").c_str(), 12345, 0), 0);
  EXPECT_NE(sentence(Errc::denied).find("12345"), std::string::npos);
}

TEST_F(RuntimeDir, IsADirectoryItself) {
  fs::create_directory(folder_ / "real");
  fs::permissions(folder_ / "real", fs::perms(0700));
  fs::create_directory_symlink(folder_ / "real", folder_ / "ringplug");
  EXPECT_NE(sentence(Errc::denied).find("not a directory"), std::string::npos);
  fs::remove(folder_ / "ringplug");
  std::ofstream(folder_ / "ringplug") << "text";
  EXPECT_NE(sentence(Errc::denied).find("not a directory"), std::string::npos);
}

TEST_F(RuntimeDir, NeedsItsParent) {
  setenv("XDG_RUNTIME_DIR", (folder_ / "none").c_str(), 1);
  EXPECT_NE(sentence(Errc::not_found).find(folder_ / "none"), std::string::npos);
}

TEST_F(RuntimeDir, ARelativeOneAndAnothersAreVoid) {
  std::string fallback;
  const auto others = folder_ / "others";
  fs::create_directory(others);
  const bool given_away = chown(others.c_str(), 12345, 0) == 0;  // only root can
  for (const char* given : {"", "relative", given_away ? others.c_str() : ""}) {
    setenv("XDG_RUNTIME_DIR", given, 1);
    fallback = runtime_dir();
    EXPECT_EQ(fallback[0], '/');
    EXPECT_NE(fallback.find(std::to_string(geteuid())), std::string::npos);
  }
  EXPECT_TRUE(fs::is_empty(others));
  // Goes unless somebody uses it.
  rmdir(fallback.c_str());
  rmdir(fs::path(fallback).parent_path().c_str());
}

TEST_F(RuntimeDir, Names) {
  EXPECT_EQ(runtime_path("lan0", ".control"), folder_ / "ringplug/lan0.control");
  for (const char* good : {"a", "A.b_c-9", "-x", "_"})
    EXPECT_NO_THROW(runtime_path(good, ".plug")) << good;
  for (const char* bad : {"", ".", "..", ".x", "a/b", "a b", "\xc3\xa4", "a\n", "a%"})
    EXPECT_EQ(refusal(bad), Errc::invalid) << bad;
  EXPECT_NO_THROW(runtime_path(std::string(64, 'a'), ".plug"));
  EXPECT_EQ(refusal(std::string(65, 'a')), Errc::invalid);
  for (const char* bad : {"", "control", "./x", "/"})
    EXPECT_EQ(refusal("lan0", bad), Errc::invalid) << bad;
}

TEST_F(RuntimeDir, APathFitsASocket) {
  const auto deep = folder_ / std::string(60, 'd');
  fs::create_directory(deep);
  setenv("XDG_RUNTIME_DIR", deep.c_str(), 1);
  EXPECT_NO_THROW(runtime_path("a", ".control"));
  EXPECT_EQ(refusal(std::string(64, 'a')), Errc::invalid);
}

}  // namespace
}  // namespace rp
