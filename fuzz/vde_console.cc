// SPDX-License-Identifier: BSD-3-Clause
// vde_console.cc - vde_switch's management commands, line by line, on a switch with some ports.
//
// Invariant: each line gets one well-formed answer, data only between its two marks, a status of
// four digits and a prompt; nothing in it but printable ASCII and newlines. `load` and `shutdown`
// reach out of the switch, and are left out.
#include "tools/vde_console.h"

#include "fuzz/harness.h"

namespace {

using rp::fuzz::Input;

constexpr std::string_view kBegin = "0000 DATA END WITH '.'\n", kPrompt = "\nvde$ ";

void check_answer(const std::string& text) {
  for (const char c : text) RP_CHECK(c == '\n' || (c >= ' ' && c <= '~'));
  RP_CHECK(text.ends_with(kPrompt));
  std::string_view rest(text);
  rest.remove_suffix(kPrompt.size());
  if (rest.empty()) return;  // a comment, or nothing
  if (rest.starts_with(kBegin)) {
    const auto end = rest.rfind("\n.\n");
    RP_CHECK(end != rest.npos || rest.substr(kBegin.size()).starts_with(".\n"));
    rest = rest.substr(end == rest.npos ? kBegin.size() + 2 : end + 3);
  }
  RP_CHECK(rest.size() > 6 && rest[0] == '1' && rest.ends_with('\n'));
  RP_CHECK(rest.find('\n') == rest.size() - 1);
  for (int i = 1; i < 4; ++i)
    RP_CHECK(rest[static_cast<std::size_t>(i)] >= '0' && rest[static_cast<std::size_t>(i)] <= '9');
}

rp_switch* make_switch() {
  rp_switch_options options = RP_SWITCH_OPTIONS_INIT;
  options.host_loop = 1;
  options.mac_entries = 64;
  rp_error error = RP_ERROR_INIT;
  rp_switch* sw = nullptr;
  RP_CHECK(rp_switch_new(&options, &sw, &error) == RP_OK);
  for (int i = 0; i < 3; ++i) RP_CHECK(rp_switch_add(sw, "null", nullptr, &error) == RP_OK);
  return sw;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rp_switch* const sw = make_switch();
  {
    rp::tools::VdeConsole console(sw, "fuzz", "/fuzz", 0);
    Input in(data, size);
    for (int lines = 0; !in.empty() && lines < 40; ++lines) {
      const auto end = std::find(data + (size - in.left()), data + size, '\n');
      const std::string line = in.text(static_cast<std::size_t>(end - (data + (size - in.left()))));
      in.byte();
      if (line.find("load") != line.npos || line.find("shutdown") != line.npos) continue;
      const auto reply = console.answer(line);
      if (reply.last)
        RP_CHECK(reply.text == "9999 END OF SESSION");
      else
        check_answer(reply.text);
    }
  }
  rp_switch_free(sw);
  return 0;
}
