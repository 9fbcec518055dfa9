// SPDX-License-Identifier: BSD-3-Clause
// switch.cc - `ringplug switch`: a switch as a process, found by its name.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <string_view>

#include "tools/command.h"
#include "tools/line_server.h"
#include "tools/report.h"
#include "tools/service.h"
#include "tools/vde_console.h"
#include "tools/vde_switch_options.h"

namespace rp::tools {
namespace {

constexpr int kNotGiven = G_MININT;

struct Request {
  std::string name;
  std::vector<std::string> uplinks, doors;
  std::vector<std::pair<std::string, std::string>> settings;
  std::string mgmt, rc_file;
  int ready_fd = kNotGiven;
  bool one_off = false, on_demand = false, sandbox = true;
  rp_switch_options options = RP_SWITCH_OPTIONS_INIT;
};

/// Where others join the switch by its name.
std::string own_door(const std::string& name) {
  return "switch:" + name;
}

/// The value of a numeric option that must be at least `least`, or what is taken when not given.
int at_least(int least, int value, const char* option, int otherwise) {
  if (value == kNotGiven) return otherwise;
  if (value >= least) return value;
  throw Complaint(kUsage, std::string(option) + "=" + std::to_string(value) +
                              ": must be at least " + std::to_string(least));
}

Request parse(int argc, char** argv) {
  char **uplinks = nullptr, **doors = nullptr;
  gboolean one_off = FALSE, on_demand = FALSE, no_sandbox = FALSE;
  char *mgmt = nullptr, *rc_file = nullptr;
  int ready_fd = kNotGiven, poll_us = kNotGiven, entries = kNotGiven, ageing = kNotGiven;
  VdeSwitchOptions as_vde_switch;
  std::vector<GOptionEntry> table = {
      {"uplink", 'u', 0, G_OPTION_ARG_FILENAME_ARRAY, &uplinks,
       "Where frames go out; may be given again", "LOCATOR"},
      {"door", 'd', 0, G_OPTION_ARG_FILENAME_ARRAY, &doors,
       "Where emulators come in: it listens there; may be given again", "LOCATOR"},
      {"ready-fd", 0, 0, G_OPTION_ARG_INT, &ready_fd,
       "Write `ready` to this descriptor as well, and close it", "N"},
      {"one-off", 0, 0, G_OPTION_ARG_NONE, &one_off,
       "End when the last who came in by a door has gone", nullptr},
      {"on-demand", 0, 0, G_OPTION_ARG_NONE, &on_demand,
       "The same, and switch:NAME starts it again when it is killed", nullptr},
      {"poll-us", 0, 0, G_OPTION_ARG_INT, &poll_us,
       "Busy time before sleeping, microseconds (default: 20)", "N"},
      {"mac-entries", 0, 0, G_OPTION_ARG_INT, &entries, "Most addresses learned (default: 4096)",
       "N"},
      {"mgmt", 'M', 0, G_OPTION_ARG_FILENAME, &mgmt,
       "Serve vde_switch's management commands on this socket, for vdeterm", "PATH"},
      {"rcfile", 'f', 0, G_OPTION_ARG_FILENAME, &rc_file,
       "Run the management commands of this file first", "FILE"},
      {"mac-ageing", 0, 0, G_OPTION_ARG_INT, &ageing,
       "Forget an address unused for so long (default: 300)", "SECONDS"},
      no_sandbox_option(no_sandbox),
  };
  for (const GOptionEntry& e : as_vde_switch.entries()) table.push_back(e);
  table.push_back({});
  parse_options(argc, argv, table.data(), "NAME",
                "Runs a switch until SIGTERM, SIGINT or SIGHUP. Says `ready` on stdout when every\n"
                "door listens. `ringplug show NAME` tells what it does, the locator switch:NAME\n"
                "joins it from any program.\n\n"
                "Example:\n"
                "  ringplug switch lan0 --uplink slirp --door vhost-user:/tmp/vm0.sock");
  Request r;
  r.uplinks = taken(uplinks);
  r.doors = taken(doors);
  for (auto& uplink : as_vde_switch.uplinks()) r.uplinks.push_back(std::move(uplink));
  for (auto& door : as_vde_switch.doors()) r.doors.push_back(std::move(door));
  r.settings = as_vde_switch.settings();
  r.mgmt = taken(mgmt);
  r.on_demand = on_demand != FALSE;
  r.one_off = r.on_demand || one_off != FALSE;
  r.sandbox = no_sandbox == FALSE;
  r.rc_file = taken(rc_file);
  r.ready_fd = at_least(3, ready_fd, "--ready-fd", kNotGiven);
  r.options.poll_us = at_least(0, poll_us, "--poll-us", r.options.poll_us);
  r.options.mac_entries = static_cast<std::uint32_t>(at_least(1, entries, "--mac-entries", 0));
  r.options.mac_ageing = static_cast<std::uint32_t>(at_least(1, ageing, "--mac-ageing", 0));
  if (argc < 2) throw Complaint(kUsage, "no name; usage: switch NAME [--uplink LOCATOR] ...");
  if (argc > 2)
    throw Complaint(kUsage, std::string("one NAME, got '") + argv[2] +
                                "' too; locators follow --uplink or --door");
  r.name = argv[1];
  if (r.on_demand && !(r.uplinks.empty() && r.doors.empty() && r.settings.empty() &&
                       r.mgmt.empty() && r.rc_file.empty()))
    throw Complaint(kUsage, "--on-demand: who starts it again knows nothing but its name");
  for (const auto& uplink : r.uplinks)
    if (uplink == own_door(r.name))
      throw Complaint(kUsage, "--uplink=" + uplink + " is the switch itself: frames would circle");
  return r;
}

/// Ends the process, as a signal would, once all visitors have gone, or none has come.
class Visitors {
 public:
  static void tell(void* self, std::size_t n) {
    auto& v = *static_cast<Visitors*>(self);
    v.came_.store(true);
    if (n == 0) end(nullptr);
  }
  void wait_for_the_first() {
    constexpr guint kPatience = 10;
    g_timeout_add_seconds(
        kPatience,
        [](gpointer self) -> gboolean {
          return static_cast<Visitors*>(self)->came_.load() ? G_SOURCE_REMOVE : end(nullptr);
        },
        this);
  }

