// SPDX-License-Identifier: BSD-3-Clause
// c_abi.cc - the C ABI as a sequence of calls on a switch of the host's loop and its plugs.
//
// Invariants: a call that fails says why in one sentence and leaves its outputs alone; what is
// received fits where it was to go; what is told can be set; at the end no descriptor is left.
#include <dirent.h>

#include <array>
#include <cstring>
#include <memory>
#include <utility>

#include "fuzz/harness.h"
#include "ringplug.h"

namespace {

using rp::fuzz::Bytes;
using rp::fuzz::Input;

std::size_t open_descriptors() {
  std::size_t n = 0;
  DIR* const all = opendir("/proc/self/fd");
  RP_CHECK(all != nullptr);
  while (readdir(all)) ++n;
  closedir(all);
  return n;
}

class Session {
 public:
  explicit Session(Input& in) {
    rp_switch_options options = RP_SWITCH_OPTIONS_INIT;
    options.host_loop = 1;
    options.mac_entries = in.byte();
    options.log = [](void*, int, const char*) {};
    RP_CHECK(done(rp_switch_new(&options, &sw_, &err_)));
    RP_CHECK(rp_switch_fd(sw_) >= 0);
  }
  ~Session() {
    // Plugs may outlive their switch.
    if (ports_.size() & 1) rp_switch_free(std::exchange(sw_, nullptr));
    for (auto* p : plugs_) {
      if (!sw_) use_without_switch(*p);
      rp_plug_close(p);
    }
    rp_switch_free(sw_);
  }
  Session(Session&&) = delete;

  void step(Input& in) {
    const unsigned what = in.below(16);
    if (what < 8 && !plugs_.empty()) return use(*plugs_[in.below(plugs_.size())], in);
    switch (what) {
      case 0:
      case 1:
        return join(in);
      case 2:
        return add(in);
      case 3:
        if (done(rp_switch_remove(sw_, any_port(in), &err_)))
          RP_CHECK(std::erase(ports_, last_port_) == 1);
        return;
      case 4:
        if (plugs_.empty()) return;
        rp_plug_close(plugs_.back());
        return plugs_.pop_back();
      case 8:
      case 9:
        return set(in);
      case 10:
        done(rp_switch_forget(sw_, in.byte(), &err_));
        return;
      case 11:
        RP_CHECK(done(rp_switch_reset_counters(sw_, in.below(5), &err_)));
        return;
      case 12:
        return look();
      default:
        rp_switch_dispatch(sw_);
    }
  }

 private:
  /// Whether it was done; if not, the error says why.
  bool done(int code) {
    if (code == RP_OK) return true;
    RP_CHECK(code < 0 && code >= RP_ECLOSED && err_.code == code);
    RP_CHECK(err_.message[0] != 0 && memchr(err_.message, 0, sizeof err_.message) != nullptr);
    RP_CHECK(strchr(err_.message, '\n') == nullptr);
    err_ = RP_ERROR_INIT;
    return false;
  }
  rp_port any_port(Input& in) {
    const unsigned n = in.byte();
    last_port_ = n < ports_.size() ? ports_[n] : n < 200 ? n : in.u32();
    return last_port_;
  }

  static constexpr int kRing = 1024;  ///< frames that can wait, at most

  /// What waits is still to be had.
  static void use_without_switch(rp_plug& p) {
    RP_CHECK(rp_plug_send(&p, "x", 1) == RP_ECLOSED);
    char byte;
    ssize_t got;
    for (int waiting = 0; (got = rp_plug_recv(&p, &byte, 1)) > 0; ++waiting)
      RP_CHECK(got <= static_cast<ssize_t>(RP_MAX_FRAME) && waiting < kRing);
    RP_CHECK(got == RP_ECLOSED);
  }

  void join(Input& in) {
    if (plugs_.size() >= 4) return;
    rp_plug_options options = RP_PLUG_OPTIONS_INIT;
    options.offloads = in.byte() & 31;
    const std::string name = in.text(in.byte() % 16);
    options.name = name.empty() ? nullptr : name.c_str();
    rp_plug* plug = nullptr;
    if (!done(rp_plug_join(sw_, &options, &plug, &err_))) {
      RP_CHECK(plug == nullptr);
      return;
    }
    RP_CHECK(rp_plug_fd(plug) >= 0);
    plugs_.push_back(plug);
  }
  void add(Input& in) {
    static constexpr const char* kSome[] = {"null",        "slirp?restrict=on",
                                            "null?vlan=3", "null:x",
                                            "nosuch",      "slirp?restrict=on&net=nonsense"};
    if (ports_.size() >= 4) return;
    const unsigned n = in.byte();
    const std::string text = n < 200 ? kSome[n % std::size(kSome)] : "null?" + in.text(n - 200);
    rp_port port = 0xdead;
    if (done(rp_switch_add(sw_, text.c_str(), &port, &err_)))
      ports_.push_back(port);
    else
      RP_CHECK(port == 0xdead);
  }
  void set(Input& in) {
    static constexpr const char* kKeys[] = {"vlan", "trunk", "isolated", "static", "locked",
                                            "hub",  "ports", "mac-hold", "user"};
    static constexpr const char* kValues[] = {
        "on", "off", "3", "none", "all", "1,3-4", "02:00:00:00:00:01@3", "any"};
    const char* const key = kKeys[in.below(std::size(kKeys))];
    const unsigned n = in.byte();
    const std::string value = n < 200 ? kValues[n % std::size(kValues)] : in.text(n - 200);
    done(rp_switch_set(sw_, in.below(6), key, value.c_str(), &err_));
  }
  /// All that the switch tells of itself.
  void look() {
    std::size_t told = 0, counters = 0;
    const auto port = [](void* n, const rp_port_info* i) {
      RP_CHECK(i->size == sizeof *i && i->name && i->detail);
      ++*static_cast<std::size_t*>(n);
    };
    RP_CHECK(done(rp_switch_ports(sw_, port, &told, &err_)));
    RP_CHECK(told == ports_.size() + plugs_.size());
    const auto counter = [](void* n, rp_port, const char*, const char*, std::uint64_t) {
      ++*static_cast<std::size_t*>(n);
    };
    RP_CHECK(done(rp_switch_counters(sw_, counter, &counters, &err_)));
    RP_CHECK((counters == 0) == (told == 0));
    const auto address = [](void*, const rp_address_info* i) { RP_CHECK((i->mac[0] & 1) == 0); };
    RP_CHECK(done(rp_switch_addresses(sw_, address, nullptr, &err_)));
    std::vector<std::array<std::string, 2>> settings;
    std::vector<unsigned> numbers;
    std::pair both(&settings, &numbers);
    const auto setting = [](void* to, unsigned number, const char* key, const char* value) {
      auto& [s, n] = *static_cast<decltype(both)*>(to);
      s->push_back({key, value});
      n->push_back(number);
    };
    RP_CHECK(done(rp_switch_settings(sw_, setting, &both, &err_)));
    for (std::size_t i = 0; i < settings.size(); ++i)
      RP_CHECK(done(
          rp_switch_set(sw_, numbers[i], settings[i][0].c_str(), settings[i][1].c_str(), &err_)));
  }

