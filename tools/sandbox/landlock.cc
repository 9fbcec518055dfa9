// SPDX-License-Identifier: BSD-3-Clause
// landlock.cc - rulesets by the kernel's version.
#include "tools/sandbox/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace rp::tools {
namespace {

/// Newer than the headers of Debian 12; linux/landlock.h of Linux 6.12.
constexpr std::uint64_t kRefer = 1 << 13, kTruncate = 1 << 14, kIoctlDevice = 1 << 15;
constexpr std::uint64_t kBindTcp = 1 << 0, kConnectTcp = 1 << 1;
constexpr std::uint64_t kScopeAbstractSockets = 1 << 0;
struct RulesetAttributes {
  std::uint64_t files, net, scoped;
};

constexpr std::uint64_t kAbi1 = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
/// The least ABI that has a right.
constexpr std::pair<int, std::uint64_t> kSince[] = {
    {1, kAbi1}, {2, kRefer}, {3, kTruncate}, {5, kIoctlDevice}};

std::uint64_t known(int version) {
  std::uint64_t all = 0;
  for (const auto& [since, right] : kSince)
    if (version >= since) all |= right;
  return all;
}

constexpr std::uint64_t kOfFiles = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                                   LANDLOCK_ACCESS_FS_EXECUTE | kTruncate | kIoctlDevice;

std::uint64_t rights_of(unsigned reach) {
  std::uint64_t rights = 0;
  if (reach & kReachRead) rights |= LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
  if (reach & kReachWrite) rights |= LANDLOCK_ACCESS_FS_WRITE_FILE | kTruncate | kIoctlDevice;
  if (reach & kReachSockets) rights |= LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_READ_DIR;
  if (reach & kReachRemove)
    rights |= LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR;
  return rights;
}

struct Descriptor {
  explicit Descriptor(long n) : fd(static_cast<int>(n)) {}
  Descriptor(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
  int fd;
};

bool add_path(int ruleset, const std::string& path, std::uint64_t rights) {
  const Descriptor at(open(path.c_str(), O_PATH | O_CLOEXEC));
  struct stat st;
  if (at.fd < 0 || fstat(at.fd, &st) != 0) return true;
  if (!S_ISDIR(st.st_mode)) rights &= kOfFiles;
  landlock_path_beneath_attr rule{};
  rule.allowed_access = rights;
  rule.parent_fd = at.fd;
  return rights == 0 ||
         syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
}

}  // namespace

int landlock_version() noexcept {
  const long v = syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
  return static_cast<int>(std::max(v, 0L));
}

int landlock_ruleset(const FileView& view) {
  const int version = landlock_version();
  const std::uint64_t all = known(version);
  RulesetAttributes attributes{all, 0, 0};
  if (version >= 4 && !view.tcp) attributes.net = kBindTcp | kConnectTcp;
  if (version >= 6 && !view.abstract) attributes.scoped = kScopeAbstractSockets;
  // The kernel takes a larger struct than it knows as long as the rest is zero.
  Descriptor ruleset(syscall(SYS_landlock_create_ruleset, &attributes, sizeof attributes, 0));
  if (ruleset.fd < 0) return -1;
  for (const auto& [path, reach] : view.paths)
    if (!add_path(ruleset.fd, path, rights_of(reach) & all)) return -1;
  return std::exchange(ruleset.fd, -1);
}

int landlock_enter(int ruleset) noexcept {
  return syscall(SYS_landlock_restrict_self, ruleset, 0) == 0 ? 0 : errno;
}

}  // namespace rp::tools
