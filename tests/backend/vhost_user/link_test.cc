// SPDX-License-Identifier: BSD-3-Clause
// link_test.cc - plugs on another switch: frames, back ends of every kind, and switches that die.
#include "backend/vhost_user/link.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <random>
#include <thread>

#include "backend/vhost_user/features.h"
#include "base/runtime_dir.h"
#include "tests/api/process_state.h"
#include "tests/backend/scale.h"
#include "tests/backend/vhost_user/linked.h"

namespace rp::backend::vhost_user {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class LinkTest : public testing::Test {
 protected:
  test::Runtime runtime_;
};

TEST_F(LinkTest, FramesBothWaysByteForByte) {
  Hall hall;
  LinkedPlug a, b;
  std::mt19937 random(1);
  std::vector<std::size_t> sizes{60, 1514, 2035, 2036, 2037, 65535, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < rounds(3000); ++n)
    sizes.push_back(60 + random() % (n % 2 ? 2000u : sw::kMaxFrame - 59u));
  std::uint32_t number = 0;
  for (std::size_t size : sizes) {
    for (auto [from, to] : {std::pair{&a, &b}, std::pair{&b, &a}}) {
      const Bytes frame = to_all(from == &a ? 1 : 2, size, ++number);
      ASSERT_TRUE(from->send(frame));
      ASSERT_TRUE(same(to->next(), frame)) << size;
      ASSERT_FALSE(readable(to->plug.fd()));
    }
  }
  EXPECT_EQ(a.link.connections(), 1u);
}

/// A TCP segment of `payload` bytes that is to be cut up and summed.
Bytes segment(std::uint8_t from, std::uint16_t payload) {
  Bytes f = to_all(from, 54u + payload, 1);
  f[12] = 8, f[13] = 0;
  std::fill_n(f.begin() + 14, 40, std::uint8_t{0});
  const auto length = static_cast<std::uint16_t>(payload + 40u);
  f[14] = 0x45, f[16] = static_cast<std::uint8_t>(length >> 8);
  f[17] = static_cast<std::uint8_t>(length), f[22] = 64, f[23] = 6, f[46] = 5 << 4;
  return f;
}

TEST_F(LinkTest, OffloadsPassWhereTheyAreTaken) {
  Hall hall;
  LinkedPlug a, all, none(sw::Offloads{});
  const sw::Offload o{VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1000, 34, 16};
  const Bytes frame = segment(1, 10'000);
  ASSERT_TRUE(a.send(frame, o));
  ASSERT_TRUE(readable(all.plug.fd(), 20'000));
  Plug::Received r[1];
  ASSERT_EQ(all.plug.peek(r), 1u);
  EXPECT_TRUE(same(r[0].bytes, frame));
  EXPECT_EQ(r[0].offload.gso_type, o.gso_type);
  EXPECT_EQ(r[0].offload.gso_size, o.gso_size);
  EXPECT_EQ(r[0].offload.flags, o.flags);
  EXPECT_EQ(r[0].offload.csum_start, o.csum_start);
  EXPECT_EQ(r[0].offload.csum_offset, o.csum_offset);
  all.plug.release(1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(none.next().size(), 1054u);
  EXPECT_FALSE(readable(none.plug.fd()));
}

// Who else may be there.

std::string refusal(Errc expected) {
  try {
    const LinkedPlug plug;
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), expected) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "linked";
  return "";
}

bool has_words(const std::string& sentence, const char* words) {
  return sentence.find(words) != std::string::npos;
}

TEST_F(LinkTest, NoSuchSwitch) {
  const std::string sentence = "no switch 'lan0' runs; start one: ringplug switch lan0";
  EXPECT_EQ(refusal(Errc::not_found), sentence);
  { const Hall hall; }
  EXPECT_EQ(refusal(Errc::not_found), sentence);
  // What a dead one left behind is none either.
  const Fd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto address = unix_address(runtime_path("lan0", ".plug"), "");
  ASSERT_EQ(bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  EXPECT_EQ(refusal(Errc::not_found), sentence);
  EXPECT_THROW(LinkedPlug(kAllOffloads, "../lan0"), Error);
  EXPECT_THROW(LinkedPlug(kAllOffloads, ""), Error);
}

TEST_F(LinkTest, WhatItTellsOfASwitchThatWent) {
  for (const bool on_demand : {false, true}) {
    std::atomic<int> asked{0};
    std::atomic<bool> said_on_demand{!on_demand}, said_killed{true}, start{false};
    std::optional<Hall> hall(std::in_place, "lan0", on_demand);
    Plug plug(PlugMemory::create());
    const Link link("lan0", plug, kAllOffloads, quiet(), [&](const Gone& gone) {
      said_on_demand = gone.on_demand;
      said_killed = gone.killed;
      if (start) hall.emplace("lan0", on_demand);
      ++asked;
      return start.load();
    });
    EXPECT_TRUE(link.up());
    hall.reset();
    // It took its socket away.
    ASSERT_TRUE(soon([&] { return asked > 1; }));
    EXPECT_EQ(said_on_demand, on_demand);
    EXPECT_FALSE(said_killed);
    {
      const Fd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const auto address = unix_address(runtime_path("lan0", ".plug"), "");
      ASSERT_EQ(bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    }
    ASSERT_TRUE(soon([&] { return said_killed.load(); }));
    start = true;
    EXPECT_TRUE(soon([&] { return link.up(); }));
    EXPECT_EQ(link.connections(), 2u);
  }
}

/// Something that listens in a switch's place, and serves one connection by `talk`.
class Impostor {
 public:
  explicit Impostor(std::function<void(int)> talk)
      : listener_(unix_address(runtime_path("lan0", ".plug"), ""), 1, ""),
        thread_([this, talk = std::move(talk)] {
          if (!readable(listener_.fd(), 20'000)) return;
          const Fd peer(accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
          talk(peer.get());
        }) {}
  ~Impostor() { thread_.join(); }

 private:
  UnixListener listener_;
  std::thread thread_;
};

struct Reply {
  Header header;
  std::uint32_t value[2];
};
Reply reply(Request r, std::uint64_t value) {
  Reply a{{static_cast<std::uint32_t>(r), kVersion | kReply, 8}, {}};
  std::memcpy(a.value, &value, 8);
  return a;
}
void put(int fd, const Reply& r) {
  EXPECT_EQ(send(fd, &r, 20, MSG_NOSIGNAL), 20);
}
/// Reads requests until the peer hangs up.
void drain(int fd) {
  char buffer[512];
  while (recv(fd, buffer, sizeof buffer, 0) > 0) {
  }
}
/// Answers up to `n` requests as a door does. Returns how many came.
std::size_t answer(int fd, std::size_t n) {
  Header h;
  char payload[512];
  for (std::size_t i = 0; i < n; ++i) {
    if (recv(fd, &h, sizeof h, MSG_WAITALL) != sizeof h) return i;
    if (h.size) recv(fd, payload, h.size, MSG_WAITALL);
    const auto r = static_cast<Request>(h.request);
    const std::uint64_t value = r == Request::get_features            ? kFeatures
                                : r == Request::get_protocol_features ? kProtocolFeatures
                                                                      : 0;
    if (r != Request::set_protocol_features) put(fd, reply(r, value));
  }
  return n;
}

TEST_F(LinkTest, NotOurDoor) {
  const auto without = [](std::uint64_t features, std::uint64_t protocol) {
    const Impostor impostor([=](int fd) {
      put(fd, reply(Request::get_features, features));
      if (features != 0) put(fd, reply(Request::get_protocol_features, protocol));
      drain(fd);
    });
    EXPECT_TRUE(has_words(refusal(Errc::unsupported), "is no switch of this version"));
  };
  without(kFeatures, kProtocolFeatures & ~bit(kDoorbell));
  without(kFeatures, kProtocolFeatures & ~bit(kReplyAck));
  without(kFeatures & ~bit(VIRTIO_F_IN_ORDER), kProtocolFeatures);
  without(0, kProtocolFeatures);
}

TEST_F(LinkTest, HangsUpAfterAnyMessage) {
  std::size_t all = 0;
  {
    const Impostor willing([&](int fd) { all = answer(fd, 1000); });
    const LinkedPlug plug;
  }
  ASSERT_GT(all, 10u);
  for (std::size_t n = 0; n < all; ++n) {
    const Impostor impostor([=](int fd) { answer(fd, n); });
    EXPECT_EQ(refusal(Errc::system), "switch 'lan0' hung up") << n;
  }
}

TEST_F(LinkTest, WhatIsNoAnswer) {
  Reply other = reply(Request::get_features, kFeatures);
  other.header.request = 15;
  Reply unasked = reply(Request::get_features, kFeatures);
  unasked.header.flags = kVersion;
  Reply longer = reply(Request::get_features, kFeatures);
  longer.header.size = 512;
  for (const Reply& r : {other, unasked, longer}) {
    const Impostor impostor([=](int fd) {
      put(fd, r);
      drain(fd);
    });
    EXPECT_TRUE(has_words(refusal(Errc::unsupported), "answers as no back end"));
  }
  const Impostor impostor([](int fd) {
    answer(fd, 3);
    put(fd, reply(Request::set_owner, 1));
    drain(fd);
  });
  EXPECT_TRUE(has_words(refusal(Errc::unsupported), "refuses message 3"));
}

TEST_F(LinkTest, SilenceIsWaitedForTwoSeconds) {
  const auto start = Clock::now();
  const Impostor impostor(drain);
  EXPECT_TRUE(has_words(refusal(Errc::system), "did not answer within 2 seconds"));
  EXPECT_GE(Clock::now() - start, 1900ms);
}

TEST_F(LinkTest, AnswersMayComeByteByByte) {
  const Impostor impostor([](int fd) {
    const Reply r = reply(Request::get_features, 0);
    for (std::size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(send(fd, reinterpret_cast<const char*>(&r) + i, 1, MSG_NOSIGNAL), 1);
      poll(nullptr, 0, 1);
    }
    drain(fd);
  });
  EXPECT_TRUE(has_words(refusal(Errc::unsupported), "is no switch of this version"));
}

// A switch that goes.

TEST_F(LinkTest, FramesWaitForTheSwitchToComeBack) {
  auto hall = std::make_unique<Hall>();
  LinkedPlug a, b;
  ASSERT_TRUE(a.send(to_all(1, 100, 0)));
  ASSERT_FALSE(b.next().empty());
  hall.reset();
  ASSERT_TRUE(soon([&] { return !a.link.up() && !b.link.up(); }));
  for (std::uint32_t i = 0; i < 50; ++i) ASSERT_TRUE(b.send(to_all(2, 100, i)));
  // A plug that is there from the start, so that none of the frames finds nobody.
  hall = std::make_unique<Hall>();
  LinkedPlug c;
  for (std::uint32_t i = 0; i < 50; ++i) ASSERT_TRUE(same(c.next(), to_all(2, 100, i))) << i;
  ASSERT_TRUE(soon([&] { return a.link.up() && b.link.up(); }));
  EXPECT_EQ(b.link.connections(), 2u);
  // A receive ends what the coming back made readable.
  EXPECT_TRUE(b.take().empty());
  EXPECT_FALSE(readable(b.plug.fd()));
  ASSERT_TRUE(c.send(to_all(3, 60, 1)));
  EXPECT_TRUE(same(b.next(), to_all(3, 60, 1)));
}

TEST_F(LinkTest, WhatCameBeforeTheSwitchWentIsThere) {
  auto hall = std::make_unique<Hall>();
  LinkedPlug a, b;
  const std::string port = "plug:" + std::to_string(getpid());
  for (std::uint32_t i = 0; i < 50; ++i) ASSERT_TRUE(a.send(to_all(1, 3000, i)));
  ASSERT_TRUE(soon([&] { return hall->counters()[port + "/out.frames"] == 50; }));
  hall.reset();
  for (std::uint32_t i = 0; i < 50; ++i) ASSERT_TRUE(same(b.next(), to_all(1, 3000, i))) << i;
  EXPECT_FALSE(readable(b.plug.fd()));
}

TEST_F(LinkTest, ASwitchThatStaysDeadFillsTheRing) {
  auto hall = std::make_unique<Hall>();
  const Bytes frame = to_all(1, 100, 1);
  LinkedPlug a;
  hall.reset();
  ASSERT_TRUE(soon([&] { return !a.link.up(); }));
  std::size_t sent = 0;
  while (a.send(frame)) ++sent;
  EXPECT_GE(sent, std::size_t{PlugLayout::kQueue} - 1);
  EXPECT_FALSE(a.send(frame));
  EXPECT_FALSE(a.plug.broken());
  EXPECT_FALSE(readable(a.plug.fd()));
  hall = std::make_unique<Hall>();
  ASSERT_TRUE(soon([&] { return a.send(frame); })) << "the ring never emptied";
}

/// Of a few times: one may meet a machine that stands still.
template <typename Leave>
Clock::duration quickest(const Leave& leave) {
  auto best = Clock::duration::max();
  for (int i = 0; i < 3; ++i) best = std::min(best, leave());
  return best;
}

Clock::duration time_to_leave(std::unique_ptr<LinkedPlug> a) {
  const auto start = Clock::now();
  a.reset();
  return Clock::now() - start;
}

TEST_F(LinkTest, LeavingIsQuick) {
  Hall hall;
  EXPECT_LT(quickest([] { return time_to_leave(std::make_unique<LinkedPlug>()); }), 1s);
  ASSERT_TRUE(soon([&] { return hall.ports().size() == 1; })) << "its port stayed";
}

TEST_F(LinkTest, LeavingIsQuickWhenTheSwitchIsGone) {
  EXPECT_LT(quickest([] {
              auto hall = std::make_unique<Hall>();
              auto a = std::make_unique<LinkedPlug>();
              hall.reset();
              EXPECT_TRUE(soon([&] { return !a->link.up(); }));
              return time_to_leave(std::move(a));
            }),
            1s);
}

TEST_F(LinkTest, LeavingIsQuickInTheMiddleOfAHandshake) {
  EXPECT_LT(quickest([] {
              auto hall = std::make_unique<Hall>();
              auto a = std::make_unique<LinkedPlug>();
              hall.reset();
              std::atomic<bool> accepted{false};
              const Impostor silent([&](int fd) {
                accepted = true;
                drain(fd);
              });
              EXPECT_TRUE(soon([&] { return accepted.load(); }));
              return time_to_leave(std::move(a));
            }),
            1s);
}

TEST_F(LinkTest, APortThatIsRemovedComesBack) {
  Hall hall;
  LinkedPlug a;
  sw::PortId id = sw::kNoPort;
  hall.loop.call([&](sw::Switch& s) { s.each_port([&](sw::PortId p) { id = p; }); });
  ASSERT_TRUE(hall.loop.remove(id));
  EXPECT_TRUE(soon([&] { return a.link.connections() == 2; }));
}

TEST_F(LinkTest, ABrokenRingStaysBroken) {
  auto hall = std::make_unique<Hall>();
  LinkedPlug a;
  const Mapping scribble(a.plug.shared().memory.get(), PlugLayout::kSize);
  hall.reset();
  ASSERT_TRUE(soon([&] { return !a.link.up(); }));
  const std::uint64_t used = PlugLayout::ring(PlugLayout::kToGuest).used + 2;
  store_relaxed(reinterpret_cast<std::uint16_t*>(scribble.data() + used), std::uint16_t{9999});
  hall = std::make_unique<Hall>();
  ASSERT_TRUE(soon([&] { return a.link.up(); }));
  a.take();
  EXPECT_TRUE(a.plug.recv_broken());
  EXPECT_FALSE(a.plug.send_broken());
  EXPECT_FALSE(readable(a.plug.fd()));
}

TEST_F(LinkTest, ADoorbellThatADeadSwitchTookIsMended) {
  auto hall = std::make_unique<Hall>();
  LinkedPlug a;
  const Mapping memory(a.plug.shared().memory.get(), PlugLayout::kSize);
  hall.reset();
  ASSERT_TRUE(soon([&] { return !a.link.up(); }));
  // It took the word, and died before it signalled.
  store_relaxed(reinterpret_cast<std::uint32_t*>(memory.data()), std::uint32_t{0});
  hall = std::make_unique<Hall>();
  ASSERT_TRUE(soon([&] { return a.link.up(); }));
  LinkedPlug b;
  ASSERT_TRUE(b.send(to_all(2, 100, 1)));
  EXPECT_TRUE(same(a.next(), to_all(2, 100, 1)));
}

TEST_F(LinkTest, SwitchesComeAndGoUnderLoad) {
  auto hall = std::make_unique<Hall>();
  LinkedPlug a, b;
  std::atomic<bool> stop{false};
  std::atomic<std::uint32_t> arrived{0};
  std::uint32_t sent = 0, wrong = 0, thrice = 0;
  std::thread sender([&] {
    std::mt19937 random(4);
    while (!stop) {
      for (int n = 0; n < 16; ++n) {
        const auto size = 64 + random() % (random() % 8 == 0 ? 9000u : 500u);
        if (!a.plug.send(to_all(1, size, sent), {})) break;
        ++sent;
      }
      a.plug.kick();
      std::this_thread::sleep_for(50us);
    }
  });
  std::thread receiver([&] {
    std::map<std::uint32_t, int> times;
    while (!stop) {
      if (!readable(b.plug.fd(), 20)) continue;
      for (const Bytes& f : b.take()) {
        wrong += !intact(f);
        thrice += ++times[number_of(f)] > 2;
        ++arrived;
      }
    }
  });
  std::mt19937 random(5);
  for (std::size_t i = 0; i < rounds(40) + 4; ++i) {
    const auto before = arrived.load();
    EXPECT_TRUE(soon([&] { return arrived > before + 10; })) << "nothing flows in round " << i;
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 5000));
    hall.reset();
    hall = std::make_unique<Hall>();
  }
  stop = true;
  sender.join();
  receiver.join();
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(thrice, 0u);
  EXPECT_FALSE(a.plug.broken());
  EXPECT_FALSE(b.plug.broken());
  // Whatever was under way has come; what is readable has a frame.
  poll(nullptr, 0, 300);
  while (!b.take().empty()) {
  }
  EXPECT_FALSE(readable(b.plug.fd()));
}

// What it costs.

TEST_F(LinkTest, IdleMeansNoWakeUps) {
  Hall hall;
  std::vector<std::unique_ptr<LinkedPlug>> plugs;
  for (int i = 0; i < 8; ++i) plugs.push_back(std::make_unique<LinkedPlug>());
  poll(nullptr, 0, 200);
  const auto links = sleeps_of("rp-link"), loops = sleeps_of("rp-switch");
  EXPECT_GT(links, 0u);
  poll(nullptr, 0, 1000);
  EXPECT_EQ(sleeps_of("rp-link"), links);
  EXPECT_EQ(sleeps_of("rp-switch"), loops);
}

TEST_F(LinkTest, LeavesNothingBehind) {
  Hall hall;
  { const LinkedPlug first; }
  ASSERT_TRUE(soon([&] { return hall.ports().size() == 1; }));
  const process_state before = process_state_now();
  for (int i = 0; i < 20; ++i) {
    {
      LinkedPlug a, b;
      a.send(to_all(1, 100, 1));
      ASSERT_FALSE(b.next().empty());
    }
    ASSERT_TRUE(soon([&] { return hall.ports().size() == 1; }));
  }
  const process_state after = process_state_now();
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(after.mappings, before.mappings);
}

}  // namespace
}  // namespace rp::backend::vhost_user
