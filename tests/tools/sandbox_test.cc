// SPDX-License-Identifier: BSD-3-Clause
// sandbox_test.cc - what is refused inside, by role and on each thread; what still works.
#include "tools/sandbox/sandbox.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <thread>
#include <vector>

#include "ringplug.h"
#include "tests/tools/child.h"

namespace rp::tools {
namespace {

struct Role {
  const char* name;
  const char* locator;
  bool door;
};

void PrintTo(const Role& r, std::ostream* out) {
  *out << r.name;
}

bool has(const Confinement& c, const std::string& layer) {
  return std::any_of(c.layers.begin(), c.layers.end(),
                     [&](const auto& l) { return l.rfind(layer, 0) == 0; });
}

/// 0 or an errno.
template <typename Result>
int error_of(Result r) {
  return r == static_cast<Result>(-1) ? errno : 0;
}

int try_open(const char* path, int flags = O_RDONLY) {
  const int fd = open(path, flags | O_CLOEXEC, 0600);
  const int error = error_of(fd);
  if (fd >= 0) close(fd);
  return error;
}

int try_namespace(unsigned long flags) {
  const long child = syscall(SYS_clone, flags | SIGCHLD, nullptr, nullptr, nullptr, nullptr);
  if (child == 0) _exit(0);
  const int error = error_of(child);
  if (child > 0) waitpid(static_cast<pid_t>(child), nullptr, 0);
  return error;
}

int try_socket(int family, int type, int protocol = 0) {
  const int fd = socket(family, type | SOCK_CLOEXEC, protocol);
  const int error = error_of(fd);
  if (fd >= 0) close(fd);
  return error;
}

/// Where it succeeds this process ends, with the program's status.
int try_program(const char* program) {
  const char* const argv[] = {program, nullptr};
  const char* const none[] = {nullptr};
  return error_of(execve(argv[0], const_cast<char* const*>(argv), const_cast<char* const*>(none)));
}

std::string line_of(const std::string& key) {
  std::ifstream in("/proc/thread-self/status");
  for (std::string line; std::getline(in, line);)
    if (line.rfind(key + ":\t", 0) == 0) return line.substr(key.size() + 2);
  return "no such line";
}

/// Enters as a process with this one port would, with a thread that runs already; then calls
/// fn(what is in force) on that thread and on this one.
template <typename Fn>
void inside(const Role& role, Fn&& fn) {
  test::in_child([&] {
    Policy policy = own_policy();
    add_locator(policy, role.locator, role.door);
    // For the test's own look at itself, and its reports.
    add_path(policy, "/proc", kReachRead);
    std::atomic<const Confinement*> entered{nullptr};
    std::thread other([&] {
      while (!entered) std::this_thread::yield();
      fn(*entered.load());
    });
    const Confinement c = enter_sandbox(policy);
    entered = &c;
    other.join();
    fn(c);
  });
}

class Inside : public testing::TestWithParam<Role> {};

TEST_P(Inside, rights_are_gone) {
  inside(GetParam(), [](const Confinement& c) {
    ASSERT_TRUE(has(c, "no-new-privs"));
    EXPECT_EQ(line_of("NoNewPrivs"), "1");
    EXPECT_EQ(line_of("CapInh"), "0000000000000000");
    EXPECT_EQ(line_of("CapAmb"), "0000000000000000");
    EXPECT_EQ(line_of("CapEff"), line_of("CapPrm"));
    const unsigned long long all = std::stoull(line_of("CapEff"), nullptr, 16);
    // SYS_PTRACE, SYS_MODULE, SYS_RAWIO, SETUID, SYS_BOOT: nobody's.
    for (const unsigned bit : {19u, 16u, 17u, 7u, 22u}) EXPECT_FALSE(all >> bit & 1) << bit;
  });
}

TEST_P(Inside, no_program_no_ptrace_no_other_process) {
  inside(GetParam(), [](const Confinement& c) {
    if (!has(c, "seccomp")) return;
    EXPECT_EQ(line_of("Seccomp"), "2");
    EXPECT_EQ(try_program("/bin/false"), EPERM);
    EXPECT_EQ(error_of(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)), EPERM);
    EXPECT_EQ(error_of(ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr)), EPERM);
    EXPECT_NE(error_of(kill(getppid(), 0)), 0);
    EXPECT_EQ(error_of(kill(getpid(), 0)), 0);
    EXPECT_EQ(error_of(syscall(SYS_mount, "none", "/tmp", "tmpfs", 0, nullptr)), EPERM);
    EXPECT_EQ(error_of(unshare(CLONE_NEWUSER)), EPERM);
    EXPECT_NE(try_namespace(CLONE_NEWUSER), 0);
    EXPECT_NE(error_of(setns(-1, CLONE_NEWPID)), EBADF);
    EXPECT_EQ(error_of(syscall(SYS_bpf, 0, nullptr, 0)), EPERM);
  });
}

