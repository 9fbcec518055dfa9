// SPDX-License-Identifier: BSD-3-Clause
// log_test.cc - the dirty log of a migration: what is not marked, the destination never gets.
#include <gtest/gtest.h>

#include <random>

#include "tests/backend/scale.h"
#include "tests/backend/vhost_user/front_end.h"

namespace rp::backend::vhost_user {
namespace {

constexpr std::size_t kPage = 4096;

/// A guest whose memory lies at 1 MiB, with a log behind which canaries lie.
class VhostUserLogTest : public ::testing::Test {
 protected:
  static Guest::Options low() {
    Guest::Options o;
    o.address = std::uint64_t{1} << 20;
    o.arena = std::size_t{256} << 10;
    return o;
  }
  static constexpr std::uint64_t kOffset = 777;  ///< of the log in its file
  static constexpr std::uint8_t kCanary = 0xc5;

  VhostUserLogTest() : p(low()) {
    bits = ((low().address + p.guest.region.size) / kPage + 7) / 8;
    file = make_memfd(kOffset + bits + kPage);
    map = std::make_unique<Mapping>(file.get(), kOffset + bits + kPage);
    std::memset(log() + bits, kCanary, kPage);
  }
  std::uint8_t* log() { return map->data() + kOffset; }
  /// What the back end answers, as it always must: 0 is yes.
  std::optional<std::uint64_t> set_log(std::uint64_t size, std::uint64_t offset, int fd) {
    const int fds[] = {fd};
    const LogArea area{size, offset};
    if (!p.front.wire.send(Request::set_log_base, &area, sizeof area, fds)) return std::nullopt;
    const auto answer = p.front.wire.read();
    std::uint64_t v = 0;
    if (!answer || answer->payload.size() != sizeof v) return std::nullopt;
    std::memcpy(&v, answer->payload.data(), sizeof v);
    return v;
  }
  void start_logging() {
    ASSERT_EQ(set_log(bits, kOffset, file.get()), 0u);
    p.front.set_features(p.front.features | bit(kFeatureLogAll));
  }
  /// Remembers the guest's memory as the destination has it now, and empties the log.
  void sync() {
    std::memset(log(), 0, bits);
    const auto* from = p.guest.in().driver.at<std::uint8_t>(low().address);
    copy.assign(from, from + p.guest.region.size);
  }
  bool marked(std::uint64_t address) {
    return log()[address / kPage / 8] >> (address / kPage % 8) & 1;
  }
  /// Pages that have changed since sync() but for those that the driver writes, and are not marked.
  std::vector<std::uint64_t> missing() {
    std::vector<std::uint64_t> pages;
    for (std::uint64_t at = 0; at < copy.size(); at += kPage) {
      const std::uint64_t address = low().address + at;
      if (std::memcmp(p.guest.in().driver.at<std::uint8_t>(address), &copy[at], kPage) != 0 &&
          !marked(address))
        pages.push_back(address);
    }
    return pages;
  }

