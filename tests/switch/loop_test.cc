// SPDX-License-Identifier: BSD-3-Clause
// loop_test.cc - switches joined by more cables than one: frames circle for a moment, then no more.
#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "tests/switch/fake_port.h"

#include "switch/switch.h"

namespace rp::sw {
namespace {

using test::Bytes;
using test::ethernet;
using test::FakePort;

constexpr std::uint64_t kAll = 0xffffffffffff;

/// Switches whose ports are stations, or ends of cables.
class Net {
 public:
  explicit Net(std::size_t switches, const MacTableOptions& macs = {}) {
    for (std::size_t i = 0; i < switches; ++i) {
      auto& s = *nodes_.emplace_back(std::make_unique<Node>(macs));
      s.sw.on_hold([this, i](PortId held, PortId older) { holds.push_back({i, held, older}); });
    }
  }
  struct End {
    std::size_t node;
    PortId id;
    FakePort* port;
  };
  End add(std::size_t node) {
    auto port = std::make_unique<FakePort>();
    FakePort* const p = port.get();
    const End e{node, nodes_[node]->sw.add(std::move(port), "port"), p};
    nodes_[node]->ends.push_back(e);
    return e;
  }
  std::pair<End, End> cable(std::size_t a, std::size_t b) {
    const std::pair<End, End> ends{add(a), add(b)};
    join(ends.first, ends.second);
    return ends;
  }
  void join(const End& a, const End& b) {
    far_[a.port] = b.port;
    far_[b.port] = a.port;
  }
  void cut(const std::pair<End, End>& cable) {
    for (const End& e : {cable.first, cable.second}) {
      far_.erase(e.port);
      std::erase_if(nodes_[e.node]->ends, [&](const End& x) { return x.id == e.id; });
      nodes_[e.node]->sw.remove(e.id);
    }
  }
  /// Its ends stay.
  void unplug(const std::pair<End, End>& cable) {
    far_.erase(cable.first.port);
    far_.erase(cable.second.port);
  }
  Switch& sw(std::size_t i) { return nodes_[i]->sw; }

  /// Sends a frame and lets all that follows happen; false: it never ends. A turn takes 1 ms.
  bool send(const End& from, std::uint64_t to, std::uint64_t source, int turns = 1000) {
    from.port->inbound.emplace_back(ethernet(to, source), Offload{});
    while (turns-- > 0)
      if (!step()) return true;
    return false;
  }
  bool step() {
    bool any = false;
    now += 1ms;
    for (auto& node : nodes_) {
      for (const End& e : node->ends) any |= node->sw.turn(e.id, now) > 0;
      node->sw.flush(now, [](PortId) {});
    }
    for (auto& [near, far] : far_) {
      carried += near->sent.size();
      for (auto& frame : near->sent) far->inbound.push_back(std::move(frame));
      near->sent.clear();
    }
    return any;
  }
  /// Frames that are no probes.
  static std::size_t heard(const End& e) {
    std::size_t n = 0;
    for (const auto& [bytes, offload] : e.port->sent) n += bytes[0] != kProbeAddress.bytes[0];
    e.port->sent.clear();
    return n;
  }
  std::uint64_t counter(const End& e, std::string_view name) {
    std::uint64_t found = ~std::uint64_t{0};
    sw(e.node).report([&](PortId id, const std::string&, std::string_view n, std::uint64_t v) {
      if (id == e.id && n == name) found = v;
    });
    return found;
  }

  struct Hold {
    std::size_t node;
    PortId held, older;
  };
  std::vector<Hold> holds;
  std::size_t carried = 0;  ///< frames over cables
  Instant now = 1s;

