// SPDX-License-Identifier: BSD-3-Clause
// netns.cc - `ringplug netns`: runs a command in a network of its own that hangs on a locator.
//
// The command's process is made first, while there is one thread: it takes namespaces of its own
// and waits. The switch is then made here, with a door in that process' network, and the command
// starts once the door has its address. No rights are needed: whoever makes a user namespace has
// them all inside.
#include <fcntl.h>
#include <glib-unix.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include "tools/command.h"
#include "tools/service.h"

namespace rp::tools {
namespace {

constexpr int kPatienceMs = 10000, kLookMs = 5;
/// As shells have it.
constexpr int kNotFound = 127, kNotRunnable = 126, kBySignal = 128;

struct Request {
  std::string locator;
  std::string door;  ///< options of the door, joined by '&'
  std::vector<std::string> dns;
  char** command = nullptr;
  bool resolver = true, sandbox = true;
};

std::string joined(const char* key, const std::vector<std::string>& values) {
  std::string text;
  for (const auto& v : values)
    text += std::string("&") + key + "=" + GText(g_uri_escape_string(v.c_str(), "/:", FALSE)).get();
  return text;
}

Request parse(int argc, char** argv) {
  char **addresses = nullptr, **gateways = nullptr, **dns = nullptr, *name = nullptr;
  int mtu = 0;
  gboolean keep_resolver = FALSE, no_sandbox = FALSE;
  const GOptionEntry entries[] = {
      {"address", 0, 0, G_OPTION_ARG_STRING_ARRAY, &addresses,
       "Have this address, instead of asking the network for one; may be given again", "IP/LENGTH"},
      {"gateway", 0, 0, G_OPTION_ARG_STRING_ARRAY, &gateways, "Send what goes elsewhere there",
       "IP"},
      {"dns", 0, 0, G_OPTION_ARG_STRING_ARRAY, &dns, "Ask this name server; may be given again",
       "IP"},
      {"mtu", 0, 0, G_OPTION_ARG_INT, &mtu, "The device's MTU (default: 1500)", "BYTES"},
      {"name", 0, 0, G_OPTION_ARG_STRING, &name, "The device's name (default: eth0)", "NAME"},
      {"keep-resolv-conf", 0, 0, G_OPTION_ARG_NONE, &keep_resolver,
       "Leave /etc/resolv.conf as it is", nullptr},
      no_sandbox_option(no_sandbox),
      {},
  };
  parse_options(
      argc, argv, entries, "LOCATOR -- COMMAND [ARGUMENTS]",
      "Runs the command in a network namespace of its own, with one device on the locator\n"
      "and a resolver that fits. Takes no rights: the command is root in there, and you\n"
      "outside. Ends with the command's exit code.\n\n"
      "Example:\n"
      "  ringplug netns slirp -- curl https://example.org/");
  Request r;
  r.door = joined("address", taken(addresses)) + joined("gateway", taken(gateways));
  if (mtu != 0) r.door += "&mtu=" + std::to_string(mtu);
  if (const std::string n = taken(name); !n.empty()) r.door += joined("name", {n});
  r.dns = taken(dns);
  r.resolver = !keep_resolver;
  r.sandbox = no_sandbox == FALSE;
  if (argc < 2) throw Complaint(kUsage, "no locator; usage: netns LOCATOR -- COMMAND [ARGUMENTS]");
  if (argc > 2)
    throw Complaint(kUsage, std::string("'") + argv[2] +
                                "' after the locator; the command follows a '--', and options of "
                                "netns come before that");
  r.locator = argv[1];
  return r;
}

/// The ends of a pipe.
struct Pipe {
  int read_end = -1, write_end = -1;
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
      throw Complaint(kFailed, std::string("making a pipe: ") + g_strerror(errno));
    read_end = ends[0];
    write_end = ends[1];
  }
  Pipe(Pipe&&) = delete;
  ~Pipe() {
    close_end(read_end);
    close_end(write_end);
  }
  static void close_end(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }
};

bool write_file(const char* path, const std::string& text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  const bool done =
      fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) close(fd);
  return done;
}

