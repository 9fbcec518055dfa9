// SPDX-License-Identifier: BSD-3-Clause
// show.cc - `ringplug show`: ports, counters and addresses of a switch that runs.
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <map>
#include <sstream>
#include <string_view>

#include "tools/command.h"
#include "tools/control_client.h"
#include "tools/table.h"

namespace rp::tools {
namespace {

using Align = Table::Align;

/// Those that have columns of their own.
constexpr const char* kColumns[] = {"in.frames", "in.bytes", "out.frames", "out.bytes"};

std::string number(JsonObject* o, const char* name) {
  return std::to_string(number_of(o, name));
}

std::string duration(std::int64_t seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%d:%02d:%02d", static_cast<int>(seconds / 3600),
                static_cast<int>(seconds / 60 % 60), static_cast<int>(seconds % 60));
  return text;
}

/// The counters that have no column and are not zero, as "NAME VALUE".
std::vector<std::string> others(JsonObject* counters) {
  std::vector<std::string> words;
  const std::unique_ptr<GList, decltype(&g_list_free)> names(json_object_get_members(counters),
                                                             g_list_free);
  for (const GList* n = names.get(); n; n = n->next) {
    const auto* name = static_cast<const char*>(n->data);
    const bool has_column = std::find(std::begin(kColumns), std::end(kColumns),
                                      std::string_view(name)) != std::end(kColumns);
    if (!has_column && number_of(counters, name) != 0)
      words.push_back(std::string(name) + "=" + number(counters, name));
  }
  return words;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  return {std::istream_iterator<std::string>(in), {}};
}

/// What was set, of a switch or a port number, that is not as it is at first: "KEY=VALUE".
std::vector<std::string> settings(JsonObject* sw, std::int64_t number) {
  constexpr std::pair<std::string_view, std::string_view> kAtFirst[] = {
      {"hub", "off"},       {"mac-ageing", "300"}, {"mac-hold", "0"}, {"ports", "65535"},
      {"vlan", "all"},      {"isolated", "off"},   {"locked", "off"}, {"static", "none"},
      {"user", "any"},      {"group", "any"},      {"trunk", "none"}, {"allocatable", "on"},
      {"queue", "default"}, {"loop-guard", "on"},
  };
  std::vector<std::string> words;
  for (JsonObject* set : objects_of(sw, "settings")) {
    if (number_of(set, "number") != number) continue;
    const std::unique_ptr<GList, decltype(&g_list_free)> keys(json_object_get_members(set),
                                                              g_list_free);
    for (const GList* k = keys.get(); k; k = k->next) {
      const std::string key = static_cast<const char*>(k->data);
      const std::string value = text_of(set, key.c_str());
      const bool as_at_first = std::find(std::begin(kAtFirst), std::end(kAtFirst),
                                         std::pair<std::string_view, std::string_view>(
                                             key, value)) != std::end(kAtFirst);
      if (key != "number" && !as_at_first) words.push_back(key + "=" + value);
    }
  }
  return words;
}

void print_ports(JsonObject* sw) {
  Table table({{"PORT", Align::right},
               {"NAME"},
               {"LINK"},
               {"IN FRAMES", Align::right},
               {"IN BYTES", Align::right},
               {"OUT FRAMES", Align::right},
               {"OUT BYTES", Align::right}});
  for (JsonObject* p : objects_of(sw, "ports")) {
    JsonObject* counters = object_of(p, "counters");
    const auto n = number_of(p, "number");
    std::vector<std::string> row{n ? std::to_string(n) : "-", text_of(p, "name"),
                                 truth_of(p, "link") ? "up" : "down"};
    for (const char* c : kColumns) row.push_back(counters ? number(counters, c) : "-");
    table.add(std::move(row));
    table.note(words_of(text_of(p, "detail")));
    if (n) table.note(settings(sw, n));
    if (counters) table.note(others(counters));
  }
  table.print();
}

void print_addresses(JsonObject* sw) {
  const auto addresses = objects_of(sw, "addresses");
  if (addresses.empty()) return;
  std::map<std::int64_t, std::string> numbers;
  for (JsonObject* p : objects_of(sw, "ports")) numbers[number_of(p, "port")] = number(p, "number");
  Table table({{"ADDRESS"}, {"VLAN", Align::right}, {"PORT"}, {"AGE", Align::right}});
  for (JsonObject* a : addresses)
    table.add({text_of(a, "mac"), number(a, "vlan"),
               text_of(a, "port_name") + " (" + numbers[number_of(a, "port")] + ")",
               truth_of(a, "static") ? "static" : number(a, "age") + " s"});
  std::putchar('\n');
  table.print();
  if (const auto more = number_of(sw, "addresses_omitted"); more > 0)
    std::printf("and %lld more\n", static_cast<long long>(more));
}

void print_switch(JsonObject* sw) {
  std::printf("%s: pid %s, up %s, ringplug %s\nsandbox: %s\n\n",
              printable(text_of(sw, "name")).c_str(), number(sw, "pid").c_str(),
              duration(number_of(sw, "uptime")).c_str(), printable(text_of(sw, "version")).c_str(),
              printable(text_of(sw, "sandbox")).c_str());
  for (const std::string& word : settings(sw, 0)) std::printf("%s\n", printable(word).c_str());
  print_ports(sw);
  print_addresses(sw);
}

void show_one(const std::string& name, bool json) {
  const auto answer = ask(name);
  if (!answer)
    throw Complaint(kFailed, "no switch '" + name + "' runs; `ringplug switch " + name +
                                 "` starts one, `ringplug show` lists those that run");
  if (json)
    std::puts(to_text(answer.get(), true).c_str());
  else
    print_switch(json_node_get_object(answer.get()));
}

/// All that run. One that does not answer is named on stderr: the others are shown all the same.
std::vector<JsonNodeRef> running() {
  std::vector<JsonNodeRef> all;
  for (const auto& name : known_names()) {
    try {
      if (auto answer = ask(name)) all.push_back(std::move(answer));
    } catch (const Complaint& c) {
      std::fprintf(stderr, "%s: %s\n", g_get_prgname(), c.what());
    }
  }
  return all;
}

void print_list(const std::vector<JsonNodeRef>& all) {
  Table table({{"NAME"}, {"PID", Align::right}, {"UP", Align::right}, {"PORTS", Align::right}});
  for (const auto& node : all) {
    JsonObject* sw = json_node_get_object(node.get());
    table.add({text_of(sw, "name"), number(sw, "pid"), duration(number_of(sw, "uptime")),
               std::to_string(objects_of(sw, "ports").size())});
  }
  table.print();
}

void print_json(std::vector<JsonNodeRef> all) {
  JsonArray* array = json_array_new();
  for (auto& node : all) json_array_add_element(array, node.release());
  const JsonNodeRef root(json_node_new(JSON_NODE_ARRAY));
  json_node_take_array(root.get(), array);
  std::puts(to_text(root.get(), true).c_str());
}

void show_all(bool json) {
  auto all = running();
  if (json)
    print_json(std::move(all));
  else if (all.empty())
    std::puts("No switch runs; `ringplug switch NAME` starts one.");
  else if (all.size() == 1)
    print_switch(json_node_get_object(all[0].get()));
  else
    print_list(all);
}

}  // namespace

int show_main(int argc, char** argv) {
  gboolean json = FALSE;
  const GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json,
       "Print JSON: an object; without NAME an array of them", nullptr},
      {},
  };
  parse_options(
      argc, argv, entries, "[NAME]",
      "Shows the ports of a switch, what they counted (drops with their reasons) and the\n"
      "addresses it learned. Without NAME: the one that runs, or a list when several do.");
  if (argc > 2) throw Complaint(kUsage, std::string("one NAME at most, got '") + argv[2] + "' too");
  if (argc == 2)
    show_one(argv[1], json != FALSE);
  else
    show_all(json != FALSE);
  return kDone;
}

}  // namespace rp::tools
