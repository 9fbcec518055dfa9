// SPDX-License-Identifier: BSD-3-Clause
// stream_socket_test.cc - frames in any pieces, both ways, and lengths that are none.
#include "sockets/stream_socket.h"

#include <sys/epoll.h>

#include <memory>
#include <random>

#include "tests/backend/mock_driver.h"
#include "tests/backend/sigbus_handled.h"
#include "tests/sockets/stream_peer.h"

namespace rp::sockets {
namespace {

using test::Bytes;
using test::ethernet;
using test::framed;
using test::StreamPeer;

class StreamSocketTest : public ::testing::TestWithParam<Framing> {
 protected:
  explicit StreamSocketTest() {
    auto [ours, theirs] = test::stream_pair();
    peer.emplace(std::move(theirs), GetParam());
    stream = std::make_unique<StreamSocket>(epoll.get(), StreamLimits{GetParam(), kBuffer});
    EXPECT_TRUE(stream->open(std::move(ours)));
  }
  std::vector<Bytes> receive() {
    burst->clear();
    stream->receive(*burst);
    std::vector<Bytes> all;
    for (const sw::Frame& f : burst->frames()) {
      Bytes b(f.len);
      f.copy_to(b.data());
      all.push_back(std::move(b));
    }
    return all;
  }
  /// Sends these, each in `parts` of a body. Returns how many were refused.
  std::size_t send(const std::vector<Bytes>& frames, std::size_t parts = 1) {
    std::vector<sw::Frame> list(frames.size());
    std::vector<std::vector<sw::Part>> bodies(frames.size());
    std::vector<const sw::Frame*> pointers;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      sw::Part whole{};
      sw::make_frame(list[i], whole, frames[i]);
      for (std::size_t k = 0; k < parts && whole.len > 0; ++k) {
        const std::uint32_t n =
            k + 1 == parts ? whole.len : whole.len / static_cast<std::uint32_t>(parts - k);
        bodies[i].push_back({whole.data, n});
        whole.data += n;
        whole.len -= n;
      }
      list[i].body = bodies[i];
      pointers.push_back(&list[i]);
    }
    return stream->send(pointers);
  }
  std::uint64_t counter(const std::string& name) const {
    std::uint64_t sum = 0;
    stream->report([&](std::string_view n, std::uint64_t v) { sum += n == name ? v : 0; });
    return sum;
  }
  bool readable() const {
    pollfd p{epoll.get(), POLLIN, 0};
    return poll(&p, 1, 0) == 1;
  }

  static constexpr std::size_t kBuffer = 256 << 10;
  Fd epoll{epoll_create1(EPOLL_CLOEXEC)};
  std::optional<StreamPeer> peer;
  std::unique_ptr<StreamSocket> stream;
  std::unique_ptr<sw::Burst> burst = std::make_unique<sw::Burst>();
};

INSTANTIATE_TEST_SUITE_P(Framings, StreamSocketTest, ::testing::Values(Framing::qemu, Framing::vde),
                         [](const auto& i) { return i.param == Framing::qemu ? "qemu" : "vde"; });

TEST_P(StreamSocketTest, ManyFramesARead) {
  Bytes all;
  for (std::size_t i = 0; i < 100; ++i) {
    const Bytes one = framed(ethernet(1, i, 60 + i), GetParam());
    all.insert(all.end(), one.begin(), one.end());
  }
  ASSERT_TRUE(peer->say(all));
  EXPECT_TRUE(readable());
  const auto first = receive();
  ASSERT_EQ(first.size(), sw::Burst::kFrames);
  EXPECT_FALSE(stream->drained()) << "the rest was read already";
  const auto rest = receive();
  ASSERT_EQ(rest.size(), 36u);
  EXPECT_EQ(first[0], ethernet(1, 0, 60));
  EXPECT_EQ(rest[35], ethernet(1, 99, 159));
  EXPECT_TRUE(stream->drained());
  EXPECT_FALSE(readable());
  EXPECT_TRUE(receive().empty());
  EXPECT_FALSE(stream->ended());
}

TEST_P(StreamSocketTest, AFrameWhoseMemoryWasCutShortEndsNothing) {
  const backend::SigbusHandled handled;
  constexpr std::size_t kPage = 4096;
  const Fd file = backend::make_memfd(2 * kPage);
  const backend::Mapping guest(file.get(), 2 * kPage);
  std::fill_n(guest.data(), kPage, std::uint8_t{1});
  ASSERT_EQ(ftruncate(file.get(), kPage), 0);
  sw::Frame gone;
  sw::Part part;
  sw::make_frame(gone, part, std::span(guest.data() + kPage / 2, kPage));
  gone.body = {&part, 1};
  const sw::Frame* const frame = &gone;
  EXPECT_EQ(stream->send({&frame, 1}), 0u);
  EXPECT_TRUE(guest.lost());
  EXPECT_FALSE(stream->ended());
  EXPECT_EQ(send({ethernet(1, 2, 100)}), 0u);
  receive();
  const auto kept = peer->next();
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->size(), kPage);
  EXPECT_EQ(peer->next(), ethernet(1, 2, 100));
}