/// In the child, which has one thread: namespaces of its own, root in them. Throws Complaint.
void enter_namespaces() {
  const auto fail = [](const char* what, const char* remedy) {
    throw Complaint(kFailed, std::string(what) + ": " + g_strerror(errno) + remedy);
  };
  const std::string uid = std::to_string(geteuid()), gid = std::to_string(getegid());
  const bool root = geteuid() == 0;
  if (!root && unshare(CLONE_NEWUSER) != 0)
    fail("making a user namespace",
         "; allow them: sysctl user.max_user_namespaces=10000 kernel.unprivileged_userns_clone=1, "
         "or run as root");
  if (!root) {
    write_file("/proc/self/setgroups", "deny");
    if (!write_file("/proc/self/uid_map", "0 " + uid + " 1") ||
        !write_file("/proc/self/gid_map", "0 " + gid + " 1"))
      fail("becoming root of a user namespace", "");
  }
  if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0) fail("making a network namespace", "");
  if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
    fail("making mounts private", "");
}

/// In the child: `text` becomes what its resolver reads. The file lies in a file system that has no
/// other place, so nothing is left behind, whatever ends whom.
void replace_resolver(const std::string& text) {
  char real[PATH_MAX];
  if (!realpath("/etc/resolv.conf", real)) return;  // a resolver without a file asks 127.0.0.1
  constexpr const char *kHere = "/tmp", *kFile = "/tmp/resolv.conf";
  const bool mounted = mount("ringplug", kHere, "tmpfs", MS_NOSUID | MS_NODEV, "size=64k") == 0;
  const int fd = mounted ? open(kFile, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644) : -1;
  const bool done = fd >= 0 &&
                    write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                    fchmod(fd, 0644) == 0 && mount(kFile, real, nullptr, MS_BIND, nullptr) == 0;
  const int why = errno;
  if (fd >= 0) close(fd);
  if (mounted) umount2(kHere, MNT_DETACH);
  if (!done)
    throw Complaint(kFailed, std::string("replacing ") + real + ": " + g_strerror(why) +
                                 "; --keep-resolv-conf leaves it as it is");
}

/// The child's life up to the command. `ready` hears of the namespaces, `go` says what the
/// resolver is to read, with a newline more, or nothing but the end: then nothing starts.
[[noreturn]] void child(char** command, Pipe& ready, Pipe& go) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Pipe::close_end(ready.read_end);
  Pipe::close_end(go.write_end);
  try {
    enter_namespaces();
    [[maybe_unused]] auto n = write(ready.write_end, "+", 1);
    std::string text;
    char part[256];
    while ((n = read(go.read_end, part, sizeof part)) > 0)
      text.append(part, static_cast<std::size_t>(n));
    if (text.empty()) _exit(kFailed);
    text.pop_back();
    if (!text.empty()) replace_resolver(text);
    execvp(command[0], command);
    const int why = errno;
    std::fprintf(stderr, "%s: can't run '%s': %s\n", g_get_prgname(), command[0], g_strerror(why));
    _exit(why == ENOENT ? kNotFound : kNotRunnable);
  } catch (const Complaint& c) {
    std::fprintf(stderr, "%s: %s\n", g_get_prgname(), c.what());
  }
  _exit(kFailed);
}

/// The words of the door that start with `key`, as "dns=".
std::vector<std::string> told(const std::string& detail, const std::string& key) {
  std::vector<std::string> values;
  std::istringstream words(detail);
  for (std::string w; words >> w;)
    if (w.compare(0, key.size(), key) == 0) values.push_back(w.substr(key.size()));
  return values;
}

std::string detail_of(rp_switch* sw, rp_port port) {
  std::pair<rp_port, std::string> found{port, ""};
  rp_error error = RP_ERROR_INIT;
  check(rp_switch_ports(
            sw,
            [](void* opaque, const rp_port_info* info) {
              auto& f = *static_cast<std::pair<rp_port, std::string>*>(opaque);
              if (info->port == f.first) f.second = info->detail;
            },
            &found, &error),
        error);
  return found.second;
}

