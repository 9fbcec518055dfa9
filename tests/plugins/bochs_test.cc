// SPDX-License-Identifier: BSD-3-Clause
// bochs_test.cc - the module inside Bochs: loading, frames both ways, and what may go wrong.
#include <chrono>
#include <functional>
#include <thread>

#include "tests/api/handles.h"
#include "tests/api/process_state.h"
#include "tests/base/runtime.h"
#include "tests/plugins/bochs_host.h"

namespace rp::test {
namespace {

using namespace std::chrono_literals;
using Frame = std::vector<std::uint8_t>;
using Frames = std::vector<Frame>;
using testing::Test;

constexpr std::uint32_t k10Mbit = 0x2;

bool has(const std::vector<std::string>& sentences, const std::string& part) {
  for (const auto& s : sentences)
    if (s.find(part) != s.npos) return true;
  return false;
}

/// Lets the guest's clock run until this is so.
bool ticked_until(const std::function<bool()>& is) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!is()) {
    if (std::chrono::steady_clock::now() > end) return false;
    bochs_tick();
    std::this_thread::sleep_for(100us);
  }
  return true;
}

TEST(BochsModule, IsProbedAndUnloadedAgainAndAgain) {
  process_state before{};
  for (int round = 0; round < 5; ++round) {
    {
      BochsModule module;
      EXPECT_EQ(module.entry(nullptr, bochs::kTypeNone, bochs::kModeProbe), bochs::kTypeNet);
      EXPECT_EQ(module.entry(nullptr, bochs::kTypeNone, bochs::kModeFlags), 0);
      EXPECT_TRUE(bochs_modules().empty());
    }
#ifndef __SANITIZE_ADDRESS__
    EXPECT_FALSE(BochsModule::is_mapped());
#endif
    if (round == 1) before = process_state_now();
  }
  const process_state after = process_state_now();
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.mappings, before.mappings);
}

TEST(BochsModule, OfAnotherTypeIsNotEntered) {
  BochsModule module;
  testing::internal::CaptureStderr();
  EXPECT_EQ(module.entry(nullptr, 0x4000, bochs::kModeInit), 0);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("does not know"), std::string::npos);
  EXPECT_TRUE(bochs_modules().empty());
  EXPECT_EQ(module.entry(nullptr, 0x4000, bochs::kModeFini), 0);
}

/// A module in use, and a switch that its cards reach as switch:lan0.
class Bochs : public Test {
 protected:
  Bochs() {
    rp_error err = no_error();
    EXPECT_EQ(rp_switch_listen(lan_.get(), "switch:lan0", nullptr, &err), RP_OK) << err.message;
    EXPECT_EQ(module_.entry(nullptr, bochs::kTypeNet, bochs::kModeInit), 0);
    EXPECT_EQ(bochs_modules(), std::vector<std::string>{"ringplug"});
  }
  ~Bochs() override {
    EXPECT_EQ(bochs_timers(), 0u);
    EXPECT_EQ(module_.entry(nullptr, bochs::kTypeNet, bochs::kModeFini), 0);
    EXPECT_TRUE(bochs_modules().empty());
  }

  static void send(const PlugHandle& plug, const Frame& frame) {
    while (rp_plug_send(plug.get(), frame.data(), frame.size()) == RP_ERESOURCES)
      std::this_thread::sleep_for(1ms);
  }
  static Frame next(const PlugHandle& plug) {
    Frame frame(RP_MAX_FRAME);
    if (!readable(rp_plug_fd(plug.get()), 20'000)) return {};
    frame.resize(static_cast<std::size_t>(rp_plug_recv(plug.get(), frame.data(), frame.size())));
    return frame;
  }

  /// Until the switch put so many into the rings of its ports.
  void wait_for_frames_out(std::uint64_t frames) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    for (std::uint64_t out = 0; out < frames; std::this_thread::sleep_for(1ms)) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << out;
      Counters counters;
      rp_error err = no_error();
      ASSERT_EQ(rp_switch_counters(lan_.get(), count, &counters, &err), RP_OK) << err.message;
      out = 0;
      for (const auto& [name, value] : counters)
        if (name.ends_with("/out.frames")) out += value;
    }
  }

