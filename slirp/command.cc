// SPDX-License-Identifier: BSD-3-Clause
// command.cc - the nameless listener and the silent spawn.
#include "slirp/command.h"

#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace rp::slirp {
namespace {

/// libslirp connects while it blocks; a full backlog would stop the switch's thread. No guest has
/// that many flows.
constexpr int kBacklog = 4096;
/// Connections accepted in one call.
constexpr int kAcceptBudget = 64;

struct alignas(16) SpawnArgs {
  const char* program;
  char** argv;
  int connection;
};

/// The command itself: a fresh process image. Only async-signal-safe calls.
int run_command(void* opaque) {
  const auto* a = static_cast<const SpawnArgs*>(opaque);
  setsid();
  if (dup2(a->connection, 0) < 0 || dup2(a->connection, 1) < 0) _exit(127);
  syscall(SYS_close_range, 3u, ~0u, 0u);
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; ++s) sigaction(s, &standard, nullptr);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execv(a->program, a->argv);
  _exit(127);
}

constexpr std::size_t kStack = 64 * 1024;

/// Runs in the intermediate, which shares the host's memory until it exits.
int run_intermediate(void* opaque) {
  auto* stack = static_cast<char*>(opaque) + sizeof(SpawnArgs);
  clone(run_command, stack + kStack, CLONE_VM | CLONE_VFORK | SIGCHLD, opaque);
  _exit(0);
}

/// Binds a listener in a directory that exists only for a moment. `inode` keeps the socket
/// reachable through /proc/self/fd.
Fd listen_nameless(Fd& inode) {
  std::array<char, 32> dir{"/tmp/rp-cmd-XXXXXX"};
  if (!mkdtemp(dir.data())) throw_errno("making a directory in /tmp", errno);
  const std::string path = std::string(dir.data()) + "/s";
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::memcpy(a.sun_path, path.c_str(), path.size());
  Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int error = 0;
  if (!listener || bind(listener.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 ||
      listen(listener.get(), kBacklog) != 0)
    error = errno;
  if (error == 0) {
    inode.reset(open(path.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
    if (!inode) error = errno;
  }
  unlink(path.c_str());
  rmdir(dir.data());
  if (error != 0) throw_errno("making a socket for the command", error);
  return listener;
}

}  // namespace

Command::Command(const std::string& command_line) {
  GError* error = nullptr;
  int argc = 0;
  if (!g_shell_parse_argv(command_line.c_str(), &argc, &argv_, &error)) {
    const std::string why = error->message;
    g_error_free(error);
    throw Error(Errc::invalid, "the command can't be parsed: " + why);
  }
  char* program = g_find_program_in_path(argv_[0]);
  if (!program) {
    const std::string name = argv_[0];
    g_strfreev(argv_);
    throw Error(Errc::not_found, "no program '" + name + "'");
  }
  program_ = program;
  g_free(program);
  try {
    listener_ = listen_nameless(inode_);
  } catch (...) {
    g_strfreev(argv_);
    throw;
  }
  path_ = "/proc/self/fd/" + std::to_string(inode_.get());
}

Command::~Command() {
  g_strfreev(argv_);
}

void Command::accept() noexcept {
  for (int n = 0; n < kAcceptBudget; ++n) {
    const Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) return;
    // Stacks for both clones behind the arguments, in one block.
    auto* block = static_cast<char*>(g_try_malloc(sizeof(SpawnArgs) + 2 * kStack));
    if (!block) return;
    *reinterpret_cast<SpawnArgs*>(block) = {program_.c_str(), argv_, connection.get()};
    // No exit signal: the host never hears of the intermediate.
    const int pid = clone(run_intermediate, block + sizeof(SpawnArgs) + 2 * kStack,
                          CLONE_VM | CLONE_VFORK, block);
    if (pid > 0) {
      while (waitpid(pid, nullptr, static_cast<int>(__WCLONE)) < 0 && errno == EINTR) {
      }
    }
    g_free(block);
  }
}

}  // namespace rp::slirp
