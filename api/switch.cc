// SPDX-License-Identifier: BSD-3-Clause
// switch.cc - rp_switch_*, rp_locators and rp_version.
#include <string>

#include "api/guard.h"
#include "api/objects.h"
#include "api/options.h"
#include "backend/modes.h"
#include "config.h"

using namespace rp;
using namespace rp::api;

namespace rp::api {

backend::Loop::Options loop_options(const rp_switch_options& o) {
  backend::Loop::Options l;
  l.own_thread = o.host_loop == 0;
  l.poll = std::chrono::microseconds(o.poll_us >= 0 ? o.poll_us : l.own_thread ? 20 : 0);
  if (o.mac_entries) l.macs.entries = o.mac_entries;
  if (o.mac_ageing) l.macs.ageing = std::chrono::seconds(o.mac_ageing);
  return l;
}

void add_locator(Fabric& fabric, const char* locator, rp_port* port) {
  if (!locator) throw Error(Errc::invalid, "the locator is NULL");
  const auto parsed = backend::parse_locator(locator);
  auto opened = backend::open_port(parsed, {fabric.log, backend::Loop::now()});
  // Options may hold what others need not know.
  const auto name = parsed.has_target ? parsed.scheme + ":" + parsed.target : parsed.scheme;
  const auto id =
      fabric.with_loop([&](backend::Loop& loop) { return loop.add(std::move(opened), name); });
  if (port) *port = id;
}

void count(Fabric& fabric, rp_counter_fn fn, void* opaque) {
  if (!fn) throw Error(Errc::invalid, "the callback is NULL");
  struct Row {
    sw::PortId port;
    std::string port_name, counter;
    std::uint64_t value;
  };
  std::vector<Row> rows;
  const auto collect = [&](sw::Switch& s) {
    s.report([&](sw::PortId port, const std::string& port_name, std::string_view counter,
                 std::uint64_t value) {
      rows.push_back({port, port_name, std::string(counter), value});
    });
  };
  fabric.with_loop([&](backend::Loop& loop) { loop.call(collect); });
  // Without the lock: fn may call back into ringplug.
  for (const Row& r : rows) fn(opaque, r.port, r.port_name.c_str(), r.counter.c_str(), r.value);
}

}  // namespace rp::api

namespace {

void check(const rp_switch* sw) {
  if (!sw) throw Error(Errc::invalid, "the switch is NULL");
  if (!sw->here())
    throw Error(Errc::closed, "the switch belongs to the process that made it, before fork()");
}

}  // namespace

extern "C" {

const char* rp_version(void) {
  return RP_VERSION;
}

void rp_locators(void (*fn)(void*, const rp_locator_info*), void* opaque) {
  if (!fn) return;
  guarded(nullptr, [&] {
    for (const backend::Mode& m : backend::modes()) {
      rp_locator_info info{sizeof info,
                           m.scheme.data(),
                           m.target.data(),
                           m.summary.data(),
                           m.example.data(),
                           nullptr,
                           "",
                           "",
                           ""};
      fn(opaque, &info);
      m.each_option([&](const OptionDoc& o) {
        info.option = o.name.data();
        info.syntax = o.syntax.data();
        info.fallback = o.fallback.data();
        info.text = o.summary.data();
        fn(opaque, &info);
      });
    }
  });
}

int rp_switch_new(const rp_switch_options* options, rp_switch** out, rp_error* err) {
  return guarded(err, [&] {
    if (!out) throw Error(Errc::invalid, "the place for the switch is NULL");
    const auto o = versioned(options, rp_switch_options RP_SWITCH_OPTIONS_INIT);
    auto sw = std::make_unique<rp_switch>();
    sw->host_loop = o.host_loop != 0;
    sw->fabric = std::make_shared<Fabric>(loop_options(o), Log(o.log, o.log_opaque));
    *out = sw.release();
  });
}

void rp_switch_free(rp_switch* sw) {
  if (!sw || !sw->here()) return;
  sw->fabric->close();
  delete sw;
}

int rp_switch_add(rp_switch* sw, const char* locator, rp_port* port, rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    add_locator(*sw->fabric, locator, port);
  });
}

int rp_switch_remove(rp_switch* sw, rp_port port, rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    if (!sw->fabric->remove(port))
      throw Error(Errc::unknown, "the switch has no port " + std::to_string(port));
  });
}

int rp_switch_fd(const rp_switch* sw) {
  return sw && sw->host_loop && sw->here() ? sw->fabric->host_side().fd() : -1;
}

void rp_switch_dispatch(rp_switch* sw) {
  if (sw && sw->host_loop && sw->here()) sw->fabric->host_side().dispatch();
}

int rp_switch_counters(rp_switch* sw, rp_counter_fn fn, void* opaque, rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    count(*sw->fabric, fn, opaque);
  });
}

}  // extern "C"