  Runtime runtime_;
  SwitchHandle lan_ = new_switch();
  BochsModule module_;
  PlugHandle peer_ = join(lan_, "peer");
};

TEST_F(Bochs, FramesBothWays) {
  BochsCard card("switch:lan0");
  for (std::size_t length : {60u, 61u, 1000u, 1514u}) {
    const Frame out = broadcast(1, 1, length), in = broadcast(2, 2, length);
    card.send(out);
    EXPECT_EQ(next(peer_), out);
    send(peer_, in);
    ASSERT_TRUE(ticked_until([&] { return !card.received.empty(); }));
    EXPECT_EQ(card.received, Frames{in});
    card.received.clear();
  }
  EXPECT_TRUE(card.errors.empty());
}

TEST_F(Bochs, ShortFramesArePaddedWithZeroes) {
  BochsCard card("switch:lan0");
  send(peer_, broadcast(2, 7, 1514));
  send(peer_, broadcast(2, 8, 20));
  ASSERT_TRUE(ticked_until([&] { return card.received.size() == 2; }));
  Frame padded = broadcast(2, 8, 20);
  padded.resize(60);
  EXPECT_EQ(card.received.back(), padded);
}

TEST_F(Bochs, ManyFramesInOneTick) {
  BochsCard card("switch:lan0");
  for (int i = 0; i < 60; ++i) send(peer_, broadcast(2, static_cast<std::uint8_t>(i)));
  wait_for_frames_out(60);
  bochs_tick();
  ASSERT_EQ(card.received.size(), 60u);
  for (std::size_t i = 0; i < 60; ++i) EXPECT_EQ(card.received[i][14], i);
}

TEST_F(Bochs, FramesWaitUntilTheCardIsReady) {
  BochsCard card("switch:lan0");
  card.ready = false;
  for (int i = 0; i < 100; ++i) send(peer_, broadcast(2, static_cast<std::uint8_t>(i)));
  for (int i = 0; i < 50; ++i) bochs_tick();
  EXPECT_TRUE(card.received.empty());
  card.ready = true;
  ASSERT_TRUE(ticked_until([&] { return card.received.size() == 100; }));
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(card.received[i][14], i);
}

TEST_F(Bochs, ASlowCardGetsWhatItHasRoomForAndThenWaits) {
  BochsCard card("switch:lan0", k10Mbit);
  for (int i = 0; i < 40; ++i) send(peer_, broadcast(2, static_cast<std::uint8_t>(i), 1514));
  wait_for_frames_out(40);
  for (int i = 0; i < 10; ++i) bochs_tick();
  const std::size_t burst = card.received.size();
  EXPECT_LE(burst, 6u);
  EXPECT_GT(burst, 1u);
  for (int i = 0; i < 2; ++i) card.send(broadcast(1, 1));  // each a sign that it took one
  bochs_tick();
  EXPECT_EQ(card.received.size(), burst + 2);
  ASSERT_TRUE(ticked_until([&] { return card.received.size() == 40; }));
}

TEST_F(Bochs, WhatAGuestSendsWhileManyFramesWaitIsNotKeptForLong) {
  BochsCard card("switch:lan0", k10Mbit);
  for (int i = 0; i < 40; ++i) send(peer_, broadcast(2, static_cast<std::uint8_t>(i), 1514));
  wait_for_frames_out(40);
  bochs_tick();
  card.send(broadcast(1, 7));
  EXPECT_FALSE(readable(rp_plug_fd(peer_.get()), 20));
  for (int i = 0; i < 50; ++i) bochs_tick();
  EXPECT_EQ(next(peer_), broadcast(1, 7));
}

