// SPDX-License-Identifier: BSD-3-Clause
// command.cc - the silent spawn.
#include "slirp/command.h"

#include <fcntl.h>
#include <glib.h>
#include <sched.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "base/error.h"
#include "base/fresh_image.h"
#include "slirp/flows.h"

namespace rp::slirp {
namespace {

/// Connections accepted in one call.
constexpr int kAcceptBudget = 64;

struct alignas(16) SpawnArgs {
  const char* program;
  char** argv;
  int connection;
  int pidfd;  ///< out: of the command
};

/// The command itself: a fresh process image. Only async-signal-safe calls.
int run_command(void* opaque) {
  const auto* a = static_cast<const SpawnArgs*>(opaque);
  setsid();
  // Out of the way first: a host that has closed its own stdin may have been given its number.
  const int connection = fcntl(a->connection, F_DUPFD, 3);
  if (dup2(connection, 0) < 0 || dup2(connection, 1) < 0) _exit(127);
  become(a->program, a->argv, 3);
  _exit(127);
}

constexpr std::size_t kStack = 64 * 1024;

/// Runs in the intermediate, which shares the host's memory and descriptors until it exits, so that
/// the pidfd is the host's.
int run_intermediate(void* opaque) {
  auto* stack = static_cast<char*>(opaque) + sizeof(SpawnArgs);
  auto* a = static_cast<SpawnArgs*>(opaque);
  clone(run_command, stack + kStack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, opaque,
        &a->pidfd);
  _exit(0);
}

}  // namespace

Command::Command(const std::string& command_line, std::size_t most) : most_(most) {
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
}

Command::~Command() {
  for (const Fd& p : running_) syscall(SYS_pidfd_send_signal, p.get(), SIGHUP, nullptr, 0);
  g_strfreev(argv_);
}

void Command::watch(PollSet& polls, bool accept) {
  if (accept && running_.size() < most_) polls.add(listener_.fd(), SLIRP_POLL_IN);
  for (const Fd& p : running_) polls.add(p.get(), SLIRP_POLL_IN);
}

void Command::run(PollSet& polls) noexcept {
  std::erase_if(running_, [&](const Fd& p) {
    if (!polls.revents(p.get())) return false;
    polls.drop(p.get());
    // It is ours to bury only where the host is the reaper of orphans.
    siginfo_t info;
    waitid(P_PIDFD, static_cast<id_t>(p.get()), &info, WEXITED | WNOHANG | __WALL);
    return true;
  });
  if (polls.revents(listener_.fd())) accept();
}

void Command::accept() noexcept {
  for (int n = 0; n < kAcceptBudget && running_.size() < most_; ++n) {
    if (Flows::descriptors_scarce()) return;
    const Fd connection = listener_.accept(0);
    if (!connection) return;
    spawn(connection.get());
  }
}

void Command::spawn(int connection) noexcept {
  // Stacks for both clones behind the arguments, in one block.
  auto* block = static_cast<char*>(g_try_malloc(sizeof(SpawnArgs) + 2 * kStack));
  if (!block) return;
  auto* args = new (block) SpawnArgs{program_.c_str(), argv_, connection, -1};
  // No exit signal: the host never hears of the intermediate.
  const int pid = clone(run_intermediate, block + sizeof(SpawnArgs) + 2 * kStack,
                        CLONE_VM | CLONE_FILES | CLONE_VFORK, block);
  if (pid > 0) {
    while (waitpid(pid, nullptr, static_cast<int>(__WCLONE)) < 0 && errno == EINTR) {
    }
  }
  if (args->pidfd >= 0) running_.emplace_back(args->pidfd);
  g_free(block);
}

}  // namespace rp::slirp
