// SPDX-License-Identifier: BSD-3-Clause
// bochs_room_test.cc - what is known of a card that does not tell, and when the switch is woken.
#include "plugins/bochs_room.h"

#include <gtest/gtest.h>

#include <vector>

#include "plugins/bochs_moderation.h"

namespace rp::bochs {
namespace {

using Frame = std::vector<std::uint8_t>;

template <typename T>
void append(Frame& frame, const T& header) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&header);
  frame.insert(frame.end(), bytes, bytes + sizeof header);
}

struct Ports {
  std::uint16_t source, destination;
};
constexpr Ports kToGuest{80, 5000}, kFromGuest{5000, 80};

Frame tcp(Ports ports, std::uint32_t seq, std::uint32_t ack, std::size_t payload, bool v6 = false) {
  Frame frame;
  sw::EthHeader eth{};
  eth.type = Be16(v6 ? sw::kEtherIpv6 : sw::kEtherIpv4);
  append(frame, eth);
  const auto length = static_cast<std::uint16_t>(sizeof(sw::TcpHeader) + payload);
  if (v6) {
    sw::Ipv6Header ip{};
    ip.payload_len = Be16(length);
    ip.next = sw::kProtoTcp;
    append(frame, ip);
  } else {
    sw::Ipv4Header ip{};
    ip.version_ihl = 0x45;
    ip.total_len = Be16(static_cast<std::uint16_t>(sizeof ip + length));
    ip.proto = sw::kProtoTcp;
    append(frame, ip);
  }
  sw::TcpHeader header{};
  header.sport = Be16(ports.source);
  header.dport = Be16(ports.destination);
  header.seq = Be32(seq);
  header.ack = Be32(ack);
  header.data_offset = 5 << 4;
  header.flags = sw::kTcpAck;
  append(frame, header);
  frame.resize(frame.size() + payload);
  return frame;
}

constexpr std::uint32_t kStart = 0xffff'f000;  // wraps on the way
constexpr std::uint32_t kPayload = 1460;

/// Gives the card what it has room for; returns how many frames.
unsigned fill(Room& room, std::uint32_t& seq, bool v6 = false) {
  unsigned n = 0;
  for (; room.left() && n < 1000; ++n, seq += kPayload)
    room.take(tcp(kToGuest, seq, 0, kPayload - (v6 ? 20 : 0), v6));
  return n;
}

TEST(BochsRoom, ACardThatTellsIsNeverFull) {
  Room room(false);
  for (int i = 0; i < 1000; ++i) room.take(Frame(kMaxFrame));
  EXPECT_TRUE(room.left());
}

TEST(BochsRoom, AcknowledgedFramesAreOutOfTheCard) {
  for (const bool v6 : {false, true}) {
    Room room(true);
    std::uint32_t seq = kStart;
    ASSERT_EQ(fill(room, seq, v6), 6u);
    std::uint32_t ack = kStart;
    for (int round = 0; round < 20; ++round) {
      ack += 2 * kPayload;
      room.guest_sent(tcp(kFromGuest, 0, ack, 0, v6));
      EXPECT_EQ(fill(room, seq, v6), 2u) << v6 << round;
    }
    room.guest_sent(tcp(kFromGuest, 0, seq, 0, v6));
    EXPECT_EQ(fill(room, seq, v6), 6u);
  }
}

TEST(BochsRoom, OneFrameOutIsWaitedOnForTheNext) {
  Room room(true);
  std::uint32_t seq = kStart;
  fill(room, seq);
  room.guest_sent(tcp(kFromGuest, 0, kStart + kPayload, 0));
  EXPECT_FALSE(room.left());
  room.guest_sent(tcp(kFromGuest, 0, kStart + 2 * kPayload, 0));
  EXPECT_EQ(fill(room, seq), 2u);
}

TEST(BochsRoom, AnyFrameOfTheGuestsIsASignThatOneIsOut) {
  const Frame old = tcp(kFromGuest, 0, kStart - 5000, 0),
              other = tcp({5001, 80}, 0, kStart + 9999, 0);
  for (const Frame& sign : {Frame(60), Frame(), old, other, Frame(old.begin(), old.begin() + 40)}) {
    Room room(true);
    std::uint32_t seq = kStart;
    fill(room, seq);
    room.guest_sent(sign);
    EXPECT_FALSE(room.left());
    room.guest_sent(sign);
    EXPECT_EQ(fill(room, seq), 2u);
  }
}