TEST_F(Bochs, FramesTooLongAreDroppedAndCounted) {
  BochsCard card("switch:lan0");
  for (int i = 0; i < 5; ++i) send(peer_, broadcast(2, 1, 1515 + 2000 * static_cast<unsigned>(i)));
  send(peer_, broadcast(2, 9));
  ASSERT_TRUE(ticked_until([&] { return !card.received.empty(); }));
  EXPECT_EQ(card.received, Frames{broadcast(2, 9)});
  ASSERT_EQ(card.errors.size(), 1u);
  EXPECT_NE(card.errors[0].find("1515 bytes"), std::string::npos);
  card.unplug();
  EXPECT_TRUE(has(card.infos, "dropped 5 frames longer than 1514 bytes, and 0"));
}

TEST_F(Bochs, WhatTheNetworkCantTakeIsDroppedAndCounted) {
  BochsCard card("switch:lan0");
  card.send(broadcast(1, 1));
  EXPECT_EQ(next(peer_), broadcast(1, 1));
  lan_.reset();  // nobody takes frames out of the ring
  for (int i = 0; i < 3000; ++i) card.send(broadcast(1, 2, 1514));
  card.send(Frame(70'000));
  bochs_tick();
  card.unplug();
  EXPECT_TRUE(has(card.infos, "sent too fast")) << testing::PrintToString(card.infos);
}

TEST_F(Bochs, SeveralCardsEachOnItsOwnNetwork) {
  BochsCard one("switch:lan0"), two("switch:lan0", k10Mbit), none("null"), nat("slirp");
  EXPECT_EQ(bochs_timers(), 4u);
  one.send(broadcast(1, 5));
  ASSERT_TRUE(ticked_until([&] { return !two.received.empty(); }));
  EXPECT_EQ(two.received, Frames{broadcast(1, 5)});
  EXPECT_TRUE(none.received.empty());
  none.unplug();
  EXPECT_EQ(bochs_timers(), 3u);
  two.send(broadcast(2, 6));
  ASSERT_TRUE(ticked_until([&] { return !one.received.empty(); }));
}

TEST_F(Bochs, UnpluggingLeavesNothing) {
  { BochsCard warm_up("slirp"); }
  const process_state before = process_state_now();
  for (int i = 0; i < 3; ++i) {
    // Not on lan_, which is in this process too and lets go of a plug when it gets to it.
    BochsCard card("slirp"), other("null");
    bochs_tick();
  }
  const process_state after = process_state_now();
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(after.descriptors, before.descriptors);
}

TEST_F(Bochs, ABadLocatorIsASentenceAndACardWithoutANetwork) {
  for (const auto& [ethdev, part] : {std::pair{"slurp", "unknown scheme 'slurp'"},
                                     {"slirp?hostfwt=tcp::1-:1", "hostfwt"},
                                     {"switch:nowhere?start=off", "no switch 'nowhere' runs"},
                                     {"xl0", "'xl0'"},
                                     {"", "locator"}}) {
    BochsCard card(ethdev);
    ASSERT_TRUE(card.has_mover()) << ethdev;
    EXPECT_TRUE(has(card.errors, part)) << testing::PrintToString(card.errors);
    EXPECT_TRUE(has(card.errors, "on no network"));
    card.send(broadcast(1, 1));
    bochs_tick();
    EXPECT_TRUE(card.received.empty());
  }
}

TEST_F(Bochs, AScriptIsNotRunAndSaidSo) {
  BochsCard card("null", 0x8, "/bin/false");
  EXPECT_TRUE(has(card.errors, "script=/bin/false is ignored"));
}

TEST_F(Bochs, TheUrlOfOtherEmulatorsWillDo) {
  BochsCard card("ringplug://switch:lan0");
  EXPECT_TRUE(card.errors.empty()) << testing::PrintToString(card.errors);
}

TEST_F(Bochs, WhatHappensToTheNetworkIsInTheCardsLog) {
  BochsCard card("switch:lan0");
  lan_.reset();
  ASSERT_TRUE(ticked_until([&] { return has(card.infos, "lan0") || has(card.errors, "lan0"); }))
      << testing::PrintToString(card.infos) << testing::PrintToString(card.errors);
}

}  // namespace
}  // namespace rp::test