  Pair p;
  std::size_t bits = 0;
  Fd file;
  std::unique_ptr<Mapping> map;
  Bytes copy;
};

TEST_F(VhostUserLogTest, T_LOG_2_EveryPageThatWeChangeIsMarked) {
  for (const std::uint64_t without :
       {std::uint64_t{0}, bit(VIRTIO_RING_F_EVENT_IDX), bit(VIRTIO_NET_F_MRG_RXBUF)}) {
    p.front.negotiate(FrontEnd::kWanted & ~without);
    ASSERT_TRUE(p.front.set_memory());
    p.front.start_rings();
    start_logging();
    std::mt19937 random(7);
    GuestQueue &in = p.guest.in(), &out = p.guest.out();
    for (std::size_t i = 0; i < rounds(500); ++i) {
      if (in.driver.in_flight() < 40) in.refill(has(without, VIRTIO_NET_F_MRG_RXBUF) ? 4000 : 700);
      for (std::size_t n = random() % 4; n > 0; --n) out.offer(pattern(random() % 3000, 1));
      out.publish();
      if (random() % 8 == 0) p.back.run();
      // From here on only the device writes.
      sync();
      for (std::size_t n = random() % 3; n > 0; --n)
        p.back.deliver(pattern(random() % 3900, static_cast<std::uint32_t>(i)));
      p.back.turn();
      if (random() % 2) p.back.port->arm({});
      if (random() % 2) p.back.port->disarm();
      const auto pages = missing();
      ASSERT_TRUE(pages.empty()) << std::hex << pages[0] << " in round " << std::dec << i;
      while (in.take()) {
      }
      out.reap_all();
    }
    EXPECT_EQ(log()[bits], kCanary);
    ASSERT_TRUE(p.front.get_base(0) && p.front.get_base(1));
    in.reset();
    out.reset();
  }
}

TEST_F(VhostUserLogTest, SwitchedOnAndOffWhileTheGuestRuns) {
  p.front.start();
  GuestQueue& in = p.guest.in();
  in.refill();
  ASSERT_EQ(set_log(bits, kOffset, file.get()), 0u);
  sync();
  ASSERT_TRUE(p.back.deliver(pattern(100, 1)));
  EXPECT_FALSE(missing().empty()) << "logging is not on yet";
  p.front.set_features(p.front.features | bit(kFeatureLogAll));
  // As an emulator does: the rings' addresses once more, with logging of the used ring.
  for (std::uint32_t i = 0; i < 2; ++i) {
    VringAddr a = p.front.addresses(i);
    a.flags = kVringLog;
    ASSERT_TRUE(p.front.tell(Request::set_vring_addr, a));
  }
  sync();
  ASSERT_TRUE(p.back.deliver(pattern(100, 2)));
  EXPECT_TRUE(missing().empty());
  EXPECT_TRUE(in.take() && in.take()) << "the ring went on where it was";
  p.front.set_features(p.front.features & ~bit(kFeatureLogAll));
  sync();
  ASSERT_TRUE(p.back.deliver(pattern(100, 3)));
  EXPECT_EQ(std::count(log(), log() + bits, 0), static_cast<std::ptrdiff_t>(bits));
  EXPECT_TRUE(in.take());
}

TEST_F(VhostUserLogTest, T_LOG_1_ALogThatIsTooShortOrLiesNowhere) {
  p.front.start();
  p.front.set_features(p.front.features | bit(kFeatureLogAll));
  const std::uint64_t end = kOffset + bits + kPage;
  const Fd pipe_like = make_eventfd();
  EXPECT_EQ(set_log(0, 0, file.get()), 1u);
  EXPECT_EQ(set_log(end + 1, 0, file.get()), 1u);
  EXPECT_EQ(set_log(1, end, file.get()), 1u);
  EXPECT_EQ(set_log(~std::uint64_t{0}, 1, file.get()), 1u) << "size + offset wraps";
  EXPECT_EQ(set_log(1, ~std::uint64_t{0}, file.get()), 1u);
  EXPECT_EQ(set_log(~std::uint64_t{0} - 8, 16, file.get()), 1u);
  EXPECT_EQ(set_log(bits, 0, pipe_like.get()), 1u);
  EXPECT_EQ(p.back.port->describe().substr(0, 14), "queue-pairs=1 ") << "the rest goes on";

  // Three bytes of it: pages behind are not marked, nor is anything behind it written.
  ASSERT_EQ(set_log(3, kOffset + bits - 3, file.get()), 0u);
  p.guest.in().refill();
  ASSERT_TRUE(p.back.deliver(pattern(2000, 1)));
  EXPECT_EQ(log()[bits], kCanary);
  // The last byte there is, wherever that lies in its page.
  ASSERT_EQ(set_log(1, end - 1, file.get()), 0u);
  ASSERT_TRUE(p.back.deliver(pattern(2000, 1)));
  EXPECT_EQ(p.back.counter("vhost-user.protocol-faults"), 0u);
}

TEST_F(VhostUserLogTest, TheLogGrowsWithTheMemory) {
  p.front.start();
  start_logging();
  p.guest.in().refill();
  ASSERT_TRUE(p.front.set_memory());
  sync();
  ASSERT_TRUE(p.back.deliver(pattern(100, 1)));
  EXPECT_TRUE(missing().empty()) << "a new table of memory is logged as well";
  const Fd other = make_memfd(bits + 1);
  ASSERT_EQ(set_log(bits, 0, other.get()), 0u);
  std::memset(log(), 0, bits);
  ASSERT_TRUE(p.back.deliver(pattern(100, 1)));
  EXPECT_EQ(std::count(log(), log() + bits, 0), static_cast<std::ptrdiff_t>(bits));
}

}  // namespace
}  // namespace rp::backend::vhost_user
