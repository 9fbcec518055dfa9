// SPDX-License-Identifier: BSD-3-Clause
// orphan.cc - a child's child, which the child does not wait for.
#include "base/orphan.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/error.h"
#include "base/fresh_image.h"
#include "base/quiet_child.h"

namespace rp {
namespace {

constexpr std::size_t kMost = 8;
/// Above all numbers that the program gets.
constexpr int kAside = 10;

/// The program's process. Only async-signal-safe calls.
int run(const char* const* argv, std::span<const Inherited> inherited) noexcept {
  setsid();
  std::array<int, kMost> aside;
  for (std::size_t i = 0; i < inherited.size(); ++i)
    if ((aside[i] = fcntl(inherited[i].ours, F_DUPFD, kAside)) < 0) return 127;
  const int null = open("/dev/null", O_RDWR);
  if (null < 0) return 127;
  for (int fd = 0; fd < 3; ++fd)
    if (dup2(null, fd) < 0) return 127;
  int highest = 2;
  for (std::size_t i = 0; i < inherited.size(); ++i) {
    if (dup2(aside[i], inherited[i].theirs) < 0) return 127;
    highest = std::max(highest, inherited[i].theirs);
  }
  become(argv[0], const_cast<char* const*>(argv), static_cast<unsigned>(highest) + 1);
  const char why[] = "it can't be run";
  [[maybe_unused]] const auto n = write(2, why, sizeof why - 1);
  return 127;
}

}  // namespace

void start_orphan(const char* const* argv, std::span<const Inherited> inherited,
                  const std::string& what) {
  if (inherited.size() > kMost) throw Error(Errc::internal, what + ": too many descriptors");
  const int status = in_quiet_child([&] {
    const long pid = syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
    if (pid == 0) _exit(run(argv, inherited));
    return pid < 0 ? 1 : 0;
  });
  if (status != 0) throw_errno(what, status < 0 ? errno : EAGAIN);
}

}  // namespace rp
