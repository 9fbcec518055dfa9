// SPDX-License-Identifier: BSD-3-Clause
// port_test.cc - frames through a vhost-user port byte for byte, and the lives of its connections.
#include "backend/vhost_user/port.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>
#include <map>
#include <random>

#include "tests/backend/scale.h"
#include "tests/backend/vhost_user/front_end.h"
#include "tests/base/temp_folder.h"

namespace rp::backend::vhost_user {
namespace {

TEST(VhostUserPortTest, FramesFromTheGuestByteForByte) {
  Pair p;
  p.front.start();
  std::mt19937 random(1);
  std::vector<std::size_t> sizes{1499, 1500, 1514, 65535, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < 200; ++n) sizes.push_back(n);
  for (std::size_t n = 0; n < rounds(500); ++n) sizes.push_back(random() % (sw::kMaxFrame + 1));
  std::uint32_t seed = 0;
  for (std::size_t size : sizes) {
    const Bytes frame = pattern(size, ++seed);
    std::vector<std::uint32_t> cuts(random() % 20);
    for (auto& cut : cuts) cut = 1 + static_cast<std::uint32_t>(random() % (size / 4 + 1));
    p.guest.out().offer(frame, {}, cuts);
    p.guest.out().publish();
    p.back.turn();
    const auto got = p.back.take();
    ASSERT_EQ(got.size(), 1u) << size;
    ASSERT_TRUE(same(got[0], frame)) << size;
    ASSERT_EQ(p.guest.out().reap_all(), 1u);
  }
}

TEST(VhostUserPortTest, FramesToTheGuestByteForByte) {
  Pair p;
  p.front.start();
  GuestQueue& in = p.guest.in();
  std::mt19937 random(2);
  std::vector<std::size_t> sizes{1499, 1500, 2036, 2037, 65535, 65549, sw::kMaxFrame};
  for (std::size_t n = 0; n < 200; ++n) sizes.push_back(n);
  for (std::size_t n = 0; n < rounds(300); ++n) sizes.push_back(random() % (sw::kMaxFrame + 1));
  std::uint32_t seed = 0;
  for (std::size_t size : sizes) {
    in.refill(static_cast<std::uint32_t>(size / 100 + 13 + random() % 2000), 200);
    const Bytes frame = pattern(size, ++seed);
    ASSERT_TRUE(p.back.deliver(frame)) << size;
    const auto got = in.take();
    ASSERT_TRUE(got) << size;
    ASSERT_TRUE(same(got->bytes, frame)) << size;
    // All that is not taken is given back, so that each size finds its own.
    ASSERT_TRUE(in.untouched()) << size;
    const auto base = p.front.get_base(0);
    ASSERT_EQ(base, in.driver.used_idx());
    in.reset();
    p.front.start_ring(0, 0);
    p.front.enable(0);
  }
}

TEST(VhostUserPortTest, WhatWasSentIsSeenBeforeItsRingStops) {
  Pair p;
  p.front.start();
  GuestQueue& in = p.guest.in();
  in.refill();
  const Bytes frame = pattern(100, 1);
  for (const bool stop : {true, false}) {
    ASSERT_TRUE(send(*p.back.port, frame)) << "and no flush before the message";
    if (stop) {
      const auto base = p.front.get_base(0);
      EXPECT_EQ(base, in.driver.used_idx());
      p.front.start_ring(0, in.driver.used_idx());
      p.front.enable(0);
    } else {
      ASSERT_TRUE(p.front.set_memory());
    }
    const auto got = in.take();
    ASSERT_TRUE(got);
    EXPECT_EQ(got->bytes, frame);
    EXPECT_GE(take_signals(in.call), 1u);
  }
}

/// A port that listens in a folder of its own.
class Listening : public ::testing::Test {
 protected:
  Listening() : back(options(folder / "vm.sock")) {}
  static PortOptions options(const std::string& path) {
    PortOptions o;
    o.path = path;
    return o;
  }
  FrontEnd dial() { return {Wire::dial(folder / "vm.sock", back.pump()), guest}; }