TEST_P(Inside, no_code_is_made) {
  inside(GetParam(), [](const Confinement& c) {
    if (!has(c, "seccomp")) return;
    void* const code =
        mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_EQ(code, MAP_FAILED);
    void* const data =
        mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(data, MAP_FAILED);
    EXPECT_NE(mprotect(data, 4096, PROT_READ | PROT_EXEC), 0);
    munmap(data, 4096);
  });
}

TEST_P(Inside, no_file_of_others) {
  ASSERT_EQ(try_open("/etc/hostname"), 0) << "nothing would be shown";
  inside(GetParam(), [](const Confinement& c) {
    if (!has(c, "landlock")) return;
    EXPECT_EQ(try_open("/etc/shadow"), EACCES);
    EXPECT_EQ(try_open("/bin/true"), EACCES);
    EXPECT_EQ(try_open("/tmp", O_TMPFILE | O_WRONLY), EACCES);
    EXPECT_EQ(try_open("/etc/passwd"), 0);
  });
}

TEST_P(Inside, threads_and_memory_work) {
  inside(GetParam(), [](const Confinement&) {
    int sum = 0;
    std::vector<std::thread> threads;
    std::vector<char> large(64 << 20, 'x');
    threads.emplace_back([&] { sum = 1; });
    threads.back().join();
    EXPECT_EQ(sum, 1);
    EXPECT_EQ(large.back(), 'x');
  });
}

INSTANTIATE_TEST_SUITE_P(Roles, Inside,
                         testing::Values(Role{"null", "null", false}, Role{"slirp", "slirp", false},
                                         Role{"switch", "switch:sandbox-test?start=off", false},
                                         Role{"stream", "stream:127.0.0.1:1", false},
                                         Role{"stream_door", "stream:/tmp/rp-none/s", true},
                                         Role{"vhost_user", "vhost-user:/tmp/rp-none/v", true},
                                         Role{"vde_door", "vde:/tmp/rp-none/d", true},
                                         Role{"eth", "eth:lo", false},
                                         Role{"tap", "tap:rp-none", false}),
                         [](const auto& role) { return role.param.name; });

TEST(Sandbox, sockets_are_those_of_the_mode) {
  inside({"", "null", false}, [](const Confinement& c) {
    if (!has(c, "seccomp")) return;
    EXPECT_EQ(try_socket(AF_UNIX, SOCK_DGRAM), 0);
    EXPECT_EQ(try_socket(AF_UNIX, SOCK_STREAM), ENOSYS) << "the way to the host's services";
    EXPECT_NE(try_socket(AF_INET, SOCK_STREAM), 0);
    EXPECT_NE(try_socket(AF_NETLINK, SOCK_RAW), 0);
  });
  inside({"", "slirp", false}, [](const Confinement& c) {
    if (!has(c, "seccomp")) return;
    EXPECT_EQ(try_socket(AF_INET, SOCK_STREAM), 0);
    EXPECT_EQ(try_socket(AF_INET6, SOCK_DGRAM), 0);
    EXPECT_EQ(try_socket(AF_INET, SOCK_RAW, IPPROTO_TCP), ENOSYS);
    EXPECT_EQ(try_socket(AF_PACKET, SOCK_RAW), ENOSYS);
    EXPECT_EQ(try_socket(AF_UNIX, SOCK_STREAM), ENOSYS);
  });
  inside({"", "stream:/tmp/rp-none", false},
         [](const Confinement&) { EXPECT_EQ(try_socket(AF_UNIX, SOCK_STREAM), 0); });
}