 private:
  struct Node {
    explicit Node(const MacTableOptions& macs) : sw(macs) {}
    Switch sw;
    std::vector<End> ends;
  };
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<FakePort*, FakePort*> far_;
};

/// Both reach each other, each frame once.
void expect_service(Net& net, const Net::End& a, const Net::End& b) {
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(net.send(a, kAll, 0xa00));
    ASSERT_EQ(Net::heard(b), 1u);
    ASSERT_TRUE(net.send(b, 0xa00, 0xb00));
    ASSERT_EQ(Net::heard(a), 1u);
    ASSERT_TRUE(net.send(a, 0xb00, 0xa00));
    ASSERT_EQ(Net::heard(b), 1u);
  }
}

TEST(Loop, TwoCablesBetweenTwoSwitches) {
  for (int i = 0; i < 20; ++i) {  // ids are drawn: either switch may be the one that acts
    Net net(2);
    const auto a = net.add(0), b = net.add(1);
    net.cable(0, 1);
    const auto second = net.cable(0, 1);
    ASSERT_TRUE(net.send(a, kAll, 0xa00)) << "the broadcast circles";
    EXPECT_LT(net.carried, 500u);
    EXPECT_LT(Net::heard(b), 500u);
    ASSERT_EQ(net.holds.size(), 1u) << "one end of one cable";
    const auto& end = net.holds[0].node == 0 ? second.first : second.second;
    EXPECT_EQ(net.holds[0].held, end.id) << "the younger";
    EXPECT_TRUE(net.sw(end.node).held(end.id));
    EXPECT_EQ(net.counter(end, "loop.holds"), 1u);
    EXPECT_GT(net.counter(end, "drop.loop"), 0u);
    Net::heard(a);
    expect_service(net, a, b);
  }
}

TEST(Loop, WhereTheCablesEndInAnotherOrder) {
  for (int i = 0; i < 20; ++i) {
    Net net(2);
    const auto a = net.add(0), b = net.add(1);
    // What is the younger one here is the older one there.
    const auto a1 = net.add(0), a2 = net.add(0), b2 = net.add(1), b1 = net.add(1);
    net.join(a1, b1), net.join(a2, b2);
    ASSERT_TRUE(net.send(a, kAll, 0xa00));
    EXPECT_EQ(net.holds.size(), 1u);
    Net::heard(a), Net::heard(b);
    expect_service(net, a, b);
  }
}

TEST(Loop, ThreeSwitchesInARingAndThreeCables) {
  for (int i = 0; i < 20; ++i) {
    Net ring(3);
    const auto a = ring.add(0), b = ring.add(1), c = ring.add(2);
    ring.cable(0, 1), ring.cable(1, 2), ring.cable(2, 0);
    ASSERT_TRUE(ring.send(a, kAll, 0xa00));
    EXPECT_EQ(ring.holds.size(), 1u);
    for (const auto& e : {a, b, c}) Net::heard(e);
    expect_service(ring, a, b);
    Net::heard(c);
    ASSERT_TRUE(ring.send(c, kAll, 0xc00));
    EXPECT_EQ(Net::heard(a) + Net::heard(b), 2u);
  }
}

TEST(Loop, TheOtherCableIsThereAtOnceWhenTheOlderGoes) {
  Net net(2);
  const auto a = net.add(0), b = net.add(1);
  const auto first = net.cable(0, 1);
  net.cable(0, 1);
  ASSERT_TRUE(net.send(a, kAll, 0xa00));
  ASSERT_EQ(net.holds.size(), 1u);
  Net::heard(a), Net::heard(b);
  net.cut(first);
  expect_service(net, a, b);
}

TEST(Loop, StaticAddressesOutliveAHold) {
  Net net(1);
  const auto old = net.add(0), young = net.add(0), other = net.add(0);
  PortPolicy with_static;
  with_static.addresses.push_back({Mac{{2, 0, 0, 0, 0, 0x99}}, 0});
  net.sw(0).set_policy(net.sw(0).number(young.id), with_static);
  net.join(old, young);  // a cable from the switch to itself
  ASSERT_TRUE(net.send(other, kAll, 0xa00));
  ASSERT_EQ(net.holds.size(), 1u);
  EXPECT_EQ(net.holds[0].held, young.id);
  EXPECT_TRUE(net.sw(0).addresses().is_static(with_static.addresses[0].mac, 0, young.id));
}

TEST(Loop, ItIsHeldBackForAsLongAsTheLoopIsThere) {
  Net net(2);
  const auto a = net.add(0), b = net.add(1);
  net.cable(0, 1);
  const auto second = net.cable(0, 1);
  ASSERT_TRUE(net.send(a, kAll, 0xa00));
  ASSERT_EQ(net.holds.size(), 1u);
  Net::heard(a), Net::heard(b);
  net.carried = 0;
  for (int n = 0; n < 10; ++n) {
    net.now += LoopGuard::kHold;
    expect_service(net, a, b);
    net.now += LoopGuard::kReply;
    expect_service(net, a, b);
  }
  EXPECT_EQ(net.holds.size(), 1u);
  EXPECT_LT(net.carried, 500u);
  // Somebody plugs the second cable in elsewhere: the probe does not come home.
  net.unplug(second);
  for (const Instant pause : {LoopGuard::kHold, LoopGuard::kReply}) {
    net.now += pause;
    expect_service(net, a, b);
  }
  const auto& end = net.holds[0].node == 0 ? second.first : second.second;
  EXPECT_FALSE(net.sw(end.node).held(end.id));
}

TEST(Loop, AStationThatMovesIsNone) {
  Net net(1);
  const auto a = net.add(0), b = net.add(0), c = net.add(0);
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(net.send(i % 2 ? a : b, kAll, 0xd00));
  EXPECT_TRUE(net.holds.empty());
  EXPECT_EQ(Net::heard(c), 500u);
}

/// Two ports of one guest or of two that work together.
TEST(Loop, NobodyCanHoldBackAnother) {
  Net net(1);
  const auto victim = net.add(0), old = net.add(0), young = net.add(0);
  const auto suspect = [&] {
    for (int i = 0; i < 200; ++i) net.send(i % 2 ? old : young, kAll, 0xd00);
  };
  const auto probe_of = [](const Net::End& e) {
    for (const auto& [bytes, offload] : e.port->sent)
      if (bytes[0] == kProbeAddress.bytes[0]) return bytes;
    return Bytes();
  };
  suspect();
  const Bytes of_old = probe_of(old), of_young = probe_of(young);
  ASSERT_FALSE(of_old.empty() || of_young.empty());
  const auto inject = [&](const Net::End& e, const Bytes& probe) {
    suspect();
    e.port->inbound.emplace_back(probe, Offload{});
    net.step();
  };
  // The probe of a younger port proves nothing, nor does one that came back where it left.
  inject(old, of_young);
  inject(young, of_young);
  // Another port's number with a secret that is not its own.
  Bytes guess = of_young;
  guess[33] = static_cast<std::uint8_t>(victim.id);
  inject(young, guess);
  inject(old, guess);
  EXPECT_TRUE(net.holds.empty());
  // Only who is younger, and really hears the older one, holds itself back.
  inject(young, of_old);
  ASSERT_EQ(net.holds.size(), 1u);
  EXPECT_EQ(net.holds[0].held, young.id);
}

TEST(Loop, AVisitorIsHeldBackInsteadOfAnUplinkThatIsYounger) {
  Net net(1);
  const auto visitor = net.add(0), uplink = net.add(0);
  net.sw(0).give_way(visitor.id);
  for (int i = 0; i < 200; ++i) net.send(i % 2 ? visitor : uplink, kAll, 0xd00);
  const auto pass_on = [&](const Net::End& from, const Net::End& to) {
    for (const auto& [bytes, offload] : from.port->sent)
      if (bytes[0] == kProbeAddress.bytes[0]) to.port->inbound.emplace_back(bytes, offload);
    net.step();
  };
  pass_on(visitor, uplink);
  EXPECT_TRUE(net.holds.empty());
  pass_on(uplink, visitor);
  ASSERT_EQ(net.holds.size(), 1u);
  EXPECT_EQ(net.holds[0].held, visitor.id);
}

TEST(Loop, WhoPretendsToMoveCostsTheOthersAFrameASecond) {
  Net net(1);
  const auto a = net.add(0), b = net.add(0), c = net.add(0);
  for (int i = 0; i < 20'000; ++i) net.send(i % 2 ? a : b, 0xe00, 0xd00);
  std::size_t probes = 0;
  for (const auto& [bytes, offload] : c.port->sent) probes += bytes[0] == kProbeAddress.bytes[0];
  const auto seconds = static_cast<std::size_t>(net.now / 1s);
  EXPECT_GE(seconds, 20u);
  EXPECT_GT(probes, 2u);
  EXPECT_LT(probes, seconds + 25);
}

TEST(Loop, WithoutTheGuardNothingIsProbed) {
  Net net(1);
  const auto a = net.add(0), b = net.add(0), c = net.add(0);
  net.sw(0).set_loop_guard(false);
  for (int i = 0; i < 500; ++i) net.send(i % 2 ? a : b, kAll, 0xd00);
  EXPECT_EQ(c.port->sent.size(), 500u);
}

TEST(Loop, AnAddressThatMayNotMoveTellsOfOneToo) {
  Net net(2, {.hold = 5s});
  const auto a = net.add(0), b = net.add(1);
  net.cable(0, 1), net.cable(0, 1);
  ASSERT_TRUE(net.send(a, kAll, 0xa00));
  EXPECT_EQ(net.holds.size(), 1u);
  Net::heard(a), Net::heard(b);
  ASSERT_TRUE(net.send(b, kAll, 0xb00));
  EXPECT_EQ(Net::heard(a), 1u);
}

}  // namespace
}  // namespace rp::sw
