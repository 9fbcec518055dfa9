// SPDX-License-Identifier: BSD-3-Clause
// seccomp.cc - the filter, by libseccomp.
#include "tools/sandbox/seccomp.h"

#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <type_traits>

namespace rp::tools {
namespace {

constexpr std::uint32_t kForbidden = SCMP_ACT_ERRNO(EPERM), kUnknown = SCMP_ACT_ERRNO(ENOSYS);

constexpr const char* kPrograms[] = {"execve", "execveat", "fork", "vfork"};
/// What nobody needs who serves networks, whoever wrote it.
constexpr const char* kNever[] = {"ptrace",
                                  "process_vm_readv",
                                  "process_vm_writev",
                                  "process_madvise",
                                  "kcmp",
                                  "pidfd_getfd",
                                  "mount",
                                  "umount2",
                                  "pivot_root",
                                  "chroot",
                                  "move_mount",
                                  "open_tree",
                                  "fsopen",
                                  "fsmount",
                                  "fsconfig",
                                  "fspick",
                                  "mount_setattr",
                                  "unshare",
                                  "setns",
                                  "swapon",
                                  "swapoff",
                                  "init_module",
                                  "finit_module",
                                  "delete_module",
                                  "kexec_load",
                                  "kexec_file_load",
                                  "reboot",
                                  "bpf",
                                  "perf_event_open",
                                  "userfaultfd",
                                  "io_uring_setup",
                                  "io_uring_enter",
                                  "io_uring_register",
                                  "add_key",
                                  "request_key",
                                  "keyctl",
                                  "acct",
                                  "quotactl",
                                  "settimeofday",
                                  "clock_settime",
                                  "clock_adjtime",
                                  "adjtimex",
                                  "stime",
                                  "sethostname",
                                  "setdomainname",
                                  "open_by_handle_at",
                                  "name_to_handle_at",
                                  "iopl",
                                  "ioperm",
                                  "modify_ldt",
                                  "syslog",
                                  "vhangup",
                                  "personality",
                                  "fanotify_init",
                                  "lookup_dcookie",
                                  "mknod",
                                  "mknodat"};
/// Refused with EPERM where they are not on the list.
constexpr const char* kFiles[] = {"open", "openat", "creat",   "rename",    "renameat", "renameat2",
                                  "link", "linkat", "symlink", "symlinkat", "truncate"};

/// Which argument of clone() has the flags.
#ifdef __s390__
constexpr unsigned kFlags = 1;
#else
constexpr unsigned kFlags = 0;
#endif
/// All but CLONE_NEWTIME, whose bit is the exit signal's in clone().
constexpr std::uint64_t kNewSpaces = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID |
                                     CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

class Filter {
 public:
  explicit Filter(std::uint32_t otherwise)
      : context_(seccomp_init(otherwise)), otherwise_(otherwise) {
    if (!context_) error_ = ENOMEM;
  }

  void set(scmp_filter_attr attribute, std::uint32_t value) {
    if (context_ && seccomp_attr_set(context_.get(), attribute, value) != 0 &&
        attribute == SCMP_FLTATR_CTL_TSYNC)
      error_ = ENOSYS;
  }
  /// A call that this architecture or this libseccomp lacks is none to allow or refuse.
  void rule(std::uint32_t action, std::string_view call,
            std::initializer_list<scmp_arg_cmp> arguments = {}) {
    const int number = seccomp_syscall_resolve_name(std::string(call).c_str());
    if (number == __NR_SCMP_ERROR || number < 0 || error_ != 0 || action == otherwise_) return;
    const int failed =
        seccomp_rule_add_array(context_.get(), action, number,
                               static_cast<unsigned>(arguments.size()), std::data(arguments));
    if (failed != 0 && failed != -EEXIST) error_ = -failed;
  }
  void allow(std::string_view call, std::initializer_list<scmp_arg_cmp> arguments = {}) {
    rule(SCMP_ACT_ALLOW, call, arguments);
  }
  int load() {
    if (error_ != 0) return error_;
    return -seccomp_load(context_.get());
  }

