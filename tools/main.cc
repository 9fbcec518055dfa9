// SPDX-License-Identifier: BSD-3-Clause
// main.cc - the `ringplug` command: finds the subcommand, reports what went wrong.
#include <fcntl.h>
#include <locale.h>

#include <cerrno>
#include <cstdio>
#include <string_view>

#include "ringplug.h"
#include "tools/command.h"

namespace rp::tools {
namespace {

struct Command {
  const char* name;
  const char* summary;
  int (*main)(int argc, char** argv);
};

constexpr Command kCommands[] = {
    {"doctor", "tell what this host lets you do, and what to run where it does not", doctor_main},
    {"exec", "run an emulator, or another libvdeplug program, on a locator", exec_main},
    {"locators", "list the schemes of locators and their options", locators_main},
    {"netns", "run a command in a network of its own that hangs on a locator", netns_main},
    {"nics", "list this host's network devices, and which are hardware", nics_main},
    {"set", "change a switch that runs: VLANs, isolation, who may use a port", set_main},
    {"show", "tell what a switch that runs is doing", show_main},
    {"switch", "run a switch with a name, uplinks and doors", switch_main},
    {"vhost-user", "serve one vhost-user socket, as QEMU's conventions want it", vhost_user_main},
};

void print_help(std::FILE* to) {
  std::fputs(
      "Usage:\n"
      "  ringplug COMMAND [ARGUMENTS]\n"
      "  ringplug --help | --version\n\n"
      "Commands:\n",
      to);
  for (const Command& c : kCommands) std::fprintf(to, "  %-11s %s\n", c.name, c.summary);
  std::fputs(
      "\n`ringplug COMMAND --help` tells more. Exit codes: 0 done, 1 failed, 2 wrong usage.\n", to);
}

const Command& find_command(const std::string& name) {
  std::string known;
  for (const Command& c : kCommands) {
    if (name == c.name) return c;
    known += known.empty() ? "" : ", ";
    known += c.name;
  }
  throw Complaint(kUsage, "unknown command '" + name + "'; accepted: " + known);
}

int run(const Command& command, int argc, char** argv) {
  // GOption's help names the program by this.
  g_set_prgname((std::string("ringplug ") + command.name).c_str());
  return command.main(argc, argv);
}

int dispatch(int argc, char** argv) {
  // A link to the program by such a name is one command of it, as others start programs by path.
  constexpr std::string_view kLink = "ringplug-";
  const GText called(g_path_get_basename(argc > 0 ? argv[0] : ""));
  if (g_str_has_prefix(called.get(), kLink.data()))
    return run(find_command(called.get() + kLink.size()), argc, argv);
  const std::string first = argc > 1 ? argv[1] : "";
  if (first.empty()) {
    print_help(stderr);
    return kUsage;
  }
  if (first == "--help" || first == "-h") {
    print_help(stdout);
    return kDone;
  }
  if (first == "--version") {
    std::printf("ringplug %s\n", rp_version());
    return kDone;
  }
  return run(find_command(first), argc - 1, argv + 1);
}

/// A descriptor below 3 that is closed would become a socket of ours, and be written to. What is
/// put there refuses as before.
void occupy_standard_descriptors() {
  for (int fd = 0; fd < 3; ++fd)
    if (fcntl(fd, F_GETFD) < 0) open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/// Output that could not be written is a failure, as on a full disk.
int finish(int code) {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
  throw Complaint(kFailed, std::string("writing the output: ") + g_strerror(errno));
}

}  // namespace

void parse_options(int& argc, char**& argv, const GOptionEntry* entries, const char* usage,
                   const char* about, bool only_leading) {
  const std::unique_ptr<GOptionContext, decltype(&g_option_context_free)> context(
      g_option_context_new(usage), g_option_context_free);
  g_option_context_add_main_entries(context.get(), entries, nullptr);
  g_option_context_set_description(context.get(), about);
  g_option_context_set_strict_posix(context.get(), only_leading);
  GError* error = nullptr;
  if (g_option_context_parse(context.get(), &argc, &argv, &error)) return;
  const std::string sentence = error->message;
  g_error_free(error);
  throw Complaint(kUsage, sentence + "; `" + g_get_prgname() + " --help` lists the options");
}

}  // namespace rp::tools

int main(int argc, char** argv) {
  using namespace rp::tools;
  occupy_standard_descriptors();
  setlocale(LC_ALL, "");  // GLib's help text has characters that ASCII lacks
  g_set_prgname("ringplug");
  try {
    return finish(dispatch(argc, argv));
  } catch (const Complaint& c) {
    std::fprintf(stderr, "%s: %s\n", g_get_prgname(), c.what());
    return c.code();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", g_get_prgname(), e.what());
    return kFailed;
  }
}
