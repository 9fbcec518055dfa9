// SPDX-License-Identifier: BSD-3-Clause
// switch_ops.cc - a switch and its MAC table as a sequence of operations beside a naive twin.
//
// Invariant: every frame goes exactly where the twin sends it, in the twin's form; every counter is
// the twin's, and for each port the frames in are those forwarded plus those dropped.
#include <map>
#include <memory>

#include "base/error.h"
#include "fuzz/harness.h"
#include "fuzz/switch_twin.h"
#include "switch/switch.h"
#include "tests/switch/fake_port.h"

namespace {

using namespace rp;
using fuzz::Input;

constexpr std::size_t kMostPorts = 8;

/// Few addresses and VLANs, so that they meet.
std::uint64_t address(Input& in) {
  const unsigned n = in.byte();
  if (n == 255) return 0;
  if (n == 254) return 0xffffffffffff;
  if (n == 253) return 0x0180c200000e;
  return 0x020000000000u + n % 16 + (n & 0x80 ? std::uint64_t{1} << 40 : 0);
}

std::uint16_t vlan(Input& in) {
  return std::uint16_t{in.byte()} % 4;
}

/// Without static addresses in a small table: which learned one makes room depends on its secret.
sw::PortPolicy policy(Input& in, bool addresses) {
  const unsigned how = in.byte();
  sw::PortPolicy p;
  p.vlan_aware = how & 1;
  p.isolated = how & 2;
  p.locked = how & 4;
  if (p.vlan_aware) {
    p.untagged = how & 8 ? sw::kNoVlan : vlan(in);
    for (unsigned n = how >> 6; n > 0; --n) p.tagged.set(vlan(in));
  }
  for (unsigned n = (how >> 4) & 3; n > 0; --n) {
    const std::uint64_t a = address(in);
    sw::StaticAddress s{{}, vlan(in)};
    for (std::size_t b = 0; b < 6; ++b)
      s.mac.bytes[b] = static_cast<std::uint8_t>(a >> (40 - 8 * b));
    if (addresses) p.addresses.push_back(s);
  }
  return p;
}

fuzz::Bytes frame(Input& in) {
  const std::uint64_t dst = address(in), src = address(in);
  const unsigned how = in.byte();
  fuzz::Bytes b = test::ethernet(dst, src, how & 8 ? 300 : how & 16 ? in.below(20) : 60);
  // One tag or two, of either kind; one may be cut off.
  for (unsigned tags = how & 3; tags > 0 && b.size() >= 14; --tags) {
    const std::uint8_t low = in.byte();
    const fuzz::Bytes tag{static_cast<std::uint8_t>(how & 4 ? 0x88 : 0x81),
                          static_cast<std::uint8_t>(how & 4 ? 0xa8 : 0),
                          static_cast<std::uint8_t>(low & 0xe0),
                          static_cast<std::uint8_t>(low & 3)};
    b.insert(b.begin() + 12, tag.begin(), tag.end());
  }
  return b;
}

class Session {
 public:
  explicit Session(Input& in) : options_(make_options(in)), sw_(options_) {
    sw_.set_loop_guard(false);  // its probes are frames that the twin knows nothing of
    twin_.most = options_.entries;
    twin_.per_port = options_.per_port;
    twin_.ageing_s = static_cast<std::uint64_t>(options_.ageing / std::chrono::seconds(1));
  }

  void step(Input& in) {
    const unsigned what = in.byte();
    if (ports_.empty() || what % 16 == 0) return add(in);
    const auto at = std::next(ports_.begin(), in.below(static_cast<unsigned>(ports_.size())));
    const sw::PortId id = at->first;
    test::FakePort& port = *at->second;
    switch (what % 16) {
      case 1:
        RP_CHECK(sw_.remove(id).get() == &port);
        twin_.remove(id);
        ports_.erase(at);
        break;
      case 2: {
        const sw::PortPolicy p = policy(in, !small_);
        sw_.set_policy(sw_.number(id), p);
        twin_.set_policy(sw_.number(id), p);
        break;
      }
      case 3:
        twin_.port(id).up = port.up = in.flag();
        break;
      case 4:
        twin_.hub = in.flag();
        sw_.set_hub(twin_.hub);
        break;
      case 5:
        // In a small table what is stale and what is taken back depends on the table's secret.
        if (!small_) twin_.now_s += in.byte();
        break;
      case 6:
        twin_.hold_s = in.byte();
        sw_.addresses().set_hold(std::chrono::seconds(twin_.hold_s));
        break;
      case 7:
        twin_.port(id).room = port.room = in.byte();
        break;
      default:
        for (unsigned n = what / 32 + 1; n > 0; --n) send(id, port, frame(in));
    }
    run();
  }

