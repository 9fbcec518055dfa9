// SPDX-License-Identifier: BSD-3-Clause
// locators.cc - `ringplug locators`: every scheme and option, for people or as JSON.
#include <algorithm>
#include <cstdio>

#include "tools/command.h"
#include "tools/json.h"
#include "tools/schemes.h"

namespace rp::tools {
namespace {

constexpr std::size_t kWidth = 100;
/// Wider cells don't widen their column: the rest of the row goes to the next line.
constexpr std::size_t kWidestOption = 32, kWidestDefault = 20;

struct Columns {
  std::size_t option = sizeof "OPTION", fallback = sizeof "DEFAULT";
};

std::string cell(const SchemeOption& o) {
  return o.name + "=" + o.syntax;
}

Columns measure(const std::vector<Scheme>& all) {
  Columns c;
  for (const Scheme& s : all) {
    for (const SchemeOption& o : s.options) {
      if (cell(o).size() <= kWidestOption) c.option = std::max(c.option, cell(o).size());
      if (o.fallback.size() <= kWidestDefault) c.fallback = std::max(c.fallback, o.fallback.size());
    }
  }
  return c;
}

/// Prints text from column `at` on, broken between words.
void print_wrapped(const std::string& text, std::size_t at) {
  std::size_t column = at;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::size_t length = end - begin;
    if (begin != 0 && column + 1 + length > kWidth) {
      std::printf("\n%*s", static_cast<int>(at), "");
      column = at;
    } else if (begin != 0) {
      std::putchar(' ');
      ++column;
    }
    std::fwrite(text.data() + begin, 1, length, stdout);
    column += length;
    begin = end + 1;
  }
  std::putchar('\n');
}

/// Prints a cell and pads to its column; a wide one ends its line.
void print_cell(const std::string& text, std::size_t indent, std::size_t width) {
  if (text.size() <= width)
    std::printf("%-*s  ", static_cast<int>(width), text.c_str());
  else
    std::printf("%s\n%*s", text.c_str(), static_cast<int>(indent + width + 2), "");
}

void print_row(const std::string& option, const std::string& fallback, const std::string& text,
               const Columns& c) {
  std::printf("  ");
  print_cell(option, 2, c.option);
  print_cell(fallback, 2 + c.option + 2, c.fallback);
  print_wrapped(text, 2 + c.option + 2 + c.fallback + 2);
}

std::string syntax(const Scheme& s) {
  return s.name + (s.target.empty() ? "" : ":" + s.target) +
         (s.options.empty() ? "" : "[?OPTION=VALUE[&OPTION=VALUE...]]");
}

void print_scheme(const Scheme& s, const Columns& c) {
  std::printf("%s - %s\n", s.name.c_str(), s.summary.c_str());
  std::printf("  syntax   %s\n", syntax(s).c_str());
  std::printf("  example  %s\n", s.example.c_str());
  if (s.options.empty()) return;
  std::putchar('\n');
  print_row("OPTION", "DEFAULT", "WHAT IT DOES", c);
  for (const SchemeOption& o : s.options)
    print_row(cell(o), o.fallback.empty() ? "-" : o.fallback, o.text, c);
}

void print_text(const std::vector<Scheme>& all) {
  const Columns columns = measure(all);
  for (const Scheme& s : all) {
    if (&s != &all.front()) std::putchar('\n');
    print_scheme(s, columns);
  }
}

void add_option(JsonBuilder* b, const SchemeOption& o) {
  json_builder_begin_object(b);
  add_member(b, "name", o.name);
  add_member(b, "syntax", o.syntax);
  add_member(b, "default", o.fallback);
  add_member(b, "text", o.text);
  json_builder_end_object(b);
}

void add_scheme(JsonBuilder* b, const Scheme& s) {
  json_builder_begin_object(b);
  add_member(b, "scheme", s.name);
  add_member(b, "target", s.target);
  add_member(b, "summary", s.summary);
  add_member(b, "example", s.example);
  begin_array(b, "options");
  for (const SchemeOption& o : s.options) add_option(b, o);
  json_builder_end_array(b);
  json_builder_end_object(b);
}

void print_json(const std::vector<Scheme>& all) {
  g_autoptr(JsonBuilder) builder = json_builder_new();
  json_builder_begin_array(builder);
  for (const Scheme& s : all) add_scheme(builder, s);
  json_builder_end_array(builder);
  std::puts(to_text(builder, true).c_str());
}

}  // namespace

int locators_main(int argc, char** argv) {
  gboolean json = FALSE;
  const GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print a JSON array instead of text", nullptr},
      {},
  };
  parse_options(argc, argv, entries, "[SCHEME]",
                "A locator names a network: SCHEME[:TARGET][?OPTION=VALUE[&OPTION=VALUE...]]. An\n"
                "'&' or '%' inside a value is written as in a URI: %26, %25.");
  if (argc > 2)
    throw Complaint(kUsage, std::string("one SCHEME at most, got '") + argv[2] + "' too");
  auto all = schemes();
  if (argc == 2) all = {Scheme(find_scheme(all, argv[1]))};
  if (json)
    print_json(all);
  else
    print_text(all);
  return kDone;
}

}  // namespace rp::tools
