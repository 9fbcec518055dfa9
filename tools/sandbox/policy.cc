// SPDX-License-Identifier: BSD-3-Clause
// policy.cc - merges needs.
#include "tools/sandbox/policy.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "ringplug.h"
#include "tools/command.h"
#include "tools/sandbox/capabilities.h"

namespace rp::tools {
namespace {

/// Of the C library and its threads, of GLib's main loop, and of a console.
constexpr const char* kCalls[] = {
    // memory; never executable, see seccomp.cc
    "mmap", "mprotect", "munmap", "mremap", "madvise", "brk",
    // threads, signals, time
    "futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity", "gettid",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall", "prctl",
    "prlimit64", "kill", "tgkill", "exit", "exit_group", "clock_gettime", "clock_nanosleep",
    "nanosleep", "gettimeofday", "time", "getrandom", "membarrier", "sysinfo", "uname",
    // who we are
    "getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getgroups",
    // descriptors
    "read", "write", "readv", "writev", "close", "lseek", "fcntl", "fstat", "poll", "ppoll",
    "epoll_wait", "epoll_pwait", "epoll_ctl", "eventfd2", "ioctl", "pipe2",
    // the control socket, the console
    "accept4", "recvfrom", "recvmsg", "sendto", "sendmsg", "shutdown", "socket", "connect",
    "getsockopt", "setsockopt", "getsockname", "getpeername", "unlink", "unlinkat", "readlinkat",
    "stat", "lstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "open", "openat",
    "getcwd", "readlink"};

/// Names of users and groups, for `ringplug set ... user=`, are looked up in these.
constexpr const char* kAccounts[] = {"/etc/passwd", "/etc/group", "/etc/nsswitch.conf"};

constexpr const char* kEtc = "/etc";

int family_of(const char* name) {
  if (std::strcmp(name, "inet") == 0) return AF_INET;
  if (std::strcmp(name, "inet6") == 0) return AF_INET6;
  if (std::strcmp(name, "netlink") == 0) return AF_NETLINK;
  if (std::strcmp(name, "packet") == 0) return AF_PACKET;
  throw Complaint(kFailed, std::string("sandbox: unknown family of sockets ") + name);
}

std::string folder_of(const std::string& path) {
  return GText(g_path_get_dirname(path.c_str())).get();
}

/// A file is replaced by a new one under its name, which only a rule for its folder would cover.
/// Where it is a link, as into /run, that is its target's folder; in /etc that lets a user read
/// what everybody may, but root what nobody else may, so root's rule is for the file alone.
void add_read(Policy& p, const std::string& path) {
  add_path(p, path, kReachRead);
  char real[PATH_MAX];
  if (path.rfind("/etc/", 0) != 0 || !realpath(path.c_str(), real)) return;
  const std::string folder = folder_of(real);
  if (folder != kEtc || geteuid() != 0) add_path(p, folder, kReachRead);
}

/// Names in a folder that is another's are root's to remove by this right alone.
void keep_access(Policy& p, const std::string& folder) {
  struct stat st;
  if (stat(folder.c_str(), &st) == 0 && st.st_uid != geteuid() && (st.st_mode & S_IWOTH) == 0)
    p.capabilities |= std::uint64_t{1} << *capability_bit("dac_override");
}

void add(Policy& p, int need, const char* value) {
  switch (need) {
    case RP_NEED_CALL:
      p.calls.insert(value);
      return;
    case RP_NEED_FAMILY: {
      if (std::strcmp(value, "abstract") == 0) {
        p.files.abstract = true;
        return;
      }
      if (std::strcmp(value, "unix-stream") == 0) {
        p.dials = true;
        return;
      }
      const int family = family_of(value);
      p.families.insert(family);
      p.files.tcp = p.files.tcp || family == AF_INET || family == AF_INET6;
      return;
    }
    case RP_NEED_IOCTL:
      p.ioctls.insert(g_ascii_strtoull(value, nullptr, 10));
      return;
    case RP_NEED_READ:
      return add_read(p, value);
    case RP_NEED_WRITE:
      return add_path(p, value, kReachRead | kReachWrite);
    case RP_NEED_FOLDER:
      keep_access(p, value);
      return add_path(p, value, kReachSockets | kReachRemove);
    case RP_NEED_REMOVE:
      keep_access(p, value);
      return add_path(p, value, kReachRemove);
    case RP_NEED_CAPABILITY:
      if (const auto bit = capability_bit(value)) {
        p.capabilities |= std::uint64_t{1} << *bit;
        return;
      }
      break;
    case RP_NEED_CODE:
      p.code.emplace_back(value);
      return;
  }
  throw Complaint(kFailed, std::string("sandbox: '") + value + "' is no need that is known here");
}

}  // namespace

void add_path(Policy& p, const std::string& path, unsigned reach) {
  p.files.paths[path] |= reach;
}

Policy own_policy() {
  Policy p;
  p.calls.insert(std::begin(kCalls), std::end(kCalls));
  p.families.insert(AF_UNIX);
  for (const char* file : kAccounts) add_read(p, file);
  add_path(p, "/proc/sys/vm/overcommit_memory", kReachRead);  // malloc() asks
  return p;
}

void add_locator(Policy& p, const std::string& locator, bool listens) {
  rp_error error = RP_ERROR_INIT;
  struct Collector {
    Policy& policy;
    std::string complaint;
  } c{p, {}};
  // The library must not be left by an exception of ours.
  const int failed = rp_needs(
      locator.c_str(), listens ? 1 : 0,
      [](void* opaque, int need, const char* value) {
        auto& self = *static_cast<Collector*>(opaque);
        try {
          add(self.policy, need, value);
        } catch (const Complaint& e) {
          self.complaint = e.what();
        }
      },
      &c, &error);
  if (failed != RP_OK) throw Complaint(kFailed, error.message);
  if (!c.complaint.empty()) throw Complaint(kFailed, c.complaint);
}

}  // namespace rp::tools