  test::TempFolder folder;
  DirectPort back;
  Guest guest;
};
using VhostUserListeningTest = Listening;

TEST_F(VhostUserListeningTest, TheNextKnocksBeforeTheLastHangsUp) {
  for (int i = 0; i < 3; ++i) {
    FrontEnd front = dial();
    front.start();
    back.run();
    EXPECT_TRUE(back.port->link_up());
    FrontEnd again = dial();
    front.wire.close();
    back.turn();
    EXPECT_FALSE(back.port->link_up());
    ASSERT_NO_THROW(again.start()) << "turned away";
    EXPECT_TRUE(back.port->link_up());
    again.vanish();
  }
}

/// The descriptors that a process has left, taken while this lives.
class OutOfDescriptors {
 public:
  OutOfDescriptors() {
    getrlimit(RLIMIT_NOFILE, &before_);
    const rlimit few{64, before_.rlim_max};
    setrlimit(RLIMIT_NOFILE, &few);
    for (int fd = 0; (fd = dup(0)) >= 0;) taken_.emplace_back(fd);
  }
  ~OutOfDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  OutOfDescriptors(const OutOfDescriptors&) = delete;

 private:
  rlimit before_{};
  std::vector<Fd> taken_;
};

TEST_F(VhostUserListeningTest, OutOfDescriptorsItSleepsAndLetsInLater) {
  FrontEnd front = dial();
  DirectPort& door = back;  // UBSan looks at a member's object through a pipe
  {
    const OutOfDescriptors none;
    door.turn();
    EXPECT_NO_THROW(door.run()) << "it spins on a listener that it can't accept from";
  }
  pollfd p{back.port->poll_fd(), POLLIN, 0};
  ASSERT_EQ(poll(&p, 1, 20'000), 1) << "it never tries again";
  back.turn();
  EXPECT_NO_THROW(front.start());
  EXPECT_TRUE(back.port->link_up());
}

TEST(VhostUserPortTest, AListenerThatWasShutDownKeepsNobodyAwake) {
  test::TempFolder folder;
  const UnixListener listener(unix_address(folder / "vm.sock", "test"), 1, "test");
  PortOptions o;
  o.fd = listener.fd();
  DirectPort back(o);
  shutdown(listener.fd(), SHUT_RDWR);
  back.turn();
  EXPECT_NO_THROW(back.run());
}

TEST(VhostUserPortTest, ABusyQueueDoesNotStarveTheOthers) {
  Guest::Options o;
  o.pairs = 3;
  Pair p(o);
  p.front.start();
  const Bytes busy = pattern(60, 1), rare = pattern(61, 2);
  for (std::size_t from = 0; from < o.pairs; ++from) {
    for (std::size_t i = 0; i < o.pairs; ++i) {
      while (i != from && p.guest.out(i).driver.free_descriptors() > 0) p.guest.out(i).offer(busy);
    }
    p.guest.out(from).offer(rare);
    for (auto& q : p.guest.queues) q->publish();
    for (int i = 0; i < 3; ++i) p.back.turn();
    const auto got = p.back.take();
    EXPECT_EQ(std::count(got.begin(), got.end(), rare), 1) << from;
    p.back.run();
    p.back.take();
    for (std::size_t i = 0; i < o.pairs; ++i) p.guest.out(i).reap_all();
  }
}

TEST(VhostUserPortTest, ABrokenRingIsToldOnceAndAtOnce) {
  Pair p;
  p.front.start();
  GuestQueue &in = p.guest.in(), &out = p.guest.out();
  p.back.run();
  in.driver.offer(0xffff);
  in.publish();
  EXPECT_TRUE(p.back.port->link_up());
  EXPECT_FALSE(p.back.deliver(pattern(60, 1)));
  EXPECT_EQ(take_signals(in.err), 1u) << "nobody wakes the port for its own ring's sake";
  EXPECT_FALSE(p.back.port->link_up());
  EXPECT_FALSE(p.back.deliver(pattern(60, 1)));
  EXPECT_EQ(p.back.counter("ring.broken.head-range"), 1u);

  out.driver.offer(0xffff);
  out.publish();
  p.back.turn();
  EXPECT_EQ(take_signals(out.err), 1u);
  EXPECT_NO_THROW(p.back.run()) << "a broken port must not keep the loop awake";
  EXPECT_EQ(take_signals(in.err) + take_signals(out.err), 0u);
  EXPECT_EQ(p.back.counter("ring.broken.head-range"), 2u);

  // The guest resets its device, and all is well.
  for (std::uint32_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(p.front.get_base(i));
    p.guest.queues[i]->reset();
    p.front.start_ring(i, 0);
    ASSERT_TRUE(p.front.enable(i));
  }
  in.refill();
  EXPECT_TRUE(p.back.port->link_up());
  EXPECT_TRUE(p.back.deliver(pattern(60, 2)));
  EXPECT_TRUE(in.take());
  out.driver.offer(0xffff);
  out.publish();
  p.back.turn();
  EXPECT_EQ(take_signals(out.err), 1u) << "another ring that breaks";
}

TEST(VhostUserPortTest, APolledRingIsPolledUntilItBreaks) {
  Pair p;
  p.front.start();
  p.back.run();
  ASSERT_TRUE(p.front.set_fd(Request::set_vring_kick, 1, Fd()));
  GuestQueue& out = p.guest.out();
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(p.back.port->arm({})) << "nobody would wake it";
    out.offer(pattern(60, 1));
    out.driver.publish();
    p.back.turn();
    EXPECT_EQ(p.back.take().size(), 1u);
  }
  out.driver.offer(0xffff);
  out.driver.publish();
  EXPECT_NO_THROW(p.back.run()) << "it spins on a ring that is broken for good";
}

TEST(VhostUserPortTest, WhileItIsAwakeNobodyKicks) {
  Pair p;
  p.front.negotiate(FrontEnd::kWanted & ~bit(VIRTIO_RING_F_EVENT_IDX));
  ASSERT_TRUE(p.front.set_memory());
  p.front.start_rings();
  p.back.run();
  GuestQueue& out = p.guest.out();
  const auto kicks = [&] {
    out.offer(pattern(60, 1));
    return out.publish();
  };
  EXPECT_TRUE(kicks()) << "it sleeps";
  EXPECT_FALSE(p.back.port->arm({})) << "a frame is there";
  EXPECT_FALSE(kicks());
  p.back.run();
  for (GuestQueue* q : {&p.guest.in(), &out}) {
    const std::uint32_t i = q == &out;
    ASSERT_TRUE(p.front.get_base(i));
    p.front.start_ring(i, q->driver.used_idx());
  }
  kicks();
  p.back.port->told();
  EXPECT_FALSE(kicks()) << "the ring started while its port was awake";
}

// Connections.

TEST_F(VhostUserListeningTest, OneAtATime) {
  EXPECT_EQ(back.port->describe(), "waiting");
  FrontEnd first = dial();
  first.start();
  FrontEnd second = dial();
  back.run();
  EXPECT_TRUE(second.wire.closed());
  EXPECT_TRUE(back.port->link_up()) << "the first one stays";
  EXPECT_EQ(first.ask(Request::get_queue_num), Device::kMaxPairs);
  first.vanish();
  back.run();
  EXPECT_FALSE(back.port->link_up());
  EXPECT_FALSE(back.port->gone()) << "it waits for the next";
  EXPECT_EQ(back.port->describe(), "waiting");
  FrontEnd third = dial();
  EXPECT_NO_THROW(third.start());
  EXPECT_EQ(back.counter("vhost-user.connections"), 2u);
  EXPECT_EQ(back.counter("vhost-user.protocol-faults"), 0u);
  third.wire.send({1, 2, 0}, nullptr, 0);
  back.run();
  EXPECT_TRUE(third.wire.closed());
  EXPECT_EQ(back.counter("vhost-user.protocol-faults"), 1u);
}

TEST_F(VhostUserListeningTest, ThePathIsTheListeners) {
  const std::string path = folder / "vm.sock";
  struct stat st;
  ASSERT_EQ(lstat(path.c_str(), &st), 0);
  EXPECT_TRUE(S_ISSOCK(st.st_mode));
  EXPECT_EQ(st.st_mode & 0777, 0600u);
  EXPECT_THROW(Port{options(path)}, Error) << "a live one is there";
  back.port.reset();
  EXPECT_NE(lstat(path.c_str(), &st), 0) << "it takes its path away";
  std::ofstream(path) << "a file";
  EXPECT_THROW(Port{options(path)}, Error);
  EXPECT_EQ(std::filesystem::file_size(path), 6u) << "and leaves what is not its own";
  EXPECT_THROW(Port{options(path + std::string(108, 'x'))}, Error);
  EXPECT_THROW(Port{options(folder / "none/vm.sock")}, Error);
}

TEST(VhostUserPortTest, ConnectsToAFrontEndThatComesLaterAndComesAgain) {
  test::TempFolder folder;
  PortOptions o;
  o.path = folder / "vm.sock";
  o.connect = true;
  DirectPort back(o);
  Guest guest;
  EXPECT_FALSE(back.port->link_up());
  for (int i = 0; i < 2; ++i) {
    EXPECT_NO_THROW(back.run()) << "it sleeps between two attempts";
    const UnixListener listener(unix_address(o.path, "test"), 1, "test");
    pollfd waiting[2] = {{listener.fd(), POLLIN, 0}, {back.port->poll_fd(), POLLIN, 0}};
    for (int n = 0; n < 100 && !waiting[0].revents; ++n) {
      ASSERT_GE(poll(waiting, 2, 20'000), 1);
      back.turn();
    }
    Fd socket(accept4(listener.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(socket);
    FrontEnd front(Wire(std::move(socket), back.pump()), guest);
    front.start();
    EXPECT_TRUE(back.port->link_up());
    guest.out().offer(pattern(60, 1));
    guest.out().publish();
    back.run();
    EXPECT_EQ(back.take().size(), 1u);
    guest.out().reap_all();
    front.vanish();
    back.run();
    EXPECT_FALSE(back.port->link_up());
    EXPECT_FALSE(back.port->gone());
  }
  EXPECT_EQ(back.counter("vhost-user.connections"), 2u);
}

TEST(VhostUserPortTest, ADescriptorThatListens) {
  test::TempFolder folder;
  const std::string path = folder / "vm.sock";
  const UnixListener listener(unix_address(path, "test"), 1, "test");
  PortOptions o;
  o.fd = listener.fd();
  DirectPort back(o);
  Guest guest;
  for (int i = 0; i < 2; ++i) {
    FrontEnd front(Wire::dial(path, back.pump()), guest);
    EXPECT_NO_THROW(front.start());
    front.vanish();
    back.run();
    EXPECT_FALSE(back.port->gone());
  }
  back.port.reset();
  EXPECT_EQ(fcntl(listener.fd(), F_GETFD), FD_CLOEXEC) << "the host's own stays open";
}

TEST(VhostUserPortTest, ADescriptorThatIsConnected) {
  auto [ours, theirs] = make_socketpair();
  PortOptions o;
  o.fd = ours.get();
  DirectPort back(o);
  Guest guest;
  FrontEnd front(Wire(std::move(theirs), back.pump()), guest);
  ours.reset();
  front.start();
  EXPECT_FALSE(back.port->gone());
  front.vanish();
  EXPECT_TRUE(back.port->gone());
  EXPECT_NO_THROW(back.run());

  o.fd = 1 << 20;
  EXPECT_THROW(Port{o}, Error);
  const Fd event = make_eventfd();
  o.fd = event.get();
  EXPECT_THROW(Port{o}, Error) << "no socket";
}

TEST(VhostUserPortTest, T_VU_6_SaysHalfAMessageAndNoMore) {
  for (const std::size_t n : {1u, 5u, 12u, 15u}) {
    Pair p;
    p.front.start();
    p.guest.in().refill();
    const VringState state{0, 0};
    const Bytes bytes = Wire::encode({18, kVersion, sizeof state}, &state, sizeof state);
    p.front.wire.send_bytes(std::span(bytes).first(n));
    EXPECT_NO_THROW(p.back.run()) << "it sleeps";
    EXPECT_TRUE(p.back.deliver(pattern(60, 1))) << "and the rings run";
    EXPECT_TRUE(p.guest.in().take());
    p.front.wire.send_bytes(std::span(bytes).subspan(n));
    p.back.run();
    EXPECT_FALSE(p.back.port->link_up()) << "the rest has come";
  }
}

TEST(VhostUserPortTest, ManyMessagesAtOnceLeaveRoomForFrames) {
  Pair p;
  p.front.start();
  p.back.run();
  const std::uint64_t mtu = 1500;
  // As much as a socket holds.
  const Bytes one = Wire::encode({20, kVersion, 8}, &mtu, sizeof mtu);
  while (send(p.front.wire.fd(), one.data(), one.size(), MSG_DONTWAIT) > 0) {
  }
  for (int i = 0; i < 3; ++i) {
    p.guest.out().offer(pattern(60, 1));
    p.guest.out().publish();
    p.back.turn();
    EXPECT_EQ(p.back.take().size(), 1u) << "in the same turn";
    EXPECT_FALSE(p.back.port->arm({})) << "messages wait";
  }
  EXPECT_NO_THROW(p.back.run());
}

// Offloads and headers.

sw::Offload tso() {
  return {VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_TCPV4, 54, 1448, 34, 16};
}

TEST(VhostUserPortTest, T_HDR_3_EveryHeaderSize) {
  for (const bool mergeable : {true, false}) {
    for (const bool version1 : {true, false}) {
      Pair p;
      p.front.negotiate(FrontEnd::kWanted & ~(mergeable ? 0 : bit(VIRTIO_NET_F_MRG_RXBUF)) &
                        ~(version1 ? 0 : bit(VIRTIO_F_VERSION_1)));
      ASSERT_TRUE(p.front.set_memory());
      p.front.start_rings();
      ASSERT_EQ(p.guest.in().header, mergeable || version1 ? 12u : 10u);
      const Bytes frame = pattern(65000, 1), small = pattern(60, 2);
      p.guest.out().offer(frame, tso());
      p.guest.out().offer_raw(pattern(p.guest.out().header - 1, 3));
      p.guest.out().offer(small);
      p.guest.out().publish();
      auto burst = std::make_unique<sw::Burst>();
      p.back.port->receive(*burst, {});
      ASSERT_EQ(burst->size(), 2u);
      EXPECT_EQ(bytes_of((*burst)[0]), frame);
      EXPECT_EQ(bytes_of((*burst)[1]), small);
      const sw::Offload o = (*burst)[0].offload;
      EXPECT_EQ(o.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
      EXPECT_EQ(o.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
      EXPECT_EQ(o.gso_size, 1448);
      EXPECT_EQ(o.csum_start, 34);
      EXPECT_EQ(o.csum_offset, 16);
      p.back.port->release();
      EXPECT_EQ(p.back.counter("ring.short-chain"), 1u);

      GuestQueue& in = p.guest.in();
      in.refill(mergeable ? 2048 : 68000, mergeable ? 100 : 4);
      ASSERT_TRUE(p.back.deliver(frame, tso()));
      const auto got = in.take();
      ASSERT_TRUE(got);
      EXPECT_EQ(got->bytes, frame);
      EXPECT_EQ(got->header.gso_size, 1448);
      EXPECT_EQ(got->header.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
      if (in.header == 12) {
        EXPECT_EQ(got->header.num_buffers, mergeable ? 32 : 1);
      }
      EXPECT_TRUE(in.untouched());
    }
  }
}

TEST(VhostUserPortTest, OffloadsAreWhatTheGuestAgreedTo) {
  Pair p;
  EXPECT_FALSE(p.back.port->offloads().csum);
  p.front.start();
  EXPECT_TRUE(p.back.port->offloads().csum && p.back.port->offloads().tso4);
  p.front.vanish();
  EXPECT_FALSE(p.back.port->offloads().csum);
  Pair without;
  without.front.negotiate(FrontEnd::kWanted & ~bit(VIRTIO_NET_F_GUEST_CSUM));
  ASSERT_TRUE(without.front.set_memory());
  without.front.start_rings();
  EXPECT_FALSE(without.back.port->offloads().csum);
  without.guest.in().refill();
  ASSERT_TRUE(without.back.deliver(pattern(60, 1), {VIRTIO_NET_HDR_F_DATA_VALID}));
  EXPECT_EQ(without.guest.in().take()->header.flags, 0);
}

// Rings, on and off.

TEST(VhostUserPortTest, ADisabledRingDiscardsAndReceivesNothing) {
  Pair p;
  p.front.start();
  GuestQueue &in = p.guest.in(), &out = p.guest.out();
  in.refill();
  ASSERT_TRUE(p.front.enable(0, false));
  ASSERT_TRUE(p.front.enable(1, false));
  EXPECT_FALSE(p.back.port->link_up());
  for (int i = 0; i < 200; ++i) out.offer(pattern(60, 1));
  out.publish();
  p.back.run();
  EXPECT_TRUE(p.back.take().empty());
  EXPECT_EQ(out.reap_all(), 200u) << "discarded, not kept";
  EXPECT_FALSE(p.back.deliver(pattern(60, 1)));
  EXPECT_FALSE(in.take());
  ASSERT_TRUE(p.front.enable(0));
  ASSERT_TRUE(p.front.enable(1));
  out.offer(pattern(60, 2));
  EXPECT_TRUE(out.publish()) << "it asked for a kick before it slept";
  p.back.run();
  EXPECT_EQ(p.back.take(), std::vector<Bytes>{pattern(60, 2)});
  EXPECT_TRUE(p.back.deliver(pattern(60, 3)));
  EXPECT_EQ(in.take()->bytes, pattern(60, 3));
}

TEST(VhostUserPortTest, T_RING_12_KicksInEveryState) {
  Pair p;
  const auto kick = [&](const char* when) {
    GuestQueue& out = p.guest.out();
    out.offer(pattern(60, 1));
    out.driver.publish();
    for (auto& q : p.guest.queues) signal_eventfd(q->kick);
    EXPECT_NO_THROW(p.back.run()) << when;
    return p.back.take().size();
  };
  EXPECT_EQ(kick("before anything"), 0u);
  p.front.negotiate();
  p.front.start_ring(0, 0);
  p.front.start_ring(1, 0);
  EXPECT_EQ(kick("before there is memory"), 0u);
  p.guest.out().reset();
  ASSERT_TRUE(p.front.set_memory());
  EXPECT_EQ(kick("before it is enabled"), 0u);
  EXPECT_EQ(p.guest.out().reap_all(), 1u);
  ASSERT_TRUE(p.front.enable(1));
  EXPECT_EQ(kick("while it runs"), 1u);
  EXPECT_EQ(p.front.get_base(1), 2u);
  EXPECT_EQ(kick("after it stopped"), 0u);
  EXPECT_EQ(p.front.get_base(1), 2u) << "stopped twice";
  ASSERT_TRUE(p.front.enable(1));
  p.front.start_ring(1, 2);
  EXPECT_EQ(kick("after it was started again"), 2u) << "what waited, too";
  ASSERT_TRUE(p.front.tell(Request::reset_device, nullptr, 0));
  EXPECT_EQ(kick("after a reset"), 0u);
  p.front.vanish();
  EXPECT_EQ(kick("after the end"), 0u);
}

TEST(VhostUserPortTest, ARingIsResizedAndReloaded) {
  Guest::Options o;
  o.queue_size = 1024;
  Pair p(o);
  p.front.negotiate();
  ASSERT_TRUE(p.front.set_memory());
  std::uint32_t seed = 0;
  constexpr std::uint16_t kSizes[] = {256, 1024, 16, 2, 512, 1};
  for (const std::uint16_t size : kSizes) {
    for (std::uint32_t i = 0; i < 2; ++i) {
      EXPECT_TRUE(p.front.get_base(i));
      p.guest.load(i, size);
      p.front.start_ring(i, 0);
      EXPECT_FALSE(p.front.set_size(i, 64)) << "while it runs";
      EXPECT_FALSE(p.front.set_base(i, 5));
      ASSERT_TRUE(p.front.enable(i));
    }
    for (int n = 0; n < 3 * size; ++n) {
      const Bytes frame = pattern(60 + seed % 500, seed);
      ++seed;
      p.guest.out().offer(frame);
      p.guest.out().publish();
      p.back.run();
      ASSERT_EQ(p.back.take(), std::vector<Bytes>{frame});
      ASSERT_EQ(p.guest.out().reap_all(), 1u);
      p.guest.in().refill();
      ASSERT_TRUE(p.back.deliver(frame));
      ASSERT_EQ(p.guest.in().take()->bytes, frame);
    }
  }
  ASSERT_TRUE(p.front.get_base(0));
  for (const std::uint32_t size : {0u, 1025u, 2048u, 32768u, 65536u, 0x10100u, ~0u})
    EXPECT_FALSE(p.front.set_size(0, size)) << size;
  for (const std::uint32_t size : {3u, 100u, 1023u}) {
    ASSERT_TRUE(p.front.set_size(0, size));
    EXPECT_FALSE(p.front.set_fd(Request::set_vring_kick, 0, p.guest.in().kick) &&
                 p.front.set_addresses(0))
        << "no power of two";
    ASSERT_TRUE(p.front.get_base(0));
  }
}

TEST(VhostUserPortTest, DescriptorsReplacedOnARunningRing) {
  Pair p;
  p.front.start();
  GuestQueue &in = p.guest.in(), &out = p.guest.out();
  in.refill();
  p.back.run();
  for (std::uint32_t i = 0; i < 5; ++i) {
    // Kicked on the old descriptor while the new one is on its way.
    out.offer(pattern(60, i));
    out.publish();
    const Fd old = std::exchange(out.kick, make_eventfd());
    ASSERT_TRUE(p.front.set_fd(Request::set_vring_kick, 1, out.kick));
    p.back.run();
    EXPECT_EQ(p.back.take(), std::vector<Bytes>{pattern(60, i)});
    signal_eventfd(old);
    pollfd quiet{p.back.port->poll_fd(), POLLIN, 0};
    EXPECT_EQ(poll(&quiet, 1, 0), 0) << "the old one is watched no more";
    out.offer(pattern(70, i));
    EXPECT_TRUE(out.publish());
    EXPECT_EQ(poll(&quiet, 1, 0), 1);
    p.back.run();
    EXPECT_EQ(p.back.take(), std::vector<Bytes>{pattern(70, i)});

    in.call = make_eventfd();
    ASSERT_TRUE(p.front.set_fd(Request::set_vring_call, 0, in.call));
    EXPECT_EQ(take_signals(in.call), 1u) << "what came before it told nobody";
    ASSERT_TRUE(p.back.deliver(pattern(60, i)));
    EXPECT_TRUE(in.take());
    EXPECT_EQ(take_signals(in.call), 1u);
  }
  ASSERT_TRUE(p.front.set_fd(Request::set_vring_call, 0, Fd()));
  ASSERT_TRUE(p.back.deliver(pattern(60, 1)));
  EXPECT_TRUE(in.take());
  EXPECT_EQ(take_signals(in.call), 0u);
}

// Several pairs.

TEST(VhostUserPortTest, SeveralPairsKeepFlowsInOrder) {
  Guest::Options o;
  o.pairs = 4;
  o.queue_size = 64;
  Pair p(o);
  p.front.start();
  EXPECT_TRUE(p.back.port->describe().starts_with("queue-pairs=4 version-1 "));
  for (std::size_t i = 0; i < o.pairs; ++i) p.guest.in(i).refill();
  std::map<std::uint64_t, std::vector<std::size_t>> queues_of;
  std::map<std::uint64_t, std::uint8_t> next;
  std::mt19937 random(3);
  for (std::uint8_t n = 0; n < 30; ++n) {
    for (std::uint64_t flow = 0; flow < 16; ++flow) {
      Bytes frame = test::ethernet(0x020000000100, 0x020000000200 + flow, 100);
      frame[99] = n;
      ASSERT_TRUE(p.back.deliver(frame));
    }
    for (std::size_t i = 0; i < o.pairs; ++i) {
      while (const auto got = p.guest.in(i).take()) {
        const std::uint64_t flow = got->bytes[11];
        EXPECT_EQ(got->bytes[99], next[flow]++) << "in order";
        queues_of[flow].push_back(i);
      }
      p.guest.in(i).refill();
    }
  }
  std::vector<bool> used(o.pairs);
  for (const auto& [flow, queues] : queues_of) {
    EXPECT_EQ(queues.size(), 30u);
    EXPECT_EQ(std::count(queues.begin(), queues.end(), queues[0]), 30) << "one queue a flow";
    used[queues[0]] = true;
  }
  EXPECT_EQ(std::count(used.begin(), used.end(), true), 4) << "and all queues are used";

  for (std::uint32_t n = 0; n < 100; ++n) {
    const std::size_t pair = random() % o.pairs;
    p.guest.out(pair).offer(pattern(60, n));
    p.guest.out(pair).publish();
    p.back.run();
    ASSERT_EQ(p.back.take(), std::vector<Bytes>{pattern(60, n)});
    p.guest.out(pair).reap_all();
  }
  // A guest that has fewer processors uses fewer pairs.
  for (std::uint32_t i = 2; i < 8; ++i) ASSERT_TRUE(p.front.enable(i, false));
  for (std::uint64_t flow = 0; flow < 16; ++flow)
    ASSERT_TRUE(p.back.deliver(test::ethernet(0x020000000100, 0x020000000200 + flow, 100)));
  EXPECT_EQ(p.guest.in(0).reap_all(), 16u);
}

// Moving in.

TEST(VhostUserPortTest, AnnouncesAGuestThatMovedIn) {
  Pair p;
  p.front.start();
  std::uint64_t mac = 0;
  const std::uint8_t bytes[] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
  std::memcpy(&mac, bytes, sizeof bytes);
  p.guest.out().offer(pattern(60, 1));
  p.guest.out().publish();
  ASSERT_TRUE(p.front.tell(Request::send_rarp, mac));
  const auto got = p.back.take();
  ASSERT_EQ(got.size(), 2u) << "with the frame that waited";
  Bytes want{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x80,
             0x35, 0x00, 0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x03, 0x52, 0x54, 0x00, 0x12,
             0x34, 0x56, 0x00, 0x00, 0x00, 0x00, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
  want.resize(60);
  EXPECT_EQ(std::count(got.begin(), got.end(), want), 1);
  p.back.run();
  EXPECT_TRUE(p.back.take().empty()) << "once";
  EXPECT_FALSE(p.front.tell(Request::send_rarp, std::uint64_t{0}));
  EXPECT_FALSE(p.front.tell(Request::send_rarp, ~std::uint64_t{0})) << "a group";
  p.front.vanish();
  p.back.run();
  EXPECT_TRUE(p.back.take().empty());
}

// The back end dies and comes back (hostile drivers: hostile_test.cc).

TEST(VhostUserPortTest, ARestartedBackEndLosesAndRepeatsNoDescriptor) {
  Guest guest;
  std::mt19937 random(11);
  std::uint32_t sent = 0, seed = 0;
  std::vector<Bytes> got;
  std::vector<Bytes> to_guest;
  for (int life = 0; life < 40; ++life) {
    auto [ours, theirs] = make_socketpair();
    DirectPort back(std::make_unique<Port>(std::move(ours), 1));
    FrontEnd front(Wire(std::move(theirs), back.pump()), guest);
    front.start();
    guest.in().refill();
    for (int n = 0; n < 20; ++n) {
      for (std::size_t i = random() % 5; i > 0 && guest.out().driver.free_descriptors() > 0; --i)
        guest.out().offer(pattern(64, sent++));
      guest.out().publish();
      back.turn();
      for (Bytes& b : back.take()) got.push_back(std::move(b));
      guest.out().reap_all();
      ASSERT_TRUE(back.deliver(pattern(200, seed)));
      const auto frame = guest.in().take();
      ASSERT_TRUE(frame);
      ASSERT_EQ(frame->bytes, pattern(200, seed++));
      guest.in().refill();
    }
    // It dies at any point: with frames lent and not released, written and not published.
    if (random() % 2) {
      guest.out().offer(pattern(64, sent++));
      guest.out().publish();
      auto burst = std::make_unique<sw::Burst>();
      back.port->receive(*burst, {});
      ASSERT_EQ(burst->size(), 1u);
    }
    if (random() % 2) {
      ASSERT_TRUE(send(*back.port, pattern(300, seed)));
    }
    back.port.reset();
    EXPECT_FALSE(guest.in().take()) << "what was not published is not seen";
  }
  Pair last;  // another guest's: nothing of the dead ones is left
  last.front.start();
  auto [ours, theirs] = make_socketpair();
  DirectPort back(std::make_unique<Port>(std::move(ours), 1));
  FrontEnd front(Wire(std::move(theirs), back.pump()), guest);
  front.start();
  back.run();
  for (Bytes& b : back.take()) got.push_back(std::move(b));
  guest.out().reap_all();
  ASSERT_EQ(got.size(), sent) << "each frame once";
  for (std::uint32_t i = 0; i < sent; ++i) ASSERT_EQ(got[i], pattern(64, i)) << "and in order";
  EXPECT_EQ(guest.out().driver.in_flight(), 0);
  EXPECT_EQ(guest.out().driver.free_descriptors(), 256u);
  EXPECT_EQ(guest.in().driver.in_flight(), 256);
}

TEST(VhostUserPortTest, StopsItsRingsAndHangsUpInOneBreath) {
  for (const bool all : {true, false}) {
    Pair p;
    p.front.start();
    p.guest.out().offer(pattern(60, 1));
    p.guest.out().publish();
    for (std::uint32_t i = all ? 0 : 1; i < 2; ++i) {
      const VringState state{i, 0};
      p.front.wire.send(Request::get_vring_base, &state, sizeof state);
    }
    p.front.vanish();
    EXPECT_NO_THROW(p.back.run());
    EXPECT_TRUE(p.back.port->gone());
  }
}

}  // namespace
}  // namespace rp::backend::vhost_user