  Bytes frame(Input& in) {
    const unsigned how = in.byte();
    Bytes b = in.bytes(how & 63);
    b.resize(how & 64 ? 60 : b.size() + (how & 128 ? in.u16() : 0));
    if (how & 64) {
      const Bytes addresses{2, 0, 0, 0, 0, static_cast<std::uint8_t>(how & 3),
                            2, 0, 0, 0, 0, static_cast<std::uint8_t>(how >> 2 & 3)};
      std::copy(addresses.begin(), addresses.end(), b.begin());
    }
    return b;
  }
  rp_offload offload(Input& in) {
    return {in.byte(), in.byte(), in.u16(), in.u16(), in.u16(), in.u16()};
  }
  void use(rp_plug& plug, Input& in) {
    static Bytes buffer(70'000);
    std::array<rp_frame, 80> frames{};
    switch (in.below(8)) {
      case 0: {
        const Bytes b = frame(in);
        const ssize_t n = rp_plug_send(&plug, b.data(), b.size());
        RP_CHECK(n < 0 || n == static_cast<ssize_t>(b.size()));
        return;
      }
      case 1: {
        const std::size_t room = in.u16();
        const ssize_t n = rp_plug_recv(&plug, buffer.data(), room);
        RP_CHECK(n < 0 || static_cast<std::size_t>(n) <= buffer.size());
        return;
      }
      case 2: {
        const Bytes b = frame(in);
        const std::size_t n = 1 + in.below(frames.size());
        for (std::size_t i = 0; i < n; ++i)
          frames[i] = {const_cast<std::uint8_t*>(b.data()), b.size(), {}};
        frames[0].offload = offload(in);
        RP_CHECK(rp_plug_send_batch(&plug, frames.data(), n) <= n);
        return;
      }
      case 3: {
        const std::size_t n = in.below(4) + 1u, room = in.u16() % 10'000;
        for (std::size_t i = 0; i < n; ++i) frames[i] = {buffer.data() + i * 10'000, room, {}};
        const std::size_t got = rp_plug_recv_batch(&plug, frames.data(), n);
        RP_CHECK(got <= n);
        return;
      }
      case 4: {
        const std::size_t room = in.flag() ? in.u16() : in.u32();
        void* const to = rp_plug_reserve(&plug, room);
        if (to) {
          RP_CHECK(room <= 65'557);
          std::memset(to, in.byte(), room);
        }
        const std::size_t length = in.flag() ? room : in.u16();
        const rp_offload o = offload(in);
        const int code = rp_plug_commit(&plug, length, in.flag() ? &o : nullptr);
        RP_CHECK((code == RP_OK) == (to && length != 0 && length <= room) || code == RP_ECLOSED);
        return;
      }
      case 5: {
        const std::size_t n = rp_plug_peek(&plug, frames.data(), in.below(frames.size() + 1));
        RP_CHECK(n <= frames.size());
        std::size_t sum = 0;
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t b = 0; b < frames[i].length; ++b)
            sum += static_cast<const std::uint8_t*>(frames[i].data)[b];
        const std::size_t back = in.below(n + 2);
        RP_CHECK((rp_plug_release(&plug, back) == RP_OK) == (back <= n) || sum == SIZE_MAX);
        return;
      }
      case 6:
        return rp_plug_kick(&plug);
      default:
        rp_switch_dispatch(sw_);
    }
  }

  rp_switch* sw_ = nullptr;
  rp_error err_ = RP_ERROR_INIT;
  std::vector<rp_plug*> plugs_;
  std::vector<rp_port> ports_;
  rp_port last_port_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::size_t before = open_descriptors();
  {
    Input in(data, size);
    Session session(in);
    for (int steps = 0; !in.empty() && steps < 200; ++steps) session.step(in);
  }
  RP_CHECK(open_descriptors() == before);
  return 0;
}