 private:
  static gboolean end(gpointer) {
    kill(getpid(), SIGTERM);
    return G_SOURCE_REMOVE;
  }
  std::atomic<bool> came_{false};
};

/// The descriptor that hears of readiness besides stdout; its end without a word says that the
/// switch could not start.
class ReadyFd {
 public:
  explicit ReadyFd(int fd) : fd_(fd) {
    if (fd_ != kNotGiven && fcntl(fd_, F_SETFD, FD_CLOEXEC) != 0)
      throw Complaint(kUsage, "--ready-fd=" + std::to_string(fd_) + ": " + g_strerror(errno));
  }

  void tell() {
    if (std::puts("ready") < 0 || std::fflush(stdout) != 0) fail("stdout");
    if (fd_ == kNotGiven) return;
    constexpr std::string_view kReady = "ready\n";
    if (write(fd_, kReady.data(), kReady.size()) < 0) fail("--ready-fd");
    close(fd_);
  }

 private:
  [[noreturn]] static void fail(const char* where) {
    throw Complaint(kFailed, std::string("saying `ready` on ") + where + ": " + g_strerror(errno));
  }
  int fd_;
};

/// The management socket of a console.
class ManagementDoor {
 public:
  ManagementDoor(rp_switch* sw, const std::string& path, VdeConsole& console) {
    rp_error error = RP_ERROR_INIT;
    int fd = -1;
    check(rp_switch_manage(sw, path.c_str(), &fd, &error), error);
    server_.emplace(fd, LineServer::Options{console.greeting(), 0, true},
                    [&](const std::string& line) { return console.answer(line); });
  }

 private:
  std::optional<LineServer> server_;
};

void apply_settings(rp_switch* sw,
                    const std::vector<std::pair<std::string, std::string>>& settings) {
  for (const auto& [key, value] : settings) {
    rp_error error = RP_ERROR_INIT;
    check(rp_switch_set(sw, 0, key.c_str(), value.c_str(), &error), error);
  }
}

int publish(const Service& service, const std::string& name) {
  int control = -1;
  rp_error error = RP_ERROR_INIT;
  check(rp_switch_publish(service.get(), name.c_str(), &control, &error), error);
  return control;
}

/// The command `load` reads what lies beside the console's socket and beside the file it began
/// with.
void let_console_reach(Policy& policy, const Request& r) {
  const auto folder = [](const std::string& path) {
    return std::string(GText(g_path_get_dirname(path.c_str())).get());
  };
  if (!r.mgmt.empty()) add_path(policy, folder(r.mgmt), kReachRead | kReachRemove);
  if (!r.mgmt.empty() && !r.rc_file.empty()) add_path(policy, folder(r.rc_file), kReachRead);
}

}  // namespace

int switch_main(int argc, char** argv) {
  Request r = parse(argc, argv);
  const gint64 start = g_get_monotonic_time();
  ReadyFd ready(r.ready_fd);
  Visitors visitors;
  if (r.one_off) {
    r.options.visitors = Visitors::tell;
    r.options.visitors_opaque = &visitors;
  }
  Service service(r.options, std::string(g_get_prgname()) + " " + r.name);
  // The name comes first: who loses it must touch no device.
  const int control = publish(service, r.name);
  apply_settings(service.get(), r.settings);
  service.add_uplinks(r.uplinks);
  service.open_doors(r.doors);
  // Last, so that who joins by name finds the rest in place.
  service.open_doors({own_door(r.name) + (r.on_demand ? "?on-demand=on" : "")});
  constexpr unsigned kPatience = 10;
  const LineServer server(control, {"", kPatience}, [&](const std::string& request) {
    return LineServer::Reply{answer(service.get(), r.name, start, service.sandbox(), request) +
                             "\n"};
  });
  VdeConsole console(service.get(), r.name, r.mgmt, start);
  if (!r.rc_file.empty()) console.load(r.rc_file);
  std::optional<ManagementDoor> management;
  if (!r.mgmt.empty()) management.emplace(service.get(), r.mgmt, console);
  let_console_reach(service.policy(), r);
  service.confine(r.sandbox);
  ready.tell();
  if (r.one_off) visitors.wait_for_the_first();
  service.run();
  return kDone;
}

}  // namespace rp::tools
