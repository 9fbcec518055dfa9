// SPDX-License-Identifier: BSD-3-Clause
// channel_test.cc - messages in pieces, with any descriptors, and peers that never read.
#include "backend/vhost_user/channel.h"

#include <gtest/gtest.h>

#include "tests/backend/vhost_user/front_end.h"

namespace rp::backend::vhost_user {
namespace {

using Status = Channel::Status;

class VhostUserChannelTest : public ::testing::Test {
 protected:
  VhostUserChannelTest() : VhostUserChannelTest(make_socketpair()) {}
  explicit VhostUserChannelTest(std::pair<Fd, Fd> ends)
      : channel(std::in_place, std::move(ends.first)), wire(std::move(ends.second)) {}
  void expect_closed(const char* why) {
    EXPECT_EQ(channel->read(got), Status::closed);
    EXPECT_STREQ(channel->fault(), why);
  }

  std::optional<Channel> channel;
  Wire wire;
  Message got;
};

TEST_F(VhostUserChannelTest, ByteByByte) {
  const VringState state{3, 0x12345678};
  const Header h{static_cast<std::uint32_t>(Request::set_vring_num), kVersion, sizeof state};
  const Bytes bytes = Wire::encode(h, &state, sizeof state);
  for (int round = 0; round < 3; ++round) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      EXPECT_EQ(channel->read(got), Status::none);
      wire.send_bytes(std::span(bytes).subspan(i, 1));
    }
    ASSERT_EQ(channel->read(got), Status::message);
    EXPECT_EQ(got.request(), Request::set_vring_num);
    ASSERT_TRUE(got.as<VringState>());
    EXPECT_EQ(got.as<VringState>()->num, state.num);
    EXPECT_FALSE(got.as<std::uint32_t>()) << "another size";
  }
  EXPECT_EQ(channel->read(got), Status::none);
}

TEST_F(VhostUserChannelTest, SeveralAtOnceKeepTheirDescriptorsApart) {
  const Fd a = make_eventfd(), b = make_eventfd();
  const int first[] = {a.get()}, second[] = {b.get(), a.get()};
  wire.send(Request::set_vring_call, "12345678", 8, first);
  wire.send(Request::get_features, nullptr, 0);
  wire.send(Request::set_vring_err, "12345678", 8, second);
  ASSERT_EQ(channel->read(got), Status::message);
  ASSERT_EQ(got.fds.size(), 1u);
  signal_eventfd(got.fds[0]);
  EXPECT_EQ(take_signals(a), 1u);
  ASSERT_EQ(channel->read(got), Status::message);
  EXPECT_EQ(got.fds.size(), 0u);
  ASSERT_EQ(channel->read(got), Status::message);
  ASSERT_EQ(got.fds.size(), 2u);
  signal_eventfd(got.fds[0]);
  EXPECT_EQ(take_signals(b), 1u);
}

TEST_F(VhostUserChannelTest, DescriptorsBesideAnyByteCountOnce) {
  const Fd fd = make_eventfd();
  const int one[] = {fd.get()};
  const Footprint before;
  const Bytes bytes = Wire::encode({8, kVersion, 8}, "12345678", 8);
  for (const std::size_t n : {8u, 9u}) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const bool with = i % 2 == 0 && i / 2 < n;
      wire.send_bytes(std::span(bytes).subspan(i, 1),
                      with ? std::span<const int>(one) : std::span<const int>());
    }
    if (n == 8) {
      ASSERT_EQ(channel->read(got), Status::message);
      EXPECT_EQ(got.fds.size(), 8u);
      got.fds.clear();
    } else {
      expect_closed("more descriptors than a message has");
    }
    EXPECT_EQ(Footprint().fds, before.fds);
  }
}

TEST_F(VhostUserChannelTest, T_VU_2_MoreDescriptorsThanFit) {
  const Fd fd = make_eventfd();
  const Footprint before;
  const std::vector<int> many(253, fd.get());
  for (const std::size_t n : {9u, 10u, 64u, 253u}) {
    auto [ours, theirs] = make_socketpair();
    Channel c(std::move(ours));
    Wire w(std::move(theirs));
    w.send(Request::get_features, nullptr, 0, std::span(many).first(n));
    EXPECT_EQ(c.read(got), Status::closed) << n;
  }
  EXPECT_EQ(Footprint().fds, before.fds);
}

TEST_F(VhostUserChannelTest, NoMessageOfThisProtocol) {
  const struct {
    Header h;
    const char* why;
  } wrong[] = {{{1, 0, 0}, "another protocol version"},
               {{1, 2, 0}, "another protocol version"},
               {{1, 3, 0}, "another protocol version"},
               {{1, kVersion | kReply, 0}, "a reply that nobody asked for"},
               {{1, kVersion, kMaxPayload + 1}, "a payload longer than any message's"},
               {{1, kVersion, ~0u}, "a payload longer than any message's"}};
  for (const auto& [h, why] : wrong) {
    auto [ours, theirs] = make_socketpair();
    channel.emplace(std::move(ours));
    wire = Wire(std::move(theirs));
    wire.send(h, nullptr, 0);
    expect_closed(why);
  }
}

TEST_F(VhostUserChannelTest, HungUp) {
  wire.close();
  expect_closed("");
}

TEST_F(VhostUserChannelTest, HungUpInAMessage) {
  for (const std::size_t n : {1u, 11u, 12u, 19u}) {
    auto [ours, theirs] = make_socketpair();
    channel.emplace(std::move(ours));
    wire = Wire(std::move(theirs));
    const Bytes bytes = Wire::encode({8, kVersion, 8}, "12345678", 8);
    wire.send_bytes(std::span(bytes).first(n));
    EXPECT_EQ(channel->read(got), Status::none);
    wire.close();
    expect_closed("the peer hung up in a message");
  }
}

TEST_F(VhostUserChannelTest, DiedWithAnAnswerUnread) {
  wire.send(Request::get_features, nullptr, 0);
  ASSERT_EQ(channel->read(got), Status::message);
  ASSERT_TRUE(channel->reply(got, std::uint64_t{1}));
  wire.close();
  expect_closed("");
}

TEST_F(VhostUserChannelTest, AFrontEndThatNeverReadsIsLeft) {
  got.header = {1, kVersion, 0};
  std::size_t answers = 0;
  while (answers < 1'000'000 && channel->reply(got, std::uint64_t{1})) ++answers;
  EXPECT_GT(answers, 10u);
  EXPECT_LT(answers, 1'000'000u) << "it would have to be kept somewhere";
}

}  // namespace
}  // namespace rp::backend::vhost_user
