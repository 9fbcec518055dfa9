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
};

/// Parses what stands before the '--'.
Options parse(int argc, char** argv) {
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
      argc, argv, entries, "LOCATOR -- PROGRAM [ARGUMENTS]",
      "Runs QEMU, Bochs or user-mode Linux with a network card on the locator, or vde_plug or\n"
      "vdens with the locator as the first argument. With {} among the arguments nothing is\n"
      "added: {} becomes ringplug://LOCATOR (in Bochs, where ethmod= says that much, the locator\n"
      "alone), in any program that uses libvdeplug.\n\n"
      "Example:\n"
      "  ringplug exec slirp -- qemu-system-x86_64 -m 512 -cdrom live.iso");
  Options o{print != FALSE, nic ? nic : "", argc > 1 ? argv[1] : ""};
  g_free(nic);
  if (argc < 2) throw Complaint(kUsage, "no locator; usage: exec LOCATOR -- PROGRAM [ARGUMENTS]");
  if (argc > 2)
    throw Complaint(kUsage, std::string("'") + argv[2] +
                                "' after the locator; the program follows a '--', and options of "
                                "exec come before that");
  return o;
}

}  // namespace

int exec_main(int argc, char** argv) {
  int dashes = 1;
  while (dashes < argc && std::string(argv[dashes]) != "--") ++dashes;
  Options options = parse(dashes, argv);
  if (dashes == argc)
    throw Complaint(kUsage,
                    "no '--' after the locator; usage: exec LOCATOR -- PROGRAM [ARGUMENTS]");
  if (dashes + 1 == argc) throw Complaint(kUsage, "no program after '--'");
  // On QEMU's own command line it starts with this; here it may.
  constexpr std::string_view kUrl = "ringplug://";
  if (options.locator.compare(0, kUrl.size(), kUrl) == 0) options.locator.erase(0, kUrl.size());
  check_locator(options.locator);
  const Request request{options.locator, options.nic, argv[dashes + 1],
                        Arguments(argv + dashes + 2, argv + argc)};
  const Emulator* emulator = find_emulator(request.program);
  const Arguments line = command_line(request, emulator);
  const auto path = emulator ? emulator->variable() : libvdeplug_variable();
  if (!options.print) become(line, path);
  print(line, path);
  return kDone;
}

}  // namespace rp::tools
