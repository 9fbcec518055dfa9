// SPDX-License-Identifier: BSD-3-Clause
// exec.cc - `ringplug exec`: becomes an emulator whose network is the locator.
//
// The locator is not opened here to try it: that would take its ports and devices twice. What can
// be checked without opening is; the rest is the emulator's to report, in our module's words.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tools/command.h"
#include "tools/emulators.h"
#include "tools/schemes.h"

namespace rp::tools {
namespace {

constexpr const char* kPlaceholder = "{}";

/// The whole command line, the program first.
Arguments command_line(const Request& r, const Emulator* emulator) {
  if (!r.nic.empty() && !(emulator && emulator->nic))
    throw Complaint(kUsage, "--nic=" + r.nic + " is for " + emulator_names(true) + ", not for '" +
                                r.program + "'");
  Arguments arguments = r.arguments;
  bool placed = false;
  for (auto& a : arguments) {
    for (std::size_t at = 0; (at = a.find(kPlaceholder, at)) != a.npos; placed = true) {
      const std::string text = emulator ? emulator->text(r) : r.url();
      a.replace(at, std::strlen(kPlaceholder), text);
      at += text.size();
    }
  }
  if (!placed && !emulator)
    throw Complaint(kUsage, "'" + r.program +
                                "' is none of the programs known: " + emulator_names() +
                                "; for another, write {} where ringplug://LOCATOR belongs");
  if (!placed) emulator->apply(r, arguments);
  arguments.insert(arguments.begin(), r.program);
  return arguments;
}

std::string quoted(const std::string& text) {
  return text.find_first_not_of(
             "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
             "-_=+/.,:@%") == text.npos &&
                 !text.empty()
             ? text
             : GText(g_shell_quote(text.c_str())).get();
}

void print(const Arguments& line, const std::optional<Variable>& path) {
  if (path) std::printf("%s=%s ", path->name, quoted(path->value).c_str());
  for (std::size_t i = 0; i < line.size(); ++i)
    std::printf("%s%s", i == 0 ? "" : " ", quoted(line[i]).c_str());
  std::putchar('\n');
}

[[noreturn]] void become(Arguments line, const std::optional<Variable>& path) {
  if (path) setenv(path->name, path->value.c_str(), 1);
  std::vector<char*> argv;
  for (auto& a : line) argv.push_back(a.data());
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  throw Complaint(kFailed, "can't run '" + line[0] + "': " + g_strerror(errno));
}

struct Options {
  bool print = false;
  std::string nic;
  std::string locator;
  /// The program and its arguments.
  Arguments program;
};

constexpr const char* kUsageText = "LOCATOR [--] PROGRAM [ARGUMENTS]";

/// Takes exec's own options, up to the next word that is none.
void take_options(int& argc, char**& argv, Options& o) {
  gboolean print = FALSE;
  char* nic = nullptr;
  const GOptionEntry entries[] = {
      {"nic", 0, 0, G_OPTION_ARG_FILENAME, &nic,
       "The network card, with its properties (default: QEMU virtio-net-pci, Bochs e1000)", "NIC"},
      {"print", 0, 0, G_OPTION_ARG_NONE, &print, "Print the command line instead of running it",
       nullptr},
      {},
  };
  parse_options(
      argc, argv, entries, kUsageText,
      "Runs QEMU, Bochs or user-mode Linux with a network card on the locator, or vde_plug or\n"
      "vdens with the locator as the first argument. With {} among the arguments nothing is\n"
      "added: {} becomes ringplug://LOCATOR (in Bochs, where ethmod= says that much, the locator\n"
      "alone), in any program that uses libvdeplug.\n\n"
      "Example:\n"
      "  ringplug exec slirp -- qemu-system-x86_64 -m 512 -cdrom live.iso",
      true);
  o.print |= print != FALSE;
  if (const std::string named = taken(nic); !named.empty()) o.nic = named;
}

/// Takes exec's own options and the '--' after them, of which GLib leaves some.
void take_options_and_dashes(int& argc, char**& argv, Options& o) {
  take_options(argc, argv, o);
  if (argc > 1 && std::string_view(argv[1]) == "--") --argc, ++argv;
}

/// Options of exec may stand before the locator and after it.
Options parse(int argc, char** argv) {
  Options o;
  take_options_and_dashes(argc, argv, o);
  if (argc < 2) throw Complaint(kUsage, std::string("no locator; usage: exec ") + kUsageText);
  o.locator = argv[1];
  --argc, ++argv;
  take_options_and_dashes(argc, argv, o);
  if (argc < 2)
    throw Complaint(kUsage, "no program after '" + o.locator + "'; usage: exec " + kUsageText);
  o.program.assign(argv + 1, argv + argc);
  return o;
}

}  // namespace

int exec_main(int argc, char** argv) {
  Options options = parse(argc, argv);
  // On QEMU's own command line it starts with this; here it may.
  constexpr std::string_view kUrl = "ringplug://";
  if (options.locator.compare(0, kUrl.size(), kUrl) == 0) options.locator.erase(0, kUrl.size());
  check_locator(options.locator);
  const Request request{options.locator, options.nic, options.program.front(),
                        Arguments(options.program.begin() + 1, options.program.end())};
  const Emulator* emulator = find_emulator(request.program);
  const Arguments line = command_line(request, emulator);
  const auto path = emulator ? emulator->variable() : libvdeplug_variable();
  if (!options.print) become(line, path);
  print(line, path);
  return kDone;
}

}  // namespace rp::tools
