// SPDX-License-Identifier: BSD-3-Clause
// set.cc - `ringplug set`: changes a switch that runs.
#include <charconv>
#include <string_view>

#include "tools/command.h"
#include "tools/control_client.h"
#include "tools/json.h"

namespace rp::tools {
namespace {

std::string request(unsigned number, const std::string& key, const std::string& value) {
  g_autoptr(JsonBuilder) b = json_builder_new();
  json_builder_begin_object(b);
  add_member(b, "command", std::string("set"));
  add_member(b, "number", std::int64_t{number});
  add_member(b, "key", key);
  add_member(b, "value", value);
  json_builder_end_object(b);
  return to_text(b, false);
}

void set(const std::string& name, unsigned number, const std::string& pair) {
  const auto equals = pair.find('=');
  if (equals == 0 || equals == std::string::npos)
    throw Complaint(kUsage, "'" + pair + "' is no KEY=VALUE");
  const auto answer = ask(name, request(number, pair.substr(0, equals), pair.substr(equals + 1)));
  if (!answer)
    throw Complaint(kFailed, "no switch '" + name + "' runs; `ringplug show` lists those that do");
}

}  // namespace

int set_main(int argc, char** argv) {
  const GOptionEntry entries[] = {{}};
  parse_options(argc, argv, entries, "NAME [PORT] KEY=VALUE ...",
                "Changes a switch that runs, or one of its port numbers, which keeps what was set\n"
                "for whoever comes next. `ringplug show NAME` tells the numbers, `ringplug\n"
                "locators '*'` what can be set of a port; of the switch: hub=on|off,\n"
                "mac-ageing=SECONDS, mac-hold=SECONDS, loop-guard=on|off, queue=N, ports=N; of a\n"
                "number also user=, group=, allocatable= and queue=N, frames that wait for a slow\n"
                "reader.\n\n"
                "Example:\n"
                "  ringplug set lan0 3 vlan=10 trunk=20-30");
  if (argc < 3) throw Complaint(kUsage, "usage: set NAME [PORT] KEY=VALUE ...");
  const std::string_view second = argv[2];
  unsigned number = 0;
  int first = 2;
  if (second.find('=') == second.npos) {
    const auto [end, error] = std::from_chars(second.data(), second.data() + second.size(), number);
    if (error != std::errc() || end != second.data() + second.size() || number == 0)
      throw Complaint(kUsage, "'" + std::string(second) +
                                  "' is no port number; `ringplug show` tells those there are");
    ++first;
  }
  if (first == argc) throw Complaint(kUsage, "nothing to set; give KEY=VALUE");
  for (int i = first; i < argc; ++i) set(argv[1], number, argv[i]);
  return kDone;
}

}  // namespace rp::tools