 private:
  sw::MacTableOptions make_options(Input& in) {
    sw::MacTableOptions o;
    small_ = in.flag();
    o.entries = small_ ? 12 : 4096;
    o.per_port = small_ ? 5 : 3072;
    o.ageing = std::chrono::seconds(100);
    return o;
  }

  void add(Input& in) {
    if (ports_.size() >= kMostPorts) return;
    auto made = std::make_unique<test::FakePort>();
    test::FakePort* const port = made.get();
    port->claims.number = in.below(4);
    const sw::PortPolicy initial = policy(in, !small_);
    const sw::PortId id = sw_.add(std::move(made), "p", initial);
    RP_CHECK(ports_.emplace(id, port).second);
    RP_CHECK(port->claims.number == 0 || sw_.number(id) == port->claims.number);
    twin_.add(id, sw_.number(id), *sw_.numbers().policy(sw_.number(id)));
  }

  void send(sw::PortId id, test::FakePort& port, fuzz::Bytes b) {
    twin_.send(id, b);
    port.inbound.emplace_back(std::move(b), sw::Offload{});
  }

  void run() {
    const Instant now = std::chrono::seconds(twin_.now_s);
    for (const auto& [id, port] : ports_) sw_.turn(id, now);
    sw_.flush(now, [](sw::PortId) {});
    for (const auto& [id, port] : ports_) {
      fuzz::TwinPort& expected = twin_.port(id);
      RP_CHECK(port->inbound.empty());
      RP_CHECK(port->sent.size() == expected.sent.size());
      for (std::size_t i = 0; i < expected.sent.size(); ++i)
        RP_CHECK(port->sent[i].first == expected.sent[i]);
      port->sent.clear();
      expected.sent.clear();
      check_counters(id, expected);
    }
    std::set<fuzz::SwitchTwin::Key> held;
    sw_.each_address(now, [&](const sw::MacTable::Entry& e) { held.insert({e.mac, e.vlan}); });
    RP_CHECK(twin_.crowded_out(held));
    std::size_t told = 0;
    sw_.each_address(now, [&](const sw::MacTable::Entry& e) {
      const auto found = twin_.macs.find({e.mac, e.vlan});
      RP_CHECK(found != twin_.macs.end() && found->second.port == e.port);
      RP_CHECK(found->second.seen_s.has_value() != e.is_static);
      ++told;
    });
    RP_CHECK(sw_.addresses().longest_lookup() <= sw_.addresses().size());
    RP_CHECK(told <= twin_.macs.size() && (!small_ || told == twin_.macs.size()));
  }

  void check_counters(sw::PortId id, const fuzz::TwinPort& p) {
    std::map<std::string, std::uint64_t, std::less<>> told;
    sw_.report([&](sw::PortId of, const std::string&, std::string_view name, std::uint64_t v) {
      if (of == id) told.emplace(name, v);
    });
    const auto dropped = [&](sw::Drop why) {
      const auto at = p.drops.find(why);
      return at == p.drops.end() ? 0 : at->second;
    };
    RP_CHECK(told["in.frames"] == p.in && told["out.frames"] == p.out);
    RP_CHECK(told["in.flooded"] == p.flooded);
    RP_CHECK(told["mac.moves"] == p.moves && told["mac.refused"] == p.refused);
    RP_CHECK(told["drop.runt"] == dropped(sw::Drop::runt));
    RP_CHECK(told["drop.bad-source"] == dropped(sw::Drop::bad_source));
    RP_CHECK(told["drop.reserved-address"] == dropped(sw::Drop::reserved_address));
    RP_CHECK(told["drop.vlan"] == dropped(sw::Drop::vlan));
    RP_CHECK(told["drop.locked"] == dropped(sw::Drop::locked));
    RP_CHECK(told["drop.isolated"] == dropped(sw::Drop::isolated));
    RP_CHECK(told["drop.same-port"] == dropped(sw::Drop::same_port));
    RP_CHECK(told["drop.nowhere"] == dropped(sw::Drop::nowhere));
    RP_CHECK(told["drop.queue-full"] == dropped(sw::Drop::queue_full));
  }

  bool small_ = false;
  sw::MacTableOptions options_;
  sw::Switch sw_;
  fuzz::SwitchTwin twin_;
  std::map<sw::PortId, test::FakePort*> ports_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  Session session(in);
  for (int steps = 0; !in.empty() && steps < 400; ++steps) session.step(in);
  return 0;
}