/// A socket of another process without a file, which only a VDE door has a use for.
TEST(Sandbox, abstract_sockets_are_for_vde_clients) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "ringplug-test-%d", getpid());
  const auto* generic = reinterpret_cast<const sockaddr*>(&a);
  const int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(bind(other, generic, sizeof a), 0);
  const auto dial = [&] {
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int error = error_of(connect(fd, generic, sizeof a));
    close(fd);
    return error;
  };
  inside({"", "null", false}, [&](const Confinement& c) {
    if (!has(c, "landlock") || landlock_version() < 6) return;
    EXPECT_EQ(dial(), EPERM);
  });
  inside({"", "vde:/tmp/rp-none/d", true}, [&](const Confinement&) { EXPECT_EQ(dial(), 0); });
  close(other);
}

TEST(Sandbox, a_nat_reads_the_resolver_first_when_it_is_confined) {
  if (access("/etc/resolv.conf", R_OK) != 0) GTEST_SKIP() << "there is no /etc/resolv.conf";
  inside({"", "slirp", false},
         [](const Confinement&) { EXPECT_EQ(try_open("/etc/resolv.conf"), 0); });
}

/// For a role in which programs run, which is what it is for.
TEST(Sandbox, code_of_others_runs_but_traces_nobody) {
  for (const char* locator : {"slirp?guestfwd=tcp:10.0.2.100:80-cmd:/bin/true",
                              "vde:/tmp/rp-none/n", "slirp?isolate=on", "switch:sandbox-test"})
    inside({"", locator, false}, [](const Confinement& c) {
      EXPECT_FALSE(has(c, "landlock"));
      if (!has(c, "seccomp-deny-list")) return;
      EXPECT_EQ(error_of(ptrace(PTRACE_TRACEME, 0, nullptr, nullptr)), EPERM);
      EXPECT_EQ(error_of(syscall(SYS_bpf, 0, nullptr, 0)), EPERM);
      EXPECT_EQ(try_namespace(CLONE_NEWUSER | CLONE_NEWNET), EPERM);
      EXPECT_EQ(try_namespace(0), 0);
      if (static_cast<pid_t>(syscall(SYS_gettid)) == getpid() && !testing::Test::HasFailure()) {
        try_program("/bin/true");
        ADD_FAILURE() << "no program could be run";
      }
    });
}

/// The owner of /proc/PID/environ tells: root of a process that can't be traced or dumped.
TEST(Sandbox, other_processes_of_the_user_can_not_look_in) {
  test::in_child([] {
    constexpr uid_t kNobody = 65534;
    if (geteuid() == 0 && setresuid(kNobody, kNobody, kNobody) != 0) return;
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    struct stat st;
    ASSERT_EQ(stat("/proc/self/environ", &st), 0);
    ASSERT_EQ(st.st_uid, geteuid());
    if (!has(enter_sandbox(own_policy()), "seccomp")) return;
    ASSERT_EQ(stat("/proc/self/environ", &st), 0);
    EXPECT_NE(st.st_uid, geteuid());
  });
}

TEST(Sandbox, what_each_scheme_needs_is_known_here) {
  rp_locators(
      [](void*, const rp_locator_info* i) {
        if (i->option || !*i->example) return;
        for (const bool listens : {false, true}) {
          Policy p;
          EXPECT_NO_THROW(add_locator(p, i->example, listens)) << i->example;
          for (const auto& call : p.calls)
            EXPECT_NE(seccomp_syscall_resolve_name(call.c_str()), __NR_SCMP_ERROR) << call;
        }
      },
      nullptr);
}

TEST(Sandbox, a_locator_that_is_none_is_refused) {
  Policy p;
  EXPECT_ANY_THROW(add_locator(p, "nonsense:x", false));
}

}  // namespace
}  // namespace rp::tools
