// SPDX-License-Identifier: BSD-3-Clause
// base_test.cc - wire integers, bounded reads, options, errors, who holds a port, children, forks.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/fd.h"
#include "base/folder_names.h"
#include "base/fork_mark.h"
#include "base/log.h"
#include "base/option.h"
#include "base/port_holder.h"
#include "base/quiet_child.h"
#include "base/wire.h"
#include "tests/base/temp_folder.h"

namespace rp {
namespace {

TEST(QuietChild, EndsWithItsStatus) {
  EXPECT_EQ(in_quiet_child([] { return 7; }), 7);
  EXPECT_EQ(in_quiet_child([] { return kill(getpid(), SIGKILL); }), 255);
}

// Whoever may stop our processes could hold us for ever.
TEST(QuietChild, OneThatIsStoppedIsKilled) {
  EXPECT_EQ(in_quiet_child([] { return kill(getpid(), SIGSTOP); }, 50), 255);
}

TEST(Wire, BigEndianRoundTrip) {
  const Be16 a(0x1234);
  const Be32 b(0x12345678);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&b);
  EXPECT_EQ(bytes[0], 0x12);
  EXPECT_EQ(bytes[3], 0x78);
  EXPECT_EQ(a.get(), 0x1234);
  EXPECT_EQ(b.get(), 0x12345678u);
}

TEST(Wire, ReadsAndWritesOnlyInside) {
  std::array<std::uint8_t, 6> bytes{1, 2, 3, 4, 5, 6};
  EXPECT_EQ(read_at<Be16>(bytes, 4)->get(), 0x0506);
  EXPECT_FALSE(read_at<Be16>(bytes, 5));
  EXPECT_FALSE(read_at<Be16>(bytes, 7));
  EXPECT_FALSE(read_at<Be16>(bytes, SIZE_MAX));
  EXPECT_TRUE(write_at(bytes, 0, Be16(0xaabb)));
  EXPECT_EQ(bytes[1], 0xbb);
  EXPECT_FALSE(write_at(bytes, 5, Be16(0)));
}

TEST(Fd, OwnsOneDescriptor) {
  int raw;
  {
    Fd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    raw = fd.get();
    Fd moved(std::move(fd));
    EXPECT_EQ(moved.get(), raw);
    EXPECT_NE(fcntl(raw, F_GETFD), -1);
  }
  EXPECT_EQ(fcntl(raw, F_GETFD), -1);
}

TEST(Error, ErrnoPicksTheCode) {
  const auto code_of = [](int e) {
    try {
      throw_errno("what", e);
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what()).rfind("what: ", 0), 0u) << error.what();
      return error.code();
    }
  };
  EXPECT_EQ(code_of(EPERM), Errc::denied);
  EXPECT_EQ(code_of(EADDRINUSE), Errc::busy);
  EXPECT_EQ(code_of(ENODEV), Errc::not_found);
  EXPECT_EQ(code_of(EMFILE), Errc::resources);
  EXPECT_EQ(code_of(EIO), Errc::system);
}

TEST(Log, GoesToTheCallback) {
  std::string got;
  const Log log([](void* to, int level,
                   const char* s) { *static_cast<std::string*>(to) = std::to_string(level) + s; },
                &got);
  log.warning("careful");
  EXPECT_EQ(got, "1careful");
  log.error(std::string("port "), 7, " of ", std::uint64_t{1} << 63, ": ", std::string_view("no"));
  EXPECT_EQ(got, "0port 7 of 9223372036854775808: no");
}

TEST(Log, CutsWhatIsTooLong) {
  std::size_t length = 0;
  const Log log(
      [](void* to, int, const char* s) { *static_cast<std::size_t*>(to) = std::strlen(s); },
      &length);
  for (const std::size_t n : {2047u, 2048u, 100'000u}) {
    log.info(std::string(n, 'x'), 12345, "more");
    EXPECT_EQ(length, 2047u);
  }
}

TEST(FolderNames, AreThoseOfTheFolderAndNoOthers) {
  const test::TempFolder folder;
  EXPECT_TRUE(names_in(folder.path()).empty());
  for (const char* name : {".hidden", "...", "x"})
    ASSERT_TRUE(Fd(open((folder / name).c_str(), O_CREAT | O_WRONLY, 0600)));
  auto names = names_in(folder.path());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"...", ".hidden", "x"}));
  EXPECT_THROW(names_in(folder / "x"), Error);
  EXPECT_THROW(names_in(folder / "nowhere"), Error);
}

struct Settings {
  int n = 0;
};
const Option<Settings> kTable[] = {
    {{"n", "N", "0", "a number"},
     [](Settings& s, const std::string& v) {
       if (v != "7") throw Error(Errc::invalid, "only 7 will do");
       s.n = 7;
     }},
    {{"other", "X", "", "another"}, [](Settings&, const std::string&) {}},
};

TEST(Option, NamesWhatIsWrongAndWhatWouldDo) {
  Settings s;
  set_option<Settings>(kTable, s, "scheme", "n", "7");
  EXPECT_EQ(s.n, 7);
  try {
    set_option<Settings>(kTable, s, "scheme", "m", "7");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "scheme: unknown option 'm'; accepted: n, other");
    EXPECT_EQ(e.code(), Errc::unknown);
  }
  try {
    set_option<Settings>(kTable, s, "scheme", "n", "8");
    FAIL();
  } catch (const Error& e) {
    EXPECT_STREQ(e.what(), "scheme: n=8: only 7 will do");
  }
}

TEST(PortHolder, NamesThisProcess) {
  const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  socklen_t len = sizeof a;
  getsockname(listener.get(), reinterpret_cast<sockaddr*>(&a), &len);
  const std::string holder = port_holder(reinterpret_cast<sockaddr&>(a), false);
  EXPECT_NE(holder.find("by pid " + std::to_string(getpid()) + " ("), std::string::npos) << holder;
  EXPECT_EQ(port_holder(reinterpret_cast<sockaddr&>(a), true), "") << "TCP is not UDP";
}

TEST(ForkMark, KnowsAChild) {
  const ForkMark mark;
  EXPECT_TRUE(mark.same_process());
  const pid_t child = fork();
  if (child == 0) _exit(mark.same_process() ? 1 : 0);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(mark.same_process());
}

}  // namespace
}  // namespace rp