 private:
  struct Release {
    void operator()(void* context) const noexcept { seccomp_release(context); }
  };
  std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, Release> context_;
  std::uint32_t otherwise_;
  int error_ = 0;
};

scmp_arg_cmp equals(unsigned argument, std::uint64_t value) {
  return {argument, SCMP_CMP_EQ, value, 0};
}
scmp_arg_cmp masked(unsigned argument, std::uint64_t mask, std::uint64_t value) {
  return {argument, SCMP_CMP_MASKED_EQ, mask, value};
}

void allow_sockets(Filter& f, const std::set<int>& families, bool dials) {
  constexpr std::uint64_t kType = 0xf;
  for (const int family : families) {
    const auto it = equals(0, static_cast<std::uint64_t>(family));
    if (family == AF_UNIX && !dials) {
      f.allow("socket", {it, masked(1, kType, SOCK_DGRAM)});
      continue;
    }
    if (family != AF_INET && family != AF_INET6) {
      f.allow("socket", {it});
      continue;
    }
    f.allow("socket", {it, masked(1, kType, SOCK_STREAM)});
    f.allow("socket", {it, masked(1, kType, SOCK_DGRAM)});
    const int ping = family == AF_INET ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6};
    f.allow("socket",
            {it, masked(1, kType, SOCK_RAW), equals(2, static_cast<std::uint64_t>(ping))});
  }
}

void allow_signals(Filter& f, std::set<pid_t> processes) {
  processes.insert(getpid());
  for (const pid_t pid : processes)
    for (const char* call : {"kill", "tgkill"})
      f.allow(call, {equals(0, static_cast<std::uint64_t>(pid))});
}

/// The C library starts threads by clone3(), and by this where that is not to be had, as its flags
/// can be looked at. A mode that starts processes asks for all of it.
void allow_threads(Filter& f, const Policy& p) {
  if (p.calls.count("clone") == 0) f.allow("clone", {masked(kFlags, CLONE_THREAD, CLONE_THREAD)});
}

/// Calls of which not every use is needed. False: the call is none of those.
bool allow_some(Filter& f, const std::string& call, const Policy& p) {
  if (call == "socket") {
    allow_sockets(f, p.families, p.dials);
  } else if (call == "kill" || call == "tgkill") {
    allow_signals(f, p.signalled);
  } else if (call == "mmap" || call == "mprotect") {
    f.allow(call, {masked(2, PROT_EXEC, 0)});
  } else if (call == "clone") {
    f.allow(call, {masked(kFlags, kNewSpaces, 0)});
  } else if (call == "setns") {
    for (const unsigned space : {unsigned{CLONE_NEWUSER}, unsigned{CLONE_NEWNET}})
      f.allow(call, {equals(1, space)});
  } else if (call == "pidfd_send_signal") {
    f.allow(call, {equals(1, SIGKILL)});
  } else if (call == "prctl") {
    f.allow(call, {equals(0, PR_SET_NAME)});
  } else if (call == "prlimit64") {
    f.allow(call, {equals(0, 0)});
  } else if (call == "ioctl") {
    f.allow(call, {equals(1, FIONREAD)});
    f.allow(call, {equals(1, FIONBIO)});
    f.allow(call, {equals(1, TCGETS)});
    for (const std::uint64_t request : p.ioctls) f.allow(call, {equals(1, request)});
  } else {
    return false;
  }
  return true;
}

}  // namespace

int enter_seccomp(const Policy& p) {
  // Others have calls of other names for the same things.
  if (sizeof(void*) != sizeof(std::uint64_t)) return ENOSYS;
  const bool known = p.code.empty();
  Filter f(known ? kUnknown : SCMP_ACT_ALLOW);
  f.set(SCMP_FLTATR_CTL_TSYNC, 1);
  f.set(SCMP_FLTATR_CTL_LOG, 1);
  f.set(SCMP_FLTATR_CTL_OPTIMIZE, 2);
  f.set(SCMP_FLTATR_ACT_BADARCH, known ? SCMP_ACT_KILL_PROCESS : kUnknown);
  const auto refuse = [&](const char* call) {
    if (p.calls.count(call) == 0) f.rule(kForbidden, call);
  };
  for (const char* call : kNever) refuse(call);
  if (!known) {
    for (unsigned bit = 0; bit < 32; ++bit)
      if (const std::uint64_t flag = std::uint64_t{1} << bit; kNewSpaces & flag)
        f.rule(kForbidden, "clone", {masked(kFlags, flag, flag)});
    // Its flags can't be looked at; the C library takes clone() then.
    f.rule(kUnknown, "clone3");
  } else {
    for (const char* call : kPrograms) refuse(call);
    for (const char* call : kFiles) refuse(call);
    allow_threads(f, p);
    for (const std::string& call : p.calls)
      if (!allow_some(f, call, p)) f.allow(call);
  }
  return f.load();
}

}  // namespace rp::tools
