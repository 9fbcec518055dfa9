// SPDX-License-Identifier: BSD-3-Clause
// datagram_socket_test.cc - frames through sockets of each kind, and readers that don't read.
#include "sockets/datagram_socket.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <string>

#include "base/descriptors.h"
#include "tests/base/resident.h"
#include "tests/base/temp_folder.h"
#include "tests/sockets/vde_client.h"

namespace rp::sockets {
namespace {

using test::Bytes;
using test::readable;

Bytes pattern(std::size_t size, std::uint32_t seed = 1) {
  Bytes d(size);
  for (auto& b : d) b = static_cast<std::uint8_t>((seed = seed * 1103515245 + 12345) >> 16);
  return d;
}

std::pair<Fd, Fd> unix_pair(int type) {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

std::pair<Fd, Fd> udp_pair() {
  Fd ends[2];
  sockaddr_in at[2] = {};
  for (int i = 0; i < 2; ++i) {
    at[i].sin_family = AF_INET;
    at[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at[i];
    auto* a = reinterpret_cast<sockaddr*>(&at[i]);
    ends[i].reset(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(ends[i].get(), a, size), 0);
    EXPECT_EQ(getsockname(ends[i].get(), a, &size), 0);
  }
  for (int i = 0; i < 2; ++i)
    EXPECT_EQ(connect(ends[i].get(), reinterpret_cast<sockaddr*>(&at[1 - i]), sizeof at[i]), 0);
  return {std::move(ends[0]), std::move(ends[1])};
}

/// One end is ours, the other is held by the test.
struct Line {
  explicit Line(std::pair<Fd, Fd> ends, const QueueLimits& limits = {},
                std::shared_ptr<DatagramBuffers> buffers = std::make_shared<DatagramBuffers>(),
                DatagramSocket::Watched watched = DatagramSocket::Watched::all)
      : far(std::move(ends.second)),
        near(std::move(ends.first), epoll.get(), watched, std::move(buffers), limits) {}

  bool say(const Bytes& frame) const {
    return ::send(far.get(), frame.data(), frame.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
           static_cast<ssize_t>(frame.size());
  }
  /// What the far end gets; nothing: no frame waits.
  std::optional<Bytes> hear() const {
    Bytes b(100'000);
    const auto n = recv(far.get(), b.data(), b.size(), MSG_DONTWAIT);
    if (n < 0) return std::nullopt;
    b.resize(static_cast<std::size_t>(n));
    return b;
  }
  std::vector<Bytes> receive() {
    burst->clear();
    near.receive(*burst, now += 1us);
    std::vector<Bytes> got;
    for (const sw::Frame& f : burst->frames()) {
      got.emplace_back(f.len);
      if (f.len != 0) f.copy_to(got.back().data());
    }
    near.release();
    return got;
  }
  /// Returns how many were refused.
  std::size_t send(const std::vector<Bytes>& frames) {
    std::vector<sw::Frame> f(frames.size());
    std::vector<sw::Part> parts(frames.size());
    std::vector<const sw::Frame*> p;
    for (std::size_t i = 0; i < frames.size(); ++i) {
      sw::make_frame(f[i], parts[i], frames[i]);
      p.push_back(&f[i]);
    }
    return near.send(p);
  }
  std::uint64_t counter(std::string_view name) const {
    std::map<std::string, std::uint64_t, std::less<>> all;
    near.report([&](std::string_view n, std::uint64_t v) { all.emplace(n, v); });
    return all.at(std::string(name));
  }

  Fd far, epoll = make_epoll();
  Instant now{1s};
  std::unique_ptr<sw::Burst> burst = std::make_unique<sw::Burst>();
  DatagramSocket near;
};

enum Kind { kDatagram, kSeqpacket, kUdp };

class AnySocket : public ::testing::TestWithParam<Kind> {
 protected:
  static std::pair<Fd, Fd> ends() {
    return GetParam() == kUdp ? udp_pair()
                              : unix_pair(GetParam() == kDatagram ? SOCK_DGRAM : SOCK_SEQPACKET);
  }
};
const char* name_of(const ::testing::TestParamInfo<Kind>& k) {
  return k.param == kDatagram ? "Datagram" : k.param == kSeqpacket ? "Seqpacket" : "Udp";
}
INSTANTIATE_TEST_SUITE_P(, AnySocket, ::testing::Values(kDatagram, kSeqpacket, kUdp), name_of);

TEST_P(AnySocket, WholeFramesBothWaysByteForByte) {
  Line line(ends());
  const std::size_t longest = GetParam() == kUdp ? 65507 : sw::kMaxFrame;
  for (const std::size_t size :
       {std::size_t{1}, std::size_t{14}, std::size_t{60}, std::size_t{128}, std::size_t{129},
        std::size_t{1514}, std::size_t{9018}, std::size_t{40'000}, longest}) {
    const Bytes frame = pattern(size, static_cast<std::uint32_t>(size));
    ASSERT_TRUE(line.say(frame)) << size;
    const auto got = line.receive();
    ASSERT_EQ(got.size(), 1u) << size;
    ASSERT_EQ(got[0], frame) << size;
    ASSERT_EQ(line.send({frame}), 0u);
    ASSERT_EQ(line.hear(), frame) << size;
  }
  EXPECT_TRUE(line.receive().empty());
  EXPECT_TRUE(line.near.arm());
  EXPECT_EQ(line.counter("socket.queued"), 0u);
}

TEST_P(AnySocket, ManyFramesKeepTheirOrder) {
  Line line(ends());
  std::vector<Bytes> frames;
  for (std::uint32_t i = 0; i < 100; ++i) frames.push_back(pattern(60 + i, i));
  for (const auto& f : frames) ASSERT_TRUE(line.say(f));
  std::vector<Bytes> got;
  for (const std::size_t expected : {std::size_t{1}, sw::Burst::kFrames, 99 - sw::Burst::kFrames}) {
    const auto some = line.receive();
    EXPECT_EQ(some.size(), expected);
    got.insert(got.end(), some.begin(), some.end());
    EXPECT_EQ(line.near.arm(), expected != sw::Burst::kFrames) << "more is likely after that";
    EXPECT_EQ(readable(line.epoll.get(), 0), got.size() < frames.size());
  }
  EXPECT_EQ(got, frames);
  EXPECT_TRUE(line.near.arm());
  ASSERT_EQ(line.send(frames), 0u);
  for (const auto& f : frames) ASSERT_EQ(line.hear(), f);
}

TEST_P(AnySocket, TellsOfFramesThatComeAfterIt) {
  Line line(ends());
  EXPECT_FALSE(readable(line.epoll.get(), 0));
  EXPECT_TRUE(line.receive().empty());
  EXPECT_TRUE(line.near.arm());
  ASSERT_TRUE(line.say(pattern(60)));
  EXPECT_TRUE(readable(line.epoll.get(), test::kPatienceMs));
  EXPECT_EQ(line.receive().size(), 1u);
  EXPECT_FALSE(readable(line.epoll.get(), 0));
}

TEST(DatagramSocket, TooLongAFrameIsCountedAndCutForNobody) {
  Line line(unix_pair(SOCK_DGRAM));
  ASSERT_TRUE(line.say(pattern(sw::kMaxFrame + 1)));
  ASSERT_TRUE(line.say(pattern(60)));
  EXPECT_TRUE(line.receive().empty());
  EXPECT_EQ(line.receive(), std::vector<Bytes>(1, pattern(60)));
  EXPECT_EQ(line.counter("drop.truncated"), 1u);
  // The same in a burst.
  ASSERT_TRUE(line.say(pattern(sw::kMaxFrame + 1)));
  ASSERT_TRUE(line.say(pattern(61)));
  EXPECT_EQ(line.receive(), std::vector<Bytes>(1, pattern(61)));
  EXPECT_EQ(line.counter("drop.truncated"), 2u);
}

TEST(DatagramSocket, AnEmptyDatagramIsAFrameAndNoEnd) {
  Line line(unix_pair(SOCK_DGRAM));
  ASSERT_TRUE(line.say({}));
  EXPECT_EQ(line.receive().size(), 1u);
  EXPECT_FALSE(line.near.closed());
}

TEST(DatagramSocket, ASequencedPeerThatHangsUpEndsIt) {
  Line line(unix_pair(SOCK_SEQPACKET));
  ASSERT_TRUE(line.say(pattern(60)));
  line.far.reset();
  EXPECT_TRUE(readable(line.epoll.get(), test::kPatienceMs));
  EXPECT_EQ(line.receive(), std::vector<Bytes>(1, pattern(60)));
  line.receive();
  EXPECT_TRUE(line.near.closed());
  EXPECT_TRUE(line.near.arm());
}

TEST(DatagramSocket, AFrameInManyPartsGoesOutAsOne) {
  Line line(unix_pair(SOCK_DGRAM));
  const Bytes bytes = pattern(6000);
  for (const std::size_t n : {std::size_t{1}, std::size_t{5}, std::size_t{1000}, std::size_t{1023},
                              std::size_t{1024}, std::size_t{1088}}) {
    std::vector<sw::Part> parts;
    std::size_t at = sw::Frame::kHead;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t len = i + 1 == n ? bytes.size() - at : 5;
      parts.push_back({bytes.data() + at, static_cast<std::uint32_t>(len)});
      at += len;
    }
    sw::Frame f;
    sw::Part whole;
    sw::make_frame(f, whole, bytes);
    f.body = parts;
    const sw::Frame* twice[] = {&f, &f, &f};
    ASSERT_EQ(line.near.send(twice), 0u);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(line.hear(), bytes) << n;
  }
}

TEST(DatagramSocket, AStuckReaderCostsItsOwnFramesOnlyAndGetsWhatWaits) {
  Line line(unix_pair(SOCK_DGRAM), {.frames = 10, .bytes = std::size_t{1} << 20});
  std::uint32_t taken = 0, refused = 0;
  while (refused < 100) {
    ASSERT_LT(taken, 100'000u);
    if (line.send({pattern(1500, taken)}) == 0)
      ++taken;
    else
      ++refused;
  }
  EXPECT_EQ(line.counter("socket.waiting"), 10u);
  EXPECT_TRUE(line.receive().empty());
  EXPECT_TRUE(line.near.arm());
  EXPECT_FALSE(readable(line.epoll.get(), 0)) << "no room, nothing to wake up for";
  // It reads again: all that was taken comes, in order.
  for (std::uint32_t i = 0; i < taken; ++i) {
    auto got = line.hear();
    if (!got) {
      ASSERT_TRUE(readable(line.epoll.get(), test::kPatienceMs));
      line.receive();
      got = line.hear();
    }
    ASSERT_EQ(got, pattern(1500, i)) << i;
  }
  line.receive();
  EXPECT_EQ(line.counter("socket.waiting"), 0u);
  EXPECT_FALSE(readable(line.epoll.get(), 0)) << "room is of no interest when nothing waits";
  EXPECT_EQ(line.send({pattern(60)}), 0u);
  EXPECT_EQ(line.hear(), pattern(60));
}

TEST(DatagramSocket, WhoAsksForRoomAloneIsToldOfNoFrames) {
  Line line(unix_pair(SOCK_DGRAM), {.frames = 10, .bytes = std::size_t{1} << 20},
            std::make_shared<DatagramBuffers>(), DatagramSocket::Watched::room);
  ASSERT_TRUE(line.say(pattern(60)));
  EXPECT_FALSE(readable(line.epoll.get(), 0));
  EXPECT_TRUE(readable(line.near.fd(), 0));
  EXPECT_EQ(line.receive().size(), 1u);
  for (unsigned round = 1; round <= 2; ++round) {
    while (line.send({pattern(1500)}) == 0) {
    }
    EXPECT_FALSE(readable(line.epoll.get(), 0));
    while (line.hear()) {
    }
    EXPECT_TRUE(readable(line.epoll.get(), test::kPatienceMs));
    EXPECT_TRUE(line.receive().empty());
    EXPECT_EQ(line.counter("socket.waiting"), 0u);
    EXPECT_FALSE(readable(line.epoll.get(), 0)) << "room is of no interest when nothing waits";
    EXPECT_EQ(line.counter("socket.queued"), 10u * round);
  }
}

TEST(DatagramSocket, NobodyIsToldOfFramesThatAskedForRoomAlone) {
  Line line(unix_pair(SOCK_DGRAM), {}, std::make_shared<DatagramBuffers>(),
            DatagramSocket::Watched::room);
  const auto watches = [&] {
    std::ifstream info("/proc/self/fdinfo/" + std::to_string(line.epoll.get()));
    return std::count(std::istream_iterator<std::string>(info), {}, "tfd:");
  };
  EXPECT_EQ(watches(), 0) << "the sender pays for each";
  while (line.counter("socket.queued") == 0) line.send({pattern(1500)});
  EXPECT_EQ(watches(), 1);
  while (line.hear()) {
  }
  line.receive();
  EXPECT_EQ(watches(), 0);
}

TEST(DatagramSocket, WhoTookACrowdIsPolledForATurn) {
  Line line(unix_pair(SOCK_DGRAM));
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(line.send({pattern(60), pattern(60)}), 0u);
    EXPECT_FALSE(line.near.flush());
    EXPECT_TRUE(line.near.arm());
    for (unsigned i = 0; i < sw::Burst::kFrames; ++i) EXPECT_EQ(line.send({pattern(60)}), 0u);
    EXPECT_TRUE(line.near.flush());
    EXPECT_FALSE(line.near.arm());
    EXPECT_TRUE(line.receive().empty());
    EXPECT_TRUE(line.near.arm());
    while (line.hear()) {
    }
  }
}

TEST(DatagramSocket, RareLooksTakeManyFramesAllTheSame) {
  Line line(unix_pair(SOCK_DGRAM));
  for (unsigned round = 0; round < 3; ++round) {
    std::size_t said = 0, heard = 0;
    while (said < 200 && line.say(pattern(60))) ++said;
    unsigned looks = 0;
    for (; heard < said && looks < 200; ++looks) {
      line.now += 1ms;
      heard += line.receive().size();
    }
    EXPECT_EQ(heard, said);
    EXPECT_LE(looks, 2 * (said / sw::Burst::kFrames + 5)) << said;
  }
}

TEST(DatagramSocket, ALongQueueGoesOutInShares) {
  for (const std::size_t length : {60u, 1500u}) {
    Line line(unix_pair(SOCK_DGRAM), {.frames = 1000, .bytes = std::size_t{2} << 20});
    std::uint32_t heard = 0, taken = 0;
    while (line.send({pattern(length, taken)}) == 0) ++taken;
    const auto hear_all = [&] {
      while (const auto frame = line.hear()) ASSERT_EQ(frame, pattern(length, heard++));
    };
    hear_all();
    std::size_t waiting = line.counter("socket.waiting");
    EXPECT_EQ(waiting, 1000u);
    ASSERT_TRUE(readable(line.epoll.get(), test::kPatienceMs));
    while (waiting != 0) {
      EXPECT_TRUE(line.receive().empty());
      const std::size_t left = line.counter("socket.waiting");
      ASSERT_EQ(waiting - left, std::min(waiting, 2 * sw::Burst::kFrames));
      // The kernel does not tell of room while this little is under way, so nothing else would.
      EXPECT_EQ(line.near.arm(), left == 0) << "there is room for more, in the next turn";
      waiting = left;
      hear_all();
    }
    EXPECT_EQ(heard, taken);
    EXPECT_FALSE(readable(line.epoll.get(), 0));
  }
}

TEST(DatagramSocket, FramesThatFailAreAShareAsWell) {
  Line line(unix_pair(SOCK_DGRAM), {.frames = 1000, .bytes = std::size_t{16} << 20});
  const int room = 4096;
  ASSERT_EQ(setsockopt(line.near.fd(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room), 0);
  while (line.counter("socket.waiting") == 0) line.send({pattern(1500)});
  // The kernel takes none that is longer than all of its room.
  for (int i = 0; i < 999; ++i) ASSERT_EQ(line.send({pattern(9000)}), 0u);
  while (line.hear()) {
  }
  for (std::size_t waiting = line.counter("socket.waiting"); waiting != 0;) {
    const std::uint64_t lost = line.counter("drop.unsent");
    EXPECT_TRUE(line.receive().empty());
    while (line.hear()) {
    }
    const std::size_t left = line.counter("socket.waiting");
    ASSERT_LT(left, waiting);
    ASSERT_LE(line.counter("drop.unsent") - lost, 2 * sw::Burst::kFrames);
    waiting = left;
  }
  EXPECT_TRUE(line.near.arm());
}

TEST(DatagramSocket, AQueueThatIsCutShortLeavesNothingToDo) {
  Line line(unix_pair(SOCK_DGRAM), {.frames = 1000, .bytes = std::size_t{2} << 20});
  while (line.send({pattern(60)}) == 0) {
  }
  while (line.hear()) {
  }
  line.receive();
  EXPECT_FALSE(line.near.arm());
  line.near.set_queue(1);
  for (int turns = 0; turns < 2; ++turns) line.receive();
  EXPECT_EQ(line.counter("socket.waiting"), 0u);
  EXPECT_TRUE(line.near.arm());
}

TEST(DatagramSocket, AReaderThatIsSlowGetsAFrameForEachThatItReads) {
  Line line(unix_pair(SOCK_DGRAM), {.frames = 10, .bytes = std::size_t{1} << 20});
  for (int refused = 0; refused < 1000;) refused += line.send({pattern(1500)}) != 0;
  // Long before the kernel says that there is room; it takes a while to find out.
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(line.hear());
  int tries = 1;
  while (line.send({pattern(1500)}) != 0) ASSERT_LT(++tries, 100);
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(line.hear());
    ASSERT_EQ(line.send({pattern(1500)}), 0u) << i;
  }
}

TEST(DatagramSocket, TheQueueIsBoundedInBytesToo) {
  Line line(unix_pair(SOCK_DGRAM), {.frames = 1000, .bytes = 100'000});
  for (int i = 0; i < 1000; ++i) line.send({pattern(40'000)});
  EXPECT_EQ(line.counter("socket.waiting"), 2u);
}

TEST(DatagramSocket, TheQueueGetsLongerAndShorterUnderAStuckReader) {
  Line line(unix_pair(SOCK_DGRAM), {.frames = 10, .bytes = std::size_t{1} << 20});
  const auto fill = [&] {
    for (int i = 0; i < 1000; ++i) line.send({pattern(1500)});
    return line.counter("socket.waiting");
  };
  EXPECT_EQ(fill(), 10u);
  line.near.set_queue(100);
  EXPECT_EQ(fill(), 100u);
  line.near.set_queue(3);
  EXPECT_EQ(line.counter("socket.waiting"), 3u);
  EXPECT_EQ(line.counter("drop.unsent"), 97u);
  EXPECT_EQ(fill(), 3u);
  line.near.set_queue(0);
  EXPECT_EQ(fill(), 10u);
}

TEST(DatagramSocket, AReaderThatWentDelaysNothing) {
  using enum DatagramSocket::Watched;
  for (const auto& [type, watched] :
       {std::pair(SOCK_DGRAM, all), std::pair(SOCK_DGRAM, room), std::pair(SOCK_SEQPACKET, all),
        std::pair(SOCK_SEQPACKET, room)}) {
    Line line(unix_pair(type), {}, std::make_shared<DatagramBuffers>(), watched);
    while (line.send({pattern(1500)}) == 0 && line.counter("socket.waiting") == 0) {
    }
    ASSERT_GT(line.counter("socket.waiting"), 0u);
    line.far.reset();
    EXPECT_TRUE(readable(line.epoll.get(), test::kPatienceMs));
    line.receive();
    EXPECT_EQ(line.counter("socket.waiting"), 0u);
    EXPECT_EQ(line.send(std::vector<Bytes>(64, pattern(60))), 0u);
    EXPECT_GE(line.counter("drop.unsent"), 65u);
    for (int i = 0; i < 100; ++i) line.receive();
    EXPECT_TRUE(line.near.arm());
    EXPECT_TRUE(line.near.closed() || !readable(line.epoll.get(), 0)) << "would spin";
  }
}

TEST(DatagramSocket, AThousandShareTheirMemory) {
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  const rlimit more{std::min<rlim_t>(usual.rlim_max, 4096), usual.rlim_max};
  if (more.rlim_cur < 3100) GTEST_SKIP() << "the limit of descriptors is below 3100";
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &more), 0);
  const auto buffers = std::make_shared<DatagramBuffers>();
  const std::size_t before = test::resident();
  {
    std::vector<std::unique_ptr<Line>> lines;
    for (int i = 0; i < 1000; ++i)
      lines.push_back(std::make_unique<Line>(unix_pair(SOCK_DGRAM), QueueLimits{}, buffers));
    for (std::uint32_t i = 0; i < lines.size(); ++i) {
      const Bytes frame = pattern(1500, i);
      for (int k = 0; k < 64; ++k) ASSERT_TRUE(lines[i]->say(frame));
      for (int got = 0; got < 64;) {
        const auto frames = lines[i]->receive();
        got += static_cast<int>(frames.size());
        for (const auto& f : frames) ASSERT_EQ(f, frame);
      }
    }
    // The test's own bursts are the bulk of it.
    EXPECT_LT(test::resident(), before + 100'000u * 1024);
  }
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
}

TEST_P(AnySocket, AFrameWhoseMemoryIsGoneIsTheOnlyOneThatIsLost) {
  Line line(ends());
  constexpr std::size_t kPage = 4096;
  auto* pages = static_cast<std::uint8_t*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  ASSERT_EQ(munmap(pages + kPage, kPage), 0);
  sw::Frame gone;
  sw::Part part;
  sw::make_frame(gone, part, std::span(pages, 2 * kPage));
  const sw::Frame* const frame = &gone;
  EXPECT_EQ(line.near.send({&frame, 1}), 0u);
  EXPECT_EQ(line.counter("drop.unsent"), 1u);
  EXPECT_FALSE(line.near.refused() || line.near.closed());
  EXPECT_EQ(line.send({pattern(100)}), 0u);
  EXPECT_EQ(line.hear(), pattern(100));
  munmap(pages, kPage);
}

TEST(DatagramSocket, WhoHasTheAddressByThenGetsTheWholeBurst) {
  const test::TempFolder folder;
  sockaddr_un at{AF_UNIX, {}};
  const std::string path = folder / "peer";
  path.copy(at.sun_path, sizeof at.sun_path - 1);
  const auto* address = reinterpret_cast<const sockaddr*>(&at);
  const auto bound = [&] {
    unlink(path.c_str());
    Fd s(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(bind(s.get(), address, sizeof at), 0);
    return s;
  };
  Fd far = bound();
  Fd near(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(near.get(), address, sizeof at), 0);
  Line line({std::move(near), std::move(far)});
  line.near.follow(address, sizeof at);
  line.far = bound();
  const std::vector<Bytes> frames{pattern(60, 1), pattern(1500, 2), pattern(300, 3)};
  EXPECT_EQ(line.send(frames), 0u);
  for (const Bytes& f : frames) EXPECT_EQ(line.hear(), f);
  EXPECT_EQ(line.hear(), std::nullopt);
  EXPECT_EQ(line.counter("drop.unsent"), 0u);
  EXPECT_FALSE(line.near.refused());
  line.far.reset();
  EXPECT_EQ(line.send(frames), 0u);
  EXPECT_EQ(line.counter("drop.unsent"), 3u);
  EXPECT_TRUE(line.near.refused());
}

}  // namespace
}  // namespace rp::sockets
