// SPDX-License-Identifier: BSD-3-Clause
// host.cc - `ringplug nics` and `ringplug doctor`: what this host has, and what it lets us do.
#include <cstdio>
#include <string>
#include <vector>

#include "ringplug.h"
#include "tools/command.h"
#include "tools/json.h"
#include "tools/service.h"
#include "tools/switch_state.h"
#include "tools/table.h"

namespace rp::tools {
namespace {

/// Parses the one option that both have.
bool wants_json(int& argc, char**& argv, const char* about) {
  gboolean json = FALSE;
  const GOptionEntry entries[] = {
      {"json", 0, 0, G_OPTION_ARG_NONE, &json, "Print a JSON array instead of text", nullptr},
      {},
  };
  parse_options(argc, argv, entries, "", about);
  if (argc > 1) throw Complaint(kUsage, std::string("no arguments, got '") + argv[1] + "'");
  return json;
}

struct Nic {
  std::string name, type, kind, driver, bus, evidence, mac;
  std::int64_t index, mtu;
  bool up;
};

std::vector<Nic> nics() {
  std::vector<Nic> all;
  rp_error error = RP_ERROR_INIT;
  check(rp_nics_list(
            [](void* opaque, const rp_nic_info* i) {
              static_cast<std::vector<Nic>*>(opaque)->push_back(
                  {i->name, i->type_name, i->kind, i->driver, i->bus, i->evidence, text_of(i->mac),
                   i->index, i->mtu, i->up != 0});
            },
            &all, &error),
        error);
  return all;
}

void print_nics(const std::vector<Nic>& all) {
  Table table({{"NAME"},
               {"TYPE"},
               {"KIND"},
               {"BUS"},
               {"DRIVER"},
               {"ADDRESS"},
               {"MTU", Table::Align::right},
               {"STATE"},
               {"WHY"}});
  const auto or_dash = [](const std::string& s) { return s.empty() ? std::string("-") : s; };
  for (const Nic& n : all)
    table.add({n.name, n.type, or_dash(n.kind), or_dash(n.bus), or_dash(n.driver), n.mac,
               std::to_string(n.mtu), n.up ? "up" : "down", n.evidence});
  table.print();
}

void print_json(const std::vector<Nic>& all) {
  g_autoptr(JsonBuilder) b = json_builder_new();
  json_builder_begin_array(b);
  for (const Nic& n : all) {
    json_builder_begin_object(b);
    add_member(b, "name", n.name);
    add_member(b, "index", n.index);
    add_member(b, "type", n.type);
    add_member(b, "kind", n.kind);
    add_member(b, "bus", n.bus);
    add_member(b, "driver", n.driver);
    add_member(b, "evidence", n.evidence);
    add_member(b, "mac", n.mac);
    add_member(b, "mtu", n.mtu);
    add_member(b, "up", n.up);
    json_builder_end_object(b);
  }
  json_builder_end_array(b);
  std::puts(to_text(b, true).c_str());
}

struct Finding {
  std::string what, found, remedy;
  bool fine;
};

std::vector<Finding> findings() {
  std::vector<Finding> all;
  rp_error error = RP_ERROR_INIT;
  check(rp_host_examine(
            [](void* opaque, const rp_finding* f) {
              static_cast<std::vector<Finding>*>(opaque)->push_back(
                  {f->what, f->found, f->remedy, f->fine != 0});
            },
            &all, &error),
        error);
  return all;
}

void print_json(const std::vector<Finding>& all) {
  g_autoptr(JsonBuilder) b = json_builder_new();
  json_builder_begin_array(b);
  for (const Finding& f : all) {
    json_builder_begin_object(b);
    add_member(b, "what", f.what);
    add_member(b, "fine", f.fine);
    add_member(b, "found", f.found);
    add_member(b, "remedy", f.remedy);
    json_builder_end_object(b);
  }
  json_builder_end_array(b);
  std::puts(to_text(b, true).c_str());
}

}  // namespace

int nics_main(int argc, char** argv) {
  const bool json = wants_json(argc, argv,
                               "Lists this host's network devices: which are hardware, which a "
                               "hypervisor's or made in\nsoftware, and what tells so.");
  if (json)
    print_json(nics());
  else
    print_nics(nics());
  return kDone;
}

int doctor_main(int argc, char** argv) {
  const bool json = wants_json(argc, argv,
                               "Looks at what this host lets this user do, and says what to run "
                               "where it does not.");
  const auto all = findings();
  if (json) {
    print_json(all);
    return kDone;
  }
  for (const Finding& f : all) {
    std::printf("%-7s %s: %s\n", f.fine ? "fine" : "limited", f.what.c_str(),
                printable(f.found).c_str());
    if (!f.remedy.empty()) std::printf("        mend it: %s\n", printable(f.remedy).c_str());
  }
  return kDone;
}

}  // namespace rp::tools
