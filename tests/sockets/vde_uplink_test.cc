// SPDX-License-Identifier: BSD-3-Clause
// vde_uplink_test.cc - a VDE network that comes and goes, blocks, and gives odd answers.
//
// libvdeplug's functions are replaced by those below, as its own load modules in a way that
// sanitizers forbid. tests/system/test_vde_door.py has the real ones.
#include "sockets/vde_uplink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <semaphore>

extern "C" {
#include <libvdeplug.h>
}

#include "base/error.h"
#include "tests/api/process_state.h"
#include "tests/sockets/vde_client.h"
#include "tests/switch/fake_port.h"

using rp::Fd;

struct vdeconn {
  Fd data, control;
};

namespace {

/// The network, and how libvdeplug's functions behave.
struct World {
  std::mutex mutex;
  bool there = true;
  Fd data, control;  ///< the far ends
  std::atomic<unsigned> opens{0}, closes{0}, received{0}, sent{0};
  std::atomic<bool> block_open{false}, block_send{false};
  std::counting_semaphore<> go{0};
  std::atomic<int> answer{2};  ///< of vde_recv(), unless it is 2
};
World* world = nullptr;

std::pair<Fd, Fd> pair(int type) {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

}  // namespace

extern "C" {

VDECONN* vde_open_real(char* url, char*, int, vde_open_args*) {
  ++world->opens;
  if (world->block_open) world->go.acquire();
  const std::lock_guard lock(world->mutex);
  if (!world->there) {
    errno = ECONNREFUSED;
    return nullptr;
  }
  auto* conn = new vdeconn;
  std::tie(conn->data, world->data) = pair(SOCK_DGRAM);
  if (std::string(url).starts_with("vde://"))
    std::tie(conn->control, world->control) = pair(SOCK_STREAM);
  return conn;
}
ssize_t vde_recv(VDECONN* conn, void* buf, size_t len, int) {
  ++world->received;
  if (const int answer = world->answer; answer != 2) {
    errno = ECONNREFUSED;
    return answer;
  }
  return recv(conn->data.get(), buf, len, 0);
}
ssize_t vde_send(VDECONN* conn, const void* buf, size_t len, int) {
  ++world->sent;
  if (world->block_send) world->go.acquire();
  return send(conn->data.get(), buf, len, MSG_NOSIGNAL);
}
int vde_datafd(VDECONN* conn) {
  return conn->data.get();
}
int vde_ctlfd(VDECONN* conn) {
  return conn->control.get();
}
int vde_close(VDECONN* conn) {
  ++world->closes;
  delete conn;
  return 0;
}
}

namespace rp::sockets {
namespace {

using test::Bytes;
using test::ethernet;
using test::readable;
using test::soon;

class VdeUplinkTest : public testing::Test {
 protected:
  VdeUplinkTest() { world = &world_; }
  ~VdeUplinkTest() override {
    port_.reset();
    world = nullptr;
  }

  void open(const std::string& url, bool wait = false) {
    port_.emplace(VdeUplinkOptions{.url = url, .wait = wait, .queue = {}}, Log(quiet, nullptr));
  }
  static void quiet(void*, int, const char*) {}

