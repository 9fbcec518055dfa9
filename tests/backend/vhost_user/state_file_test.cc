// SPDX-License-Identifier: BSD-3-Clause
// state_file_test.cc - a file that is believed has to be ours alone.
#include "backend/vhost_user/state_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace rp::backend::vhost_user {
namespace {

class StateFileTest : public ::testing::Test {
 protected:
  /// That it is refused so.
  void expect(Errc code) const {
    try {
      const StateFile file(path, 2);
      FAIL() << "it was taken";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code) << e.what();
      EXPECT_NE(std::string(e.what()).find(path), std::string::npos) << e.what();
    }
  }
  static void write(const std::string& to, const std::string& text) { std::ofstream(to) << text; }
  static std::string read(const std::string& from) {
    std::ifstream in(from);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  const test::TempFolder folder;
  const std::string path = folder.path() + "/door.state", other = folder.path() + "/other";
};

TEST_F(StateFileTest, GoesWithItsLastRing) {
  {
    const StateFile file(path, 2);
    ASSERT_EQ(file.rings().size(), 2u);
    struct stat st;
    ASSERT_EQ(stat(path.c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600u);
    file.rings()[1].magic = PackedState::kMagic;
  }
  EXPECT_TRUE(std::filesystem::exists(path)) << "a ring may go on from it";
  {
    StateFile file(path, 2);
    EXPECT_EQ(file.rings()[1].magic, PackedState::kMagic);
    file.clear();
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(StateFileTest, T_STATE_1_NotThroughALink) {
  write(other, "precious");
  std::filesystem::create_symlink(other, path);
  EXPECT_THROW(StateFile(path, 2), Error);
  EXPECT_EQ(read(other), "precious");
  std::filesystem::remove(path);
  chmod(other.c_str(), 0600);
  std::filesystem::create_hard_link(other, path);
  expect(Errc::denied);
  EXPECT_EQ(read(other), "precious") << "it has a second name";
}

TEST_F(StateFileTest, T_STATE_1_OnlyAFileOfOursAlone) {
  write(path, "precious");
  for (const mode_t mode : {0620u, 0602u, 0666u}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    expect(Errc::denied);
  }
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(read(path), "precious");
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  expect(Errc::denied);
  std::filesystem::remove(path);
  ASSERT_EQ(mkdir(path.c_str(), 0700), 0);
  EXPECT_THROW(StateFile(path, 2), Error);
}

TEST_F(StateFileTest, T_STATE_1_NotAFileOfSomethingElse) {
  // Ours alone by its owner and mode, as whatever else this user keeps.
  for (const std::string& text :
       {std::string("precious"), std::string(1, '\0'), std::string(1 << 20, 'x')}) {
    std::filesystem::remove(path);
    write(path, text);
    ASSERT_EQ(chmod(path.c_str(), 0644), 0);
    expect(Errc::denied);
    EXPECT_EQ(read(path), text);
  }
}

TEST_F(StateFileTest, T_STATE_1_AnyBytesAfterOurs) {
  {
    const StateFile file(path, 2);
    file.rings()[0].magic = PackedState::kMagic;
  }
  const auto size = std::filesystem::file_size(path);
  for (const std::uintmax_t cut : {size - 1, size / 2, std::uintmax_t{64}}) {
    std::filesystem::resize_file(path, cut);
    const StateFile file(path, 2);
    EXPECT_EQ(std::filesystem::file_size(path), size);
    EXPECT_EQ(file.rings()[1].magic, 0u);
    file.rings()[0].magic = PackedState::kMagic;
  }
}

TEST_F(StateFileTest, AnEmptyFileIsTaken) {
  write(path, "");
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  const StateFile file(path, 2);
}

TEST_F(StateFileTest, TakesAwayItsOwnAlone) {
  {
    const StateFile file(path, 2);
    std::filesystem::rename(path, other);
    write(path, "precious");
  }
  EXPECT_EQ(read(path), "precious");
}

TEST_F(StateFileTest, T_STATE_1_AnotherUsersFile) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to make a file of another user's";
  write(path, "precious");
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  ASSERT_EQ(chown(path.c_str(), 65534, 65534), 0);
  expect(Errc::denied);
  EXPECT_EQ(read(path), "precious");
}

TEST_F(StateFileTest, ALiveDoorsIsNotTakenNorCutShort) {
  const StateFile file(path, 4);
  file.rings()[3].magic = PackedState::kMagic;
  expect(Errc::busy);
  EXPECT_GE(std::filesystem::file_size(path), 4 * sizeof(PackedState));
  EXPECT_EQ(file.rings()[3].magic, PackedState::kMagic);
}

TEST_F(StateFileTest, AKilledDoorsIsThereForTheNext) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const StateFile file(path, 2);
    file.rings()[0].magic = PackedState::kMagic;
    file.rings()[0].key = 42;
    kill(getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  StateFile file(path, 2);
  EXPECT_EQ(file.rings()[0].key, 42u);
  file.clear();
}

}  // namespace
}  // namespace rp::backend::vhost_user
