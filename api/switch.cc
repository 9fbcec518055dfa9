// SPDX-License-Identifier: BSD-3-Clause
// switch.cc - rp_switch_*, rp_locators and rp_version.
#include <algorithm>
#include <cstring>
#include <string>

#include "api/guard.h"
#include "api/objects.h"
#include "api/options.h"
#include "backend/lost_memory.h"
#include "backend/modes.h"
#include "backend/settings.h"
#include "base/runtime_dir.h"
#include "base/unix_socket.h"
#include "config.h"

using namespace rp;
using namespace rp::api;

namespace rp::api {

backend::Loop::Options loop_options(const rp_switch_options& o) {
  backend::Loop::Options l;
  l.own_thread = o.host_loop == 0;
  l.poll = std::chrono::microseconds(o.poll_us >= 0 ? o.poll_us : l.own_thread ? 20 : 0);
  if (o.visitors)
    l.visitors = [f = o.visitors, opaque = o.visitors_opaque](std::size_t n) { f(opaque, n); };
  if (o.mac_entries) l.macs.entries = o.mac_entries;
  if (o.mac_ageing) l.macs.ageing = std::chrono::seconds(o.mac_ageing);
  return l;
}

backend::Locator locator_of(const char* text) {
  if (!text) throw Error(Errc::invalid, "the locator is NULL");
  return backend::parse_locator(text);
}

void add_locator(Fabric& fabric, backend::Locator l, bool door, rp_port* port) {
  const sw::PortPolicy policy = backend::take_policy(l);
  auto opened = backend::open_port(l, {fabric.log, backend::Loop::now(), door});
  // Options may hold what others need not know.
  const auto name = l.has_target ? l.scheme + ":" + l.target : l.scheme;
  const auto id = fabric.with_loop(
      [&](backend::Loop& loop) { return loop.add(std::move(opened), name, policy); });
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

/// Connections that may wait until the host accepts them.
constexpr int kControlBacklog = 128;

void check(const rp_switch* sw) {
  if (!sw) throw Error(Errc::invalid, "the switch is NULL");
  if (!sw->here())
    throw Error(Errc::closed, "the switch belongs to the process that made it, before fork()");
}

template <typename Fn>
void check(const rp_switch* sw, Fn* fn) {
  check(sw);
  if (!fn) throw Error(Errc::invalid, "the callback is NULL");
}

/// Runs fn(switch) on the switch's thread. Throws what that throws.
template <typename Fn>
void on_thread_of(const rp_switch* sw, Fn&& fn) {
  sw->fabric->with_loop([&](backend::Loop& loop) { loop.call(fn); });
}

std::string text_of(const char* given, const char* what) {
  if (!given) throw Error(Errc::invalid, std::string(what) + " is NULL");
  return given;
}

UnixListener listen_for(const std::string& name) {
  const auto address = unix_address(runtime_path(name, ".control"), "the control socket");
  try {
    return UnixListener(address, kControlBacklog, "the control socket");
  } catch (const Error& e) {
    if (e.code() != Errc::busy) throw;
    throw Error(Errc::busy, "a switch '" + name + "' runs already: " + e.what());
  }
}

}  // namespace

extern "C" {

const char* rp_version(void) {
  return RP_VERSION;
}

int rp_handle_sigbus(const void* address) {
  return backend::replace_lost_memory(address) ? 1 : 0;
}

void rp_locators(void (*fn)(void*, const rp_locator_info*), void* opaque) {
  if (!fn) return;
  guarded(nullptr, [&] {
    const auto tell = [&](rp_locator_info info, auto&& each_option) {
      fn(opaque, &info);
      each_option([&](const OptionDoc& o) {
        info.option = o.name.data();
        info.syntax = o.syntax.data();
        info.fallback = o.fallback.data();
        info.text = o.summary.data();
        fn(opaque, &info);
      });
    };
    for (const backend::Mode& m : backend::modes())
      tell({sizeof(rp_locator_info), m.scheme.data(), m.target.data(), m.summary.data(),
            m.example.data(), nullptr, "", "", ""},
           m.each_option);
    tell({sizeof(rp_locator_info), "*", "", "of any port of a switch, whatever its scheme",
          "slirp?isolated=on", nullptr, "", "", ""},
         [](auto&& option) {
           for (const auto& o : backend::port_options()) option(o);
         });
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
    add_locator(*sw->fabric, locator_of(locator), false, port);
  });
}

int rp_switch_listen(rp_switch* sw, const char* locator, rp_port* port, rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    add_locator(*sw->fabric, locator_of(locator), true, port);
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

int rp_switch_ports(rp_switch* sw, rp_port_fn fn, void* opaque, rp_error* err) {
  return guarded(err, [&] {
    check(sw, fn);
    struct Row {
      rp_port_info info;
      std::string name, detail;
    };
    std::vector<Row> rows;
    const auto collect = [&](sw::Switch& s) {
      s.each_port([&](sw::PortId id) {
        const sw::Port& port = *s.port(id);
        rows.push_back(
            {{sizeof(rp_port_info), id, nullptr, port.link_up() ? 1 : 0, nullptr, s.number(id)},
             std::string(s.name(id)),
             port.describe()});
      });
    };
    on_thread_of(sw, collect);
    for (Row& r : rows) {
      r.info.name = r.name.c_str();
      r.info.detail = r.detail.c_str();
      fn(opaque, &r.info);
    }
  });
}

int rp_switch_addresses(rp_switch* sw, rp_address_fn fn, void* opaque, rp_error* err) {
  return guarded(err, [&] {
    check(sw, fn);
    std::vector<rp_address_info> rows;
    const auto collect = [&](sw::Switch& s) {
      s.each_address(backend::Loop::now(), [&](const sw::MacTable::Entry& e) {
        rp_address_info info{sizeof info, {}, e.vlan, e.port, e.age_s, e.is_static ? 1 : 0};
        std::copy(e.mac.bytes.begin(), e.mac.bytes.end(), info.mac);
        rows.push_back(info);
      });
    };
    on_thread_of(sw, collect);
    for (const rp_address_info& info : rows) fn(opaque, &info);
  });
}

int rp_switch_set(rp_switch* sw, unsigned number, const char* key, const char* value,
                  rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    const std::string k = text_of(key, "the key");
    const std::string v =
        number ? backend::with_ids(k, text_of(value, "the value")) : text_of(value, "the value");
    const auto set = [&](sw::Switch& s) { backend::set(s, number, k, v); };
    on_thread_of(sw, set);
  });
}

int rp_switch_forget(rp_switch* sw, unsigned number, rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    const auto forget = [&](sw::Switch& s) { s.forget_policy(number); };
    on_thread_of(sw, forget);
  });
}

