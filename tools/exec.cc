// SPDX-License-Identifier: BSD-3-Clause
// exec.cc - `ringplug exec`: becomes an emulator whose network is the locator.
//
// The locator is not opened here to try it: that would take its ports and devices twice. What can
// be checked without opening is; the rest is the emulator's to report, in our module's words.
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "tools/command.h"
#include "tools/module_path.h"
#include "tools/schemes.h"

namespace rp::tools {
namespace {

constexpr const char* kPlaceholder = "{}";
constexpr const char* kDefaultNic = "virtio-net-pci";

using Arguments = std::vector<std::string>;

struct Request {
  std::string locator;
  std::string nic;
  std::string program;
  Arguments arguments;
  std::string url() const { return "ringplug://" + locator; }
};

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

/// QEMU splits options at commas; two stand for one.
std::string for_qemu(const std::string& text) {
  return replaced(text, ",", ",,");
}

bool mentions(const Arguments& arguments, const std::string& what) {
  for (const auto& a : arguments)
    if (a.find(what) != a.npos) return true;
  return false;
}

std::string free_id(const Arguments& arguments) {
  for (int n = 0;; ++n) {
    const std::string id = "ringplug" + std::to_string(n);
    if (!mentions(arguments, id)) return id;
  }
}

void append_netdev(const Request& r, Arguments& arguments) {
  const std::string id = free_id(arguments);
  arguments.insert(arguments.end(),
                   {"-netdev", "vde,id=" + id + ",sock=" + for_qemu(r.url()), "-device",
                    (r.nic.empty() ? kDefaultNic : r.nic) + ",netdev=" + id});
}

void prepend_url(const Request& r, Arguments& arguments) {
  arguments.insert(arguments.begin(), r.url());
}

/// A program that we know how to put on a locator.
struct Recipe {
  const char* name;  ///< a trailing '*' stands for anything
  bool is_qemu;
  void (*apply)(const Request&, Arguments&);
};

constexpr Recipe kRecipes[] = {
    {"qemu-system-*", true, append_netdev}, {"qemu-kvm", true, append_netdev},
    {"kvm", true, append_netdev},           {"vde_plug", false, prepend_url},
    {"vdens", false, prepend_url},
};

const Recipe* find_recipe(const std::string& program) {
  const GText base(g_path_get_basename(program.c_str()));
  for (const Recipe& r : kRecipes)
    if (g_pattern_match_simple(r.name, base.get())) return &r;
  return nullptr;
}

[[noreturn]] void unknown_program(const Request& r) {
  std::string known;
  for (const Recipe& k : kRecipes) known += (known.empty() ? "" : ", ") + std::string(k.name);
  throw Complaint(kUsage, "'" + r.program + "' is none of the programs known: " + known +
                              "; for another, write {} where ringplug://LOCATOR belongs");
}

/// The whole command line, the program first.
Arguments command_line(const Request& r) {
  const Recipe* recipe = find_recipe(r.program);
  if (!r.nic.empty() && !(recipe && recipe->is_qemu))
    throw Complaint(kUsage, "--nic=" + r.nic + " is for QEMU, not for '" + r.program + "'");
  Arguments arguments = r.arguments;
  if (mentions(arguments, kPlaceholder)) {
    const std::string url = recipe && recipe->is_qemu ? for_qemu(r.url()) : r.url();
    for (auto& a : arguments) a = replaced(a, kPlaceholder, url);
  } else if (recipe) {
    recipe->apply(r, arguments);
  } else {
    unknown_program(r);
  }
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

void print(const Arguments& line, const std::optional<std::string>& path) {
  if (path) std::printf("VDEPLUGIN_PATH=%s ", quoted(*path).c_str());
  for (std::size_t i = 0; i < line.size(); ++i)
    std::printf("%s%s", i == 0 ? "" : " ", quoted(line[i]).c_str());
  std::putchar('\n');
}

[[noreturn]] void become(Arguments line, const std::optional<std::string>& path) {
  if (path) setenv("VDEPLUGIN_PATH", path->c_str(), 1);
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
       "QEMU's network card, with its properties (default: virtio-net-pci)", "NIC"},
      {"print", 0, 0, G_OPTION_ARG_NONE, &print, "Print the command line instead of running it",
       nullptr},
      {},
  };
  parse_options(
      argc, argv, entries, "LOCATOR -- PROGRAM [ARGUMENTS]",
      "Runs QEMU with a network card on the locator, or vde_plug or vdens with the locator\n"
      "as the first argument. With {} among the arguments nothing is added: {} becomes\n"
      "ringplug://LOCATOR, in any program that uses libvdeplug.\n\n"
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
  const Arguments line = command_line(request);
  const auto path = wanted_vdeplugin_path();
  if (!options.print) become(line, path);
  print(line, path);
  return kDone;
}

}  // namespace rp::tools