  std::vector<Bytes> receive() {
    sw::Burst& burst = *burst_;
    burst.clear();
    port_->receive(burst, now_ += 1us);
    std::vector<Bytes> got;
    for (const sw::Frame& f : burst.frames()) {
      got.emplace_back(f.len);
      f.copy_to(got.back().data());
    }
    port_->release();
    return got;
  }
  /// Waits for a frame as a loop would.
  Bytes next() {
    while (readable(port_->poll_fd(), test::kPatienceMs)) {
      const auto got = receive();
      if (!got.empty()) return got.front();
    }
    return {};
  }
  bool link_is(bool up) {
    return soon([&] {
      receive();
      return port_->link_up() == up;
    });
  }
  std::size_t send(const Bytes& bytes) {
    sw::Frame f;
    sw::Part part;
    sw::make_frame(f, part, bytes);
    const sw::Frame* one = &f;
    return port_->send({&one, 1}, now_);
  }
  bool say(const Bytes& bytes) {
    const std::lock_guard lock(world_.mutex);
    return ::send(world_.data.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }
  Bytes hear() {
    const std::lock_guard lock(world_.mutex);
    Bytes b(100'000);
    if (!readable(world_.data.get(), test::kPatienceMs)) return {};
    const auto n = recv(world_.data.get(), b.data(), b.size(), 0);
    b.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return b;
  }
  void exchange() {
    for (const std::size_t size : {std::size_t{14}, std::size_t{1514}, std::size_t{65'000}}) {
      const Bytes frame = ethernet(2, 4, size);
      ASSERT_TRUE(say(frame));
      ASSERT_EQ(next(), frame);
      ASSERT_EQ(send(frame), 0u);
      ASSERT_EQ(hear(), frame);
    }
  }
  void hang_up() {
    const std::lock_guard lock(world_.mutex);
    world_.there = false;
    world_.control.reset();
  }
  void come_back() {
    const std::lock_guard lock(world_.mutex);
    world_.there = true;
  }
  std::uint64_t counter(std::string_view name) const {
    std::map<std::string, std::uint64_t, std::less<>> all;
    port_->report([&](std::string_view n, std::uint64_t v) { all.emplace(n, v); });
    return all.at(std::string(name));
  }

  World world_;
  std::unique_ptr<sw::Burst> burst_ = std::make_unique<sw::Burst>();
  Instant now_{1s};
  std::optional<VdeUplink> port_;
};

TEST_F(VdeUplinkTest, APlainPathNeedsNobodyBetween) {
  for (const char* url : {"vde:///tmp/net", "vde://"}) {
    open(url);
    EXPECT_TRUE(port_->link_up());
    EXPECT_EQ(port_->describe(), "connected");
    exchange();
    EXPECT_EQ(world_.received + world_.sent, 0u);
    port_.reset();
    EXPECT_EQ(world_.opens, world_.closes);
  }
}

TEST_F(VdeUplinkTest, AnyOtherModuleIsCarried) {
  open("udp://x");
  exchange();
  EXPECT_EQ(world_.sent, 3u);
  EXPECT_GE(world_.received, 3u);
}

TEST_F(VdeUplinkTest, ComesBackAsOftenAsTheFarEndDoes) {
  open("vde:///tmp/net");
  for (unsigned i = 1; i <= 3; ++i) {
    exchange();
    EXPECT_EQ(counter("cable.connections"), i);
    hang_up();
    ASSERT_TRUE(link_is(false));
    EXPECT_EQ(port_->describe(), "waiting");
    EXPECT_EQ(send(ethernet(2, 4)), 1u);
    EXPECT_TRUE(port_->arm(now_));
    come_back();
    ASSERT_TRUE(link_is(true));
  }
  exchange();
}

TEST_F(VdeUplinkTest, IsRefusedWithoutItsNetworkUnlessItMayWait) {
  world_.there = false;
  try {
    open("vde:///tmp/net");
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("vde:vde:///tmp/net: libvdeplug can't"), std::string::npos)
        << e.what();
  }
  open("vde:///tmp/net", true);
  EXPECT_FALSE(port_->link_up());
  come_back();
  ASSERT_TRUE(link_is(true));
  exchange();
}

TEST_F(VdeUplinkTest, AConnectThatBlocksHoldsUpNobody) {
  open("vde:///tmp/net");
  world_.block_open = true;
  hang_up();
  ASSERT_TRUE(link_is(false));
  ASSERT_TRUE(soon([&] { return world_.opens == 2; }));
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(receive().empty());
    EXPECT_EQ(send(ethernet(2, 4)), 1u);
  }
  come_back();
  world_.go.release();
  ASSERT_TRUE(link_is(true));
  exchange();
}

TEST_F(VdeUplinkTest, AModuleThatBlocksCostsItsOwnFrames) {
  open("udp://x");
  world_.block_send = true;
  unsigned refused = 0;
  for (int i = 0; i < 5000; ++i) refused += send(ethernet(2, 4, 1000)) != 0;
  EXPECT_GT(refused, 1000u);
  world_.block_send = false;
  world_.go.release(1);
  const Bytes last = ethernet(2, 4, 77);
  ASSERT_TRUE(soon([&] {
    receive();
    return send(last) == 0;
  }));
  for (Bytes got; got != last;) {
    receive();
    got = hear();
    ASSERT_FALSE(got.empty());
  }
}

TEST_F(VdeUplinkTest, OddAnswersOfModules) {
  open("udp://x");
  world_.answer = 1;  // no frame, says libvdeplug
  ASSERT_TRUE(say(ethernet(2, 4)));
  ASSERT_TRUE(soon([&] { return world_.received > 100; }));
  EXPECT_TRUE(receive().empty());
  EXPECT_EQ(counter("cable.failed"), 0u);
  world_.answer = 2;
  EXPECT_EQ(next(), ethernet(2, 4));
  // Errors that go on are an end.
  world_.answer = -1;
  ASSERT_TRUE(say(ethernet(2, 4)));
  ASSERT_TRUE(soon([&] { return world_.closes == 1; }));
  world_.answer = 2;
  ASSERT_TRUE(soon([&] {
    receive();
    return world_.opens == 2 && port_->link_up();
  }));
  exchange();
}

TEST_F(VdeUplinkTest, ACommandThatEndsSaysNothing) {
  open("cmd://x");
  exchange();
  world_.answer = 0;
  ASSERT_TRUE(say(ethernet(2, 4)));
  ASSERT_TRUE(soon([&] { return world_.closes == 1; }));
  world_.answer = 2;
  ASSERT_TRUE(soon([&] {
    receive();
    return world_.opens == 2 && port_->link_up();
  }));
  exchange();
}

TEST_F(VdeUplinkTest, LeavesNothingBehind) {
  const process_state before = process_state_now();
  for (const char* url : {"vde:///tmp/net", "udp://x"}) {
    open(url);
    exchange();
    port_.reset();
    open(url);
    hang_up();
    port_.reset();
    open(url, true);
    port_.reset();
    come_back();
  }
  world_.data.reset();
  world_.control.reset();
  EXPECT_EQ(world_.opens, world_.closes + 2) << "two could not be opened";
  const process_state after = process_state_now();
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.threads, before.threads);
}

}  // namespace
}  // namespace rp::sockets
