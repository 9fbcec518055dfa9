// SPDX-License-Identifier: BSD-3-Clause
// service.cc - signals, limits, and the switch between them.
#include "tools/service.h"

#include <glib-unix.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "tools/command.h"
#include "tools/sandbox/sandbox.h"

namespace rp::tools {
namespace {

void raise_descriptor_limit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void log_line(void* name, int level, const char* sentence) {
  if (level == RP_LOG_DEBUG) return;
  std::fprintf(stderr, "%s: %s\n", static_cast<std::string*>(name)->c_str(), sentence);
}

/// A guest that cuts its memory short loses its port; whatever else raises this ends us as ever.
void on_sigbus(int signal, siginfo_t* info, void*) {
  if (rp_handle_sigbus(info->si_addr)) return;
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  sigaction(signal, &standard, nullptr);
}

void survive_lost_memory() {
  struct sigaction action {};
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGBUS, &action, nullptr);
}

/// As nohup has it; a blocked signal would come through all the same.
bool ignored(int signal) {
  struct sigaction now;
  return sigaction(signal, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

gboolean quit(gint, GIOCondition, gpointer loop) {
  g_main_loop_quit(static_cast<GMainLoop*>(loop));
  return G_SOURCE_REMOVE;
}

}  // namespace

Signals::Signals() {
  sigset_t ends;
  sigemptyset(&ends);
  for (int s : {SIGTERM, SIGINT, SIGHUP})
    if (!ignored(s)) sigaddset(&ends, s);
  fd_ = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd_ < 0) throw Complaint(kFailed, std::string("making a signalfd: ") + g_strerror(errno));
  sigaddset(&ends, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  survive_lost_memory();
}

Signals::~Signals() {
  close(fd_);
}

Service::Service(rp_switch_options options, std::string name) : name_(std::move(name)) {
  raise_descriptor_limit();
  options.log = log_line;
  options.log_opaque = &name_;
  rp_error error = RP_ERROR_INIT;
  rp_switch* made = nullptr;
  check(rp_switch_new(&options, &made, &error), error);
  switch_.reset(made);
}

void Service::add_uplinks(const std::vector<std::string>& locators) {
  rp_error error = RP_ERROR_INIT;
  for (const auto& l : locators) {
    check(rp_switch_add(switch_.get(), l.c_str(), nullptr, &error), error);
    add_locator(policy_, l, false);
  }
}

void Service::open_doors(const std::vector<std::string>& locators) {
  rp_error error = RP_ERROR_INIT;
  for (const auto& l : locators) {
    check(rp_switch_listen(switch_.get(), l.c_str(), nullptr, &error), error);
    add_locator(policy_, l, true);
  }
}

void Service::confine(bool wanted) {
  if (!wanted) return;
  const Confinement entered = enter_sandbox(policy_);
  for (const auto& m : entered.missing) log_line(&name_, RP_LOG_INFO, m.c_str());
  if (!entered.layers.empty()) sandbox_ = entered.text();
}

void Service::on_signal(std::function<void()> fn) {
  on_signal_ = std::move(fn);
  g_unix_fd_add(
      signals_.fd(), G_IO_IN,
      [](gint fd, GIOCondition, gpointer self) -> gboolean {
        signalfd_siginfo which;
        while (read(fd, &which, sizeof which) > 0) {
        }
        static_cast<Service*>(self)->on_signal_();
        return G_SOURCE_CONTINUE;
      },
      this);
}

void Service::run() {
  const std::unique_ptr<GMainLoop, decltype(&g_main_loop_unref)> loop(
      g_main_loop_new(nullptr, FALSE), g_main_loop_unref);
  g_unix_fd_add(signals_.fd(), G_IO_IN, quit, loop.get());
  g_main_loop_run(loop.get());
}

GOptionEntry no_sandbox_option(gboolean& off) {
  return {"no-sandbox",
          0,
          0,
          G_OPTION_ARG_NONE,
          &off,
          "Give up no rights, files and system calls; docs/sandbox.md says which it would",
          nullptr};
}

void check(int code, const rp_error& error) {
  if (code == RP_OK) return;
  throw Complaint(code == RP_EINVALID || code == RP_EUNKNOWN ? kUsage : kFailed, error.message);
}

std::vector<std::string> taken(char** strings) {
  std::vector<std::string> all;
  for (char** s = strings; s && *s; ++s) all.emplace_back(*s);
  g_strfreev(strings);
  return all;
}

}  // namespace rp::tools
