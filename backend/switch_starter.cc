// SPDX-License-Identifier: BSD-3-Clause
// switch_starter.cc - finds the command, runs it, listens until it says `ready`.
#include "backend/switch_starter.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <glib.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <sstream>

#include "base/orphan.h"
#include "config.h"

namespace rp::backend {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(10);
constexpr std::string_view kReady = "ready\n";

/// Where the line begins that says so; npos: nowhere. Log lines may stand before and after it.
std::size_t ready_at(const std::string& said) {
  for (auto at = said.find(kReady); at != said.npos; at = said.find(kReady, at + 1))
    if (at == 0 || said[at - 1] == '\n') return at;
  return said.npos;
}

bool runs(const std::string& path) {
  return access(path.c_str(), X_OK) == 0;
}

/// The command of our own version: in the tree that this library was built in, else where it was
/// installed, else wherever it is found. Throws Error.
std::string command() {
  Dl_info here;
  if (dladdr(reinterpret_cast<const void*>(&start_switch), &here) != 0 && here.dli_fname) {
    std::error_code ignored;
    const auto library = std::filesystem::canonical(here.dli_fname, ignored);
    const std::string built = library.parent_path().parent_path() / "tools" / "ringplug";
    if (!ignored && runs(built)) return built;
  }
  if (runs(RP_COMMAND)) return RP_COMMAND;
  char* const found = g_find_program_in_path("ringplug");
  const std::string path = found ? found : "";
  g_free(found);
  if (path.empty())
    throw Error(Errc::not_found, std::string("there is no program ") + RP_COMMAND +
                                     " to start it, nor `ringplug` on the PATH");
  return path;
}

/// What the program says until it is ready, has ended, or the time is over.
std::string listen_to(int fd, int stop) {
  const auto end = Clock::now() + kPatience;
  std::string said;
  std::array<char, 512> part;
  while (ready_at(said) == said.npos) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd p[] = {{fd, POLLIN, 0}, {stop, POLLIN, 0}};
    const int n = left > 0 ? poll(p, 2, static_cast<int>(left)) : 0;
    if (n < 0 && errno == EINTR) continue;
    if (n > 0 && p[1].revents) return said + "it is being left";
    if (n <= 0) return said + "it is not ready after 10 seconds";
    const ssize_t got = read(fd, part.data(), part.size());
    if (got <= 0) return said;
    said.append(part.data(), static_cast<std::size_t>(got));
  }
  return said;
}

}  // namespace

void start_switch(const std::string& name, const Log& log, const std::string& uplink, int stop) {
  const std::string what = "starting switch '" + name + "'";
  const std::string program = command();
  int pipe[2];
  if (pipe2(pipe, O_CLOEXEC) != 0) throw_errno(what, errno);
  const Fd hears(pipe[0]);
  Fd says(pipe[1]);
  // A log line after that is lost: nobody would be there to read it.
  const std::string option = "--uplink=" + uplink;
  const char* argv[] = {program.c_str(),
                        "switch",
                        name.c_str(),
                        "--ready-fd=3",
                        uplink.empty() ? "--on-demand" : "--one-off",
                        uplink.empty() ? nullptr : option.c_str(),
                        nullptr};
  const Inherited inherited[] = {{says.get(), 2}, {says.get(), 3}};
  start_orphan(argv, inherited, what);
  says.reset();
  std::string said = listen_to(hears.get(), stop);
  if (const auto at = ready_at(said); at != said.npos) {
    std::istringstream lines(said.erase(at, kReady.size()));
    for (std::string line; std::getline(lines, line);) log.info(line);
    return;
  }
  if (said.find("runs already") != said.npos) return;
  while (said.ends_with('\n')) said.pop_back();
  throw Error(Errc::system, what + ": " + (said.empty() ? program + " ended at once" : said));
}

vhost_user::Restart restart_when_killed(const std::string& name, const Log& log) {
  return [name, log](const vhost_user::Gone& gone) {
    if (!gone.on_demand || !gone.killed) return false;
    start_switch(name, log, {}, gone.stop);
    return true;
  };
}

std::string private_name(const std::string& prefix) {
  std::array<unsigned char, 8> random;
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size()))
    throw_errno("no random name", errno);
  std::string name = prefix + '-' + std::to_string(getpid()) + '-';
  for (const unsigned b : random) name += static_cast<char>('a' + b % 26);
  return name;
}

}  // namespace rp::backend