TEST_P(StreamSocketTest, ByteByByte) {
  for (const std::size_t size : {1u, 14u, 60u, 1514u}) {
    const Bytes frame = ethernet(1, 2, size), bytes = framed(frame, GetParam());
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      ASSERT_TRUE(receive().empty()) << i;
      ASSERT_TRUE(peer->say({bytes[i]}));
    }
    EXPECT_EQ(receive(), std::vector<Bytes>{frame});
  }
}

TEST_P(StreamSocketTest, AnyPiecesBothWays) {
  std::mt19937 random(6);
  std::vector<Bytes> there, got, back;
  std::size_t read = 0;
  Bytes waiting;  // for the peer to say
  peer->pump = [&] {
    for (Bytes& b : receive()) got.push_back(std::move(b));
  };
  for (int i = 0; i < 3000; ++i) {
    if (i < 2500 && waiting.size() < 300'000) {
      const std::size_t most = random() % 8 == 0 ? 65'000 : 2000;
      there.push_back(ethernet(1, random(), 14 + random() % most));
      const Bytes one = framed(there.back(), GetParam());
      waiting.insert(waiting.end(), one.begin(), one.end());
    }
    const std::size_t n = std::min<std::size_t>(waiting.size(), random() % 70'000);
    const ssize_t said = ::send(peer->fd(), waiting.data(), n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (said > 0) waiting.erase(waiting.begin(), waiting.begin() + said);
    for (Bytes& b : receive()) got.push_back(std::move(b));

    std::vector<Bytes> some;
    for (auto k = random() % 6; k > 0; --k)
      some.push_back(ethernet(3, random(), 14 + random() % (random() % 8 == 0 ? 65'000 : 2000)));
    const std::size_t refused = send(some, 1 + random() % 5);
    some.resize(some.size() - refused);
    for (Bytes& b : some) back.push_back(std::move(b));
    // A reader that is a little behind.
    while (read + 40 < back.size()) {
      const auto frame = peer->next();
      ASSERT_TRUE(frame);
      ASSERT_EQ(*frame, back[read++]);
    }
  }
  for (int i = 0; i < 5000 && got.size() < there.size(); ++i) {
    const ssize_t said =
        ::send(peer->fd(), waiting.data(), waiting.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (said > 0) waiting.erase(waiting.begin(), waiting.begin() + said);
    for (Bytes& b : receive()) got.push_back(std::move(b));
  }
  EXPECT_EQ(got, there);
  while (read < back.size()) {
    const auto frame = peer->next();
    ASSERT_TRUE(frame);
    ASSERT_EQ(*frame, back[read++]);
  }
}

TEST_P(StreamSocketTest, ASlowReaderCostsItsOwnFramesAlone) {
  const Bytes frame = ethernet(1, 2, 1514);
  peer->pump = [&] { receive(); };
  std::size_t sent = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::size_t refused = send({frame, frame, frame});
    sent += 3 - refused;
    if (i == 999) {
      EXPECT_EQ(refused, 3u) << "its buffer is bounded";
    }
  }
  EXPECT_LT(sent * 1518, kBuffer + (std::size_t{2} << 20));
  EXPECT_FALSE(readable()) << "nothing to do before there is room";
  for (std::size_t i = 0; i < sent; ++i) {
    const auto got = peer->next();
    ASSERT_TRUE(got) << i;
    ASSERT_EQ(*got, frame) << "whole frames";
  }
  EXPECT_TRUE(peer->silent());
  EXPECT_EQ(send({frame}), 0u);
  EXPECT_EQ(peer->next(), frame);
  EXPECT_GT(counter("stream.queued"), 0u);
}

TEST_P(StreamSocketTest, FramesOfManyParts) {
  const Bytes large = ethernet(1, 2, 65'000);
  EXPECT_EQ(send({large}, 1000), 0u);
  EXPECT_EQ(peer->next(), large);
  EXPECT_EQ(send({large}, 1500), 0u) << "more than one call takes";
  peer->pump = [&] { receive(); };
  EXPECT_EQ(peer->next(), large);
}

TEST_P(StreamSocketTest, TheLongestFrame) {
  const Bytes longest = ethernet(1, 2, sw::kMaxFrame);
  const Bytes next = ethernet(1, 2, 60);
  EXPECT_EQ(send({longest, next}), 0u);
  if (GetParam() == Framing::qemu) {
    EXPECT_EQ(peer->next(), longest);
    EXPECT_EQ(counter("stream.too-long"), 0u);
    ASSERT_TRUE(peer->send(longest));
    EXPECT_EQ(receive(), std::vector<Bytes>{longest});
  } else {
    EXPECT_EQ(counter("stream.too-long"), 1u) << "16 bits can't say it";
  }
  EXPECT_EQ(peer->next(), next);
}

TEST_P(StreamSocketTest, EmptyFramesAreSkipped) {
  const Bytes nothing = framed({}, GetParam()), frame = ethernet(1, 2, 60);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(peer->say(nothing));
  ASSERT_TRUE(peer->send(frame));
  EXPECT_EQ(receive(), std::vector<Bytes>{frame});
  EXPECT_EQ(counter("stream.empty-frames"), 3u);
  EXPECT_FALSE(stream->ended());
}

TEST_P(StreamSocketTest, HalfAFrameAndTheEnd) {
  const Bytes frame = ethernet(1, 2, 100);
  Bytes half = framed(frame, GetParam());
  half.resize(half.size() - 40);
  ASSERT_TRUE(peer->send(frame));
  ASSERT_TRUE(peer->say(half));
  peer->close();
  EXPECT_EQ(receive(), std::vector<Bytes>{frame});
  EXPECT_TRUE(receive().empty());
  EXPECT_TRUE(stream->ended());
  EXPECT_EQ(counter("stream.cut-short"), 1u);
  EXPECT_EQ(stream->bad_length(), 0u);
}

TEST_P(StreamSocketTest, WhatCameBeforeTheEndIsStillLent) {
  Bytes all;
  for (int i = 0; i < 150; ++i) {
    const Bytes one = framed(ethernet(1, 2, 60), GetParam());
    all.insert(all.end(), one.begin(), one.end());
  }
  ASSERT_TRUE(peer->say(all));
  peer->close();
  std::size_t n = 0;
  for (int i = 0; i < 10; ++i) {
    n += receive().size();
    EXPECT_TRUE(n == 150 || !stream->ended()) << n;
  }
  EXPECT_EQ(n, 150u);
  EXPECT_TRUE(stream->ended());
  EXPECT_EQ(counter("stream.cut-short"), 0u);
}

TEST_P(StreamSocketTest, WhatWasSaidBeforeItHungUpIsLentThoughItHearsNothing) {
  const Bytes frame = ethernet(1, 2, 60);
  ASSERT_TRUE(peer->send(frame));
  peer->close();
  EXPECT_EQ(send({frame, frame}), 2u);
  EXPECT_EQ(send({frame}), 1u);
  EXPECT_TRUE(readable());
  EXPECT_EQ(receive(), std::vector<Bytes>{frame});
  EXPECT_TRUE(receive().empty());
  EXPECT_TRUE(stream->ended());
  EXPECT_EQ(counter("stream.cut-short"), 0u);
}

TEST_P(StreamSocketTest, WhatWaitedForWhoHungUpIsLetGo) {
  const Bytes frame = ethernet(1, 2, 1514);
  ASSERT_TRUE(peer->send(frame));
  while (send({frame}) == 0) {
  }
  peer->close();
  EXPECT_EQ(receive(), std::vector<Bytes>{frame});
  EXPECT_EQ(send({frame}), 1u);
  EXPECT_TRUE(receive().empty());
  EXPECT_TRUE(stream->ended());
}

TEST(StreamSocketLengthTest, LengthsThatNoFrameHas) {
  for (const std::uint32_t length :
       {0xffffffffu, 0x80000000u, 0x10000u + 0xff00u, std::uint32_t{sw::kMaxFrame + 1}}) {
    const Fd epoll(epoll_create1(EPOLL_CLOEXEC));
    auto [ours, theirs] = test::stream_pair();
    StreamSocket stream(epoll.get(), {});
    ASSERT_TRUE(stream.open(std::move(ours)));
    const StreamPeer peer(std::move(theirs));
    const Bytes frame = ethernet(1, 2, 60);
    ASSERT_TRUE(peer.send(frame));
    Bytes lie;
    for (const int shift : {24, 16, 8, 0})
      lie.push_back(static_cast<std::uint8_t>(length >> shift));
    ASSERT_TRUE(peer.say(lie));
    ASSERT_TRUE(peer.say(Bytes(1000)));
    auto burst = std::make_unique<sw::Burst>();
    stream.receive(*burst);
    EXPECT_EQ(burst->size(), 1u) << "what came before";
    burst->clear();
    stream.receive(*burst);
    EXPECT_TRUE(burst->empty());
    EXPECT_TRUE(stream.ended());
    EXPECT_EQ(stream.bad_length(), length);
  }
}

}  // namespace
}  // namespace rp::sockets