TEST(BochsRoom, DataOfTheGuestsOwnShowsNothing) {
  Room room(true);
  std::uint32_t seq = kStart;
  fill(room, seq);
  for (int i = 0; i < 10; ++i) room.guest_sent(tcp(kFromGuest, 7, kStart, 100));
  EXPECT_FALSE(room.left());
  room.guest_sent(tcp(kFromGuest, 7, kStart + 2 * kPayload, 100));
  EXPECT_EQ(fill(room, seq), 2u);
}

TEST(BochsRoom, WhatHasNoDataIsNotAcknowledged) {
  Room room(true);
  while (room.left()) room.take(tcp(kToGuest, kStart, 0, 0));
  room.guest_sent(tcp(kFromGuest, 7, kStart, 0));
  EXPECT_FALSE(room.left());
}

TEST(BochsRoom, AnswersWithoutTheFlagAcknowledgeNothing) {
  Frame frame = tcp(kFromGuest, 0, kStart + 6 * kPayload, 0);
  EXPECT_TRUE(segment_of(frame).has_ack);
  frame[14 + 20 + 13] = sw::kTcpRst;
  EXPECT_FALSE(segment_of(frame).has_ack);
}

TEST(BochsRoom, ALyingLengthIsNoSegment) {
  Frame frame = tcp(kFromGuest, 7, 9, 0);
  ASSERT_EQ(segment_of(frame).sport, 5000);
  frame[17] = 30;  // ends within the TCP header
  EXPECT_EQ(segment_of(frame).sport, 0);
  frame[17] = 10;  // less than the IP header
  EXPECT_EQ(segment_of(frame).sport, 0);
  frame[17] = 40;
  frame[14] = 0x4f;  // TCP starts behind the end
  EXPECT_EQ(segment_of(frame).sport, 0);
}

TEST(BochsRoom, SmallFramesCountAsTheirPages) {
  Room room(true);
  unsigned n = 0;
  for (; room.left() && n < 1000; ++n) room.take(Frame(60));
  EXPECT_EQ(n, 31u);  // the largest would not fit any more
  unsigned ticks = 0;
  for (; !room.left() && ticks < 1000; ++ticks) room.ticked();
  EXPECT_EQ(ticks * kTick, 7200u);
  for (n = 0; room.left() && n < 1000; ++n) room.take(Frame(248));
  EXPECT_EQ(n, 7u);
}

TEST(BochsRoom, AHeaderAndAChecksumCountToo) {
  Room room(true);
  unsigned n = 0;
  for (; room.left() && n < 1000; ++n) room.take(Frame(249));
  EXPECT_EQ(n, 16u);
}

TEST(BochsRoom, ASilentGuestGetsTwoNowAndThen) {
  Room room(true);
  std::uint32_t seq = kStart;
  fill(room, seq);
  unsigned ticks = 0;
  for (; !room.left() && ticks < 1000; ++ticks) room.ticked();
  EXPECT_EQ(ticks * kTick, 7200u);
  EXPECT_EQ(fill(room, seq), 2u);
}

TEST(BochsModeration, WakesAtOnceWhenNothingWaits) {
  Moderation moderation;
  EXPECT_TRUE(moderation.sent());
  moderation.saw(Moderation::kBacklog - 1);
  EXPECT_TRUE(moderation.sent());
  EXPECT_FALSE(moderation.ticked());
}

TEST(BochsModeration, HoldsSomeWhileManyWait) {
  Moderation moderation;
  moderation.saw(Moderation::kBacklog);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 7; ++i) EXPECT_FALSE(moderation.sent());
    EXPECT_TRUE(moderation.sent());
  }
  EXPECT_FALSE(moderation.sent());
  EXPECT_FALSE(moderation.ticked());
  moderation.saw(0);
  EXPECT_TRUE(moderation.ticked());
  EXPECT_FALSE(moderation.ticked());
}

TEST(BochsModeration, HoldsNothingForLong) {
  Moderation moderation;
  moderation.saw(Moderation::kBacklog);
  EXPECT_FALSE(moderation.sent());
  int ticks = 1;
  while (!moderation.ticked() && ticks < 1000) ++ticks;
  EXPECT_EQ(ticks, 50);
}

}  // namespace
}  // namespace rp::bochs
