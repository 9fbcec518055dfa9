// SPDX-License-Identifier: BSD-3-Clause
// every_thread.cc - the list of threads, the signal, the handler.
#include "tools/sandbox/every_thread.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <set>
#include <string>
#include <system_error>
#include <thread>

namespace rp::tools {
namespace {

using namespace std::chrono_literals;

constexpr int kSignal = SIGBUS;
constexpr auto kPatience = 2s;
constexpr auto kLook = 100us;

/// What the handler is to do; it has no other way to know.
struct Task {
  int (*fn)(void*) = nullptr;
  void* opaque = nullptr;
  struct sigaction before {};
  std::atomic<unsigned> done{0};
  std::atomic<int> error{0};
} task;

void handle(int signal, siginfo_t* info, void* context) {
  const int error = errno;
  if (info->si_code == SI_QUEUE && info->si_pid == getpid() && info->si_value.sival_ptr == &task) {
    int none = 0;
    if (const int failed = task.fn(task.opaque)) task.error.compare_exchange_strong(none, failed);
    task.done.fetch_add(1);
  } else if (task.before.sa_flags & SA_SIGINFO) {
    task.before.sa_sigaction(signal, info, context);
  } else if (task.before.sa_handler != SIG_IGN) {
    sigaction(signal, &task.before, nullptr);  // happens again, without us
  }
  errno = error;
}

std::set<pid_t> threads() {
  std::set<pid_t> all;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", ignored)) {
    const std::string name = entry.path().filename();
    pid_t tid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), tid).ec == std::errc())
      all.insert(tid);
  }
  return all;
}

bool signal_thread(pid_t tid) {
  siginfo_t info{};
  info.si_code = SI_QUEUE;
  info.si_pid = getpid();
  info.si_uid = getuid();
  info.si_value.sival_ptr = &task;
  return syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, kSignal, &info) == 0;
}

/// False: it did not come to it in time. A thread that has ended has nothing to do.
bool run_on(pid_t tid) {
  const unsigned before = task.done.load();
  if (!signal_thread(tid)) return true;
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (task.done.load() == before) {
    if (syscall(SYS_tgkill, getpid(), tid, 0) != 0) return true;
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(kLook);
  }
  return true;
}

}  // namespace

int on_every_thread(int (*fn)(void*), void* opaque) {
  task.fn = fn;
  task.opaque = opaque;
  task.error = 0;
  struct sigaction ours {};
  ours.sa_sigaction = handle;
  ours.sa_flags = SA_SIGINFO | SA_RESTART;
  if (sigaction(kSignal, &ours, &task.before) != 0) return errno;
  std::set<pid_t> reached{static_cast<pid_t>(syscall(SYS_gettid))};
  bool late = false;
  for (bool news = true; news && !late;) {
    news = false;
    for (const pid_t tid : threads()) {
      if (!reached.insert(tid).second) continue;
      news = true;
      late = late || !run_on(tid);
    }
  }
  // What a late thread is still to get must find its handler.
  if (!late) sigaction(kSignal, &task.before, nullptr);
  const int own = fn(opaque);
  if (task.error.load() != 0) return task.error.load();
  return own != 0 ? own : late ? ETIMEDOUT : 0;
}

}  // namespace rp::tools