int rp_switch_settings(rp_switch* sw, rp_setting_fn fn, void* opaque, rp_error* err) {
  return guarded(err, [&] {
    check(sw, fn);
    struct Row {
      unsigned number;
      std::string key, value;
    };
    std::vector<Row> rows;
    const auto collect = [&](sw::Switch& s) {
      backend::each_setting(s,
                            [&](unsigned number, std::string_view key, const std::string& value) {
                              rows.push_back({number, std::string(key), value});
                            });
    };
    on_thread_of(sw, collect);
    for (const Row& r : rows)
      fn(opaque, r.number, r.key.c_str(), backend::with_names(r.key, r.value).c_str());
  });
}

int rp_switch_reset_counters(rp_switch* sw, unsigned number, rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    const auto reset = [&](sw::Switch& s) { s.reset_counters(number); };
    on_thread_of(sw, reset);
  });
}

int rp_switch_publish(rp_switch* sw, const char* name, int* control, rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    if (!control) throw Error(Errc::invalid, "the place for the descriptor is NULL");
    *control = sw->fabric->publish(listen_for(text_of(name, "the name")));
  });
}

int rp_switch_manage(rp_switch* sw, const char* path, int* fd, rp_error* err) {
  return guarded(err, [&] {
    check(sw);
    if (!fd) throw Error(Errc::invalid, "the place for the descriptor is NULL");
    constexpr const char* kWhat = "the management socket";
    *fd = sw->fabric->keep(
        UnixListener(unix_address(text_of(path, "the path"), kWhat), kControlBacklog, kWhat));
  });
}

int rp_runtime_path(const char* name, const char* suffix, char* out, size_t capacity,
                    rp_error* err) {
  return guarded(err, [&] {
    if (!out) throw Error(Errc::invalid, "the place for the path is NULL");
    const std::string path =
        name ? runtime_path(name, text_of(suffix, "the suffix")) : runtime_dir();
    if (path.size() >= capacity)
      throw Error(Errc::invalid, "the place for the path is too small, it takes " +
                                     std::to_string(path.size() + 1) + " bytes");
    std::memcpy(out, path.c_str(), path.size() + 1);
  });
}

}  // extern "C"