/// Waits until the door has an address; returns its detail.
std::string wait_for_address(rp_switch* sw, rp_port port, const std::string& locator) {
  for (int waited = 0; waited < kPatienceMs; waited += kLookMs) {
    std::string detail = detail_of(sw, port);
    if (!told(detail, "address=").empty()) return detail;
    g_usleep(kLookMs * 1000);
  }
  throw Complaint(kFailed, "nobody on " + locator +
                               " gives out addresses (DHCP); say one: --address=IP/LENGTH");
}

/// What resolv.conf(5) is to say; empty: the network told of no name server.
std::string resolver_text(const std::vector<std::string>& servers,
                          const std::vector<std::string>& search) {
  std::string text;
  for (const auto& s : servers) text += "nameserver " + s + "\n";
  for (const auto& s : search)
    if (!text.empty()) text += "search " + s + "\n";
  return text;
}

/// Kills a child that has not been told to go, however this ends.
struct Leash {
  pid_t pid;
  ~Leash() {
    if (pid > 0) {
      kill(pid, SIGKILL);
      waitpid(pid, nullptr, 0);
    }
  }
};

int exit_code(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : kBySignal + WTERMSIG(status);
}

/// Waits for the child's end; a signal that ends us is passed on to it.
int wait_for(pid_t pid, Service& service, bool sandbox) {
  struct End {
    GMainLoop* loop;
    int status = 0;
  } end{g_main_loop_new(nullptr, FALSE)};
  g_child_watch_add(
      pid,
      [](GPid, gint status, gpointer opaque) {
        auto* e = static_cast<End*>(opaque);
        e->status = status;
        g_main_loop_quit(e->loop);
      },
      &end);
  service.on_signal([pid] { kill(pid, SIGTERM); });
  service.policy().signalled.insert(pid);
  for (const char* call : {"wait4", "waitid"}) service.policy().calls.insert(call);
  service.confine(sandbox);
  g_main_loop_run(end.loop);
  g_main_loop_unref(end.loop);
  return exit_code(end.status);
}

}  // namespace

int netns_main(int argc, char** argv) {
  int dashes = 1;
  while (dashes < argc && std::string(argv[dashes]) != "--") ++dashes;
  if (dashes + 1 >= argc && dashes < argc) throw Complaint(kUsage, "no command after '--'");
  char** const command = argv + dashes + 1;
  const Request r = parse(dashes, argv);
  if (dashes == argc)
    throw Complaint(kUsage,
                    "no '--' after the locator; usage: netns LOCATOR -- COMMAND [ARGUMENTS]");
  Pipe ready, go;
  const pid_t pid = fork();
  if (pid < 0) throw Complaint(kFailed, std::string("starting a process: ") + g_strerror(errno));
  if (pid == 0) child(command, ready, go);
  Leash leash{pid};
  Pipe::close_end(ready.write_end);
  Pipe::close_end(go.read_end);
  char byte;
  if (read(ready.read_end, &byte, 1) != 1) {
    leash.pid = -1;
    int status = 0;
    waitpid(pid, &status, 0);
    return exit_code(status);  // it has said why
  }
  Service service(RP_SWITCH_OPTIONS_INIT, g_get_prgname());
  service.add_uplinks({r.locator});
  std::string door = "netns:" + std::to_string(pid) + r.door;
  if (const auto first = door.find('&'); first != door.npos) door[first] = '?';
  rp_port port = 0;
  rp_error error = RP_ERROR_INIT;
  check(rp_switch_listen(service.get(), door.c_str(), &port, &error), error);
  add_locator(service.policy(), door, true);
  const std::string detail = wait_for_address(service.get(), port, r.locator);
  const auto servers = r.dns.empty() ? told(detail, "dns=") : r.dns;
  const std::string message =
      (r.resolver ? resolver_text(servers, told(detail, "search=")) : "") + "\n";
  if (write(go.write_end, message.data(), message.size()) < 0)
    throw Complaint(kFailed, std::string("starting the command: ") + g_strerror(errno));
  Pipe::close_end(go.write_end);
  leash.pid = -1;
  return wait_for(pid, service, r.sandbox);
}

}  // namespace rp::tools
