// SPDX-License-Identifier: BSD-3-Clause
// plug_test.cc - frames through rp_plug_*: copied, batched, in place, and misused.
#include "tests/api/handles.h"
#include "tests/api/mini_guest.h"

namespace rp::test {
namespace {

/// Two plugs on a switch that the test drives, so that nothing happens behind its back.
class Plugs : public testing::Test {
 protected:
  Plugs() : sw_(new_switch(1)), left_(join(sw_, "left")), right_(join(sw_, "right")) { run(); }
  void run() {
    while (readable(rp_switch_fd(sw_.get()), 0)) rp_switch_dispatch(sw_.get());
  }
  bool right_readable() const { return readable(rp_plug_fd(right_.get()), 0); }

  SwitchHandle sw_;
  PlugHandle left_, right_;
};

TEST_F(Plugs, SendAndReceive) {
  const auto sent = broadcast(1, 42);
  EXPECT_EQ(rp_plug_send(left_.get(), sent.data(), sent.size()), 60);
  EXPECT_FALSE(right_readable());
  run();
  EXPECT_TRUE(right_readable());
  std::vector<std::uint8_t> got(100);
  ASSERT_EQ(rp_plug_recv(right_.get(), got.data(), got.size()), 60);
  got.resize(60);
  EXPECT_EQ(got, sent);
  EXPECT_FALSE(right_readable());
  EXPECT_EQ(rp_plug_recv(right_.get(), got.data(), got.size()), 0);
  EXPECT_EQ(rp_plug_recv(left_.get(), got.data(), got.size()), 0);
}

TEST_F(Plugs, LengthsAtTheBounds) {
  std::vector<std::uint8_t> frame = broadcast(1, 1, RP_MAX_FRAME + 1);
  EXPECT_EQ(rp_plug_send(left_.get(), frame.data(), 0), RP_EINVALID);
  EXPECT_EQ(rp_plug_send(left_.get(), frame.data(), RP_MAX_FRAME + 1), RP_EINVALID);
  EXPECT_EQ(rp_plug_send(left_.get(), frame.data(), SIZE_MAX), RP_EINVALID);
  EXPECT_EQ(rp_plug_send(left_.get(), nullptr, 60), RP_EINVALID);
  EXPECT_EQ(rp_plug_send(nullptr, frame.data(), 60), RP_EINVALID);
  ASSERT_EQ(rp_plug_send(left_.get(), frame.data(), RP_MAX_FRAME), RP_MAX_FRAME);
  run();
  std::vector<std::uint8_t> got(RP_MAX_FRAME);
  ASSERT_EQ(rp_plug_recv(right_.get(), got.data(), got.size()), RP_MAX_FRAME);
  EXPECT_EQ(std::memcmp(got.data(), frame.data(), RP_MAX_FRAME), 0);
}

TEST_F(Plugs, RunningOutOfRoomAndRecovering) {
  const auto frame = broadcast(1, 1);
  ssize_t result = 0;
  int sent = 0;
  while ((result = rp_plug_send(left_.get(), frame.data(), frame.size())) > 0) ++sent;
  EXPECT_EQ(result, RP_ERESOURCES);
  EXPECT_GT(sent, 100);
  EXPECT_EQ(rp_plug_reserve(left_.get(), 60), nullptr);
  run();
  EXPECT_EQ(rp_plug_send(left_.get(), frame.data(), frame.size()), 60);
  run();
  int got = 0;
  std::uint8_t buffer[64];
  while (rp_plug_recv(right_.get(), buffer, sizeof buffer) > 0) ++got;
  EXPECT_GT(got, 100);
  EXPECT_FALSE(right_readable());
}

TEST_F(Plugs, ShortBufferCutsTheFrame) {
  for (int i = 0; i < 3; ++i) rp_plug_send(left_.get(), broadcast(1, 9).data(), 60);
  run();
  std::uint8_t buffer[16];
  std::memset(buffer, 0xee, sizeof buffer);
  EXPECT_EQ(rp_plug_recv(right_.get(), buffer, 15), 60);
  EXPECT_EQ(buffer[14], 9);
  EXPECT_EQ(buffer[15], 0xee);
  EXPECT_EQ(rp_plug_recv(right_.get(), nullptr, 15), RP_EINVALID);
  EXPECT_TRUE(right_readable()) << "a refused call took a frame";
  EXPECT_EQ(rp_plug_recv(right_.get(), nullptr, 0), 60);
  EXPECT_EQ(rp_plug_recv(nullptr, buffer, 15), RP_EINVALID);
}

TEST_F(Plugs, Batches) {
  auto a = broadcast(1, 1), b = broadcast(1, 2, 1514), c = broadcast(1, 3);
  const rp_frame out[] = {{a.data(), a.size(), {}}, {b.data(), b.size(), {}}, {c.data(), 0, {}}};
  EXPECT_EQ(rp_plug_send_batch(left_.get(), out, 3), 2u) << "the third has no valid length";
  EXPECT_EQ(rp_plug_send_batch(left_.get(), nullptr, 3), 0u);
  EXPECT_EQ(rp_plug_send_batch(left_.get(), out, 0), 0u);
  EXPECT_EQ(rp_plug_send_batch(nullptr, out, 1), 0u);
  run();
  std::uint8_t first[2048], second[100];
  rp_frame in[] = {{first, sizeof first, {}}, {second, sizeof second, {}}, {nullptr, 0, {}}};
  EXPECT_EQ(rp_plug_recv_batch(nullptr, in, 3), 0u);
  EXPECT_EQ(rp_plug_recv_batch(right_.get(), nullptr, 3), 0u);
  ASSERT_EQ(rp_plug_recv_batch(right_.get(), in, 3), 2u);
  EXPECT_EQ(in[0].length, 60u);
  EXPECT_EQ(in[1].length, 1514u) << "the whole length, though the buffer is shorter";
  EXPECT_EQ(first[14], 1);
  EXPECT_EQ(second[14], 2);
  EXPECT_EQ(in[0].offload.flags, 0);
  EXPECT_FALSE(right_readable());
}

TEST_F(Plugs, BatchLargerThanOneLook) {
  const auto frame = broadcast(1, 7);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(rp_plug_send(left_.get(), frame.data(), 60), 60);
  run();
  std::vector<std::array<std::uint8_t, 64>> buffers(300);
  std::vector<rp_frame> in;
  for (auto& b : buffers) in.push_back({b.data(), b.size(), {}});
  EXPECT_EQ(rp_plug_recv_batch(right_.get(), in.data(), in.size()), 200u);
  EXPECT_FALSE(right_readable());
}

TEST_F(Plugs, ReserveAndCommit) {
  void* place = rp_plug_reserve(left_.get(), 1514);
  ASSERT_NE(place, nullptr);
  // A second reserve takes the first one's place.
  void* again = rp_plug_reserve(left_.get(), 60);
  ASSERT_EQ(again, place);
  EXPECT_EQ(rp_plug_commit(left_.get(), 61, nullptr), RP_EINVALID) << "more than was reserved";
  EXPECT_EQ(rp_plug_commit(left_.get(), 0, nullptr), RP_EINVALID);
  std::memcpy(again, broadcast(1, 5).data(), 60);
  EXPECT_EQ(rp_plug_commit(left_.get(), 60, nullptr), RP_OK);
  EXPECT_EQ(rp_plug_commit(left_.get(), 60, nullptr), RP_EINVALID) << "nothing is reserved now";
  rp_plug_kick(left_.get());
  run();
  std::uint8_t got[64];
  ASSERT_EQ(rp_plug_recv(right_.get(), got, sizeof got), 60);
  EXPECT_EQ(got[14], 5);
}

TEST_F(Plugs, ReserveIsForgottenBySend) {
  ASSERT_NE(rp_plug_reserve(left_.get(), 60), nullptr);
  EXPECT_EQ(rp_plug_send(left_.get(), broadcast(1, 6).data(), 60), 60);
  EXPECT_EQ(rp_plug_commit(left_.get(), 60, nullptr), RP_EINVALID);
}

TEST_F(Plugs, ReserveMisuse) {
  EXPECT_EQ(rp_plug_reserve(left_.get(), 0), nullptr);
  EXPECT_EQ(rp_plug_reserve(left_.get(), RP_MAX_FRAME + 1), nullptr);
  EXPECT_EQ(rp_plug_reserve(nullptr, 60), nullptr);
  EXPECT_EQ(rp_plug_commit(nullptr, 60, nullptr), RP_EINVALID);
  EXPECT_EQ(rp_plug_commit(left_.get(), 1, nullptr), RP_EINVALID);
  // A reserve that fails cancels the one before: there is one at a time.
  ASSERT_NE(rp_plug_reserve(left_.get(), 60), nullptr);
  EXPECT_EQ(rp_plug_reserve(left_.get(), RP_MAX_FRAME + 1), nullptr);
  EXPECT_EQ(rp_plug_commit(left_.get(), 60, nullptr), RP_EINVALID);
  rp_plug_kick(nullptr);
}

TEST_F(Plugs, PeekAndRelease) {
  for (std::uint8_t i = 0; i < 3; ++i) rp_plug_send(left_.get(), broadcast(1, i).data(), 60);
  run();
  rp_frame frames[8];
  ASSERT_EQ(rp_plug_peek(right_.get(), frames, 2), 2u);
  EXPECT_TRUE(right_readable()) << "nothing was taken yet";
  ASSERT_EQ(rp_plug_peek(right_.get(), frames, 8), 3u) << "a second peek starts over";
  EXPECT_EQ(static_cast<std::uint8_t*>(frames[0].data)[14], 0);
  EXPECT_EQ(rp_plug_release(right_.get(), 4), RP_EINVALID);
  EXPECT_EQ(rp_plug_release(right_.get(), 2), RP_OK);
  EXPECT_EQ(rp_plug_release(right_.get(), 1), RP_EINVALID) << "the peek is used up";
  EXPECT_TRUE(right_readable());
  ASSERT_EQ(rp_plug_peek(right_.get(), frames, 8), 1u);
  EXPECT_EQ(static_cast<std::uint8_t*>(frames[0].data)[14], 2);
  EXPECT_EQ(rp_plug_release(right_.get(), 0), RP_OK);
  EXPECT_TRUE(right_readable()) << "released none";
  ASSERT_EQ(rp_plug_peek(right_.get(), frames, 8), 1u);
  EXPECT_EQ(rp_plug_release(right_.get(), 1), RP_OK);
  EXPECT_FALSE(right_readable());
  EXPECT_EQ(rp_plug_peek(right_.get(), frames, 8), 0u);
  EXPECT_EQ(rp_plug_peek(right_.get(), nullptr, 8), 0u);
  EXPECT_EQ(rp_plug_peek(nullptr, frames, 8), 0u);
  EXPECT_EQ(rp_plug_release(nullptr, 0), RP_EINVALID);
}

TEST_F(Plugs, PeekIsForgottenByReceive) {
  for (std::uint8_t i = 0; i < 2; ++i) rp_plug_send(left_.get(), broadcast(1, i).data(), 60);
  run();
  rp_frame frames[8];
  ASSERT_EQ(rp_plug_peek(right_.get(), frames, 8), 2u);
  std::uint8_t got[64];
  EXPECT_EQ(rp_plug_recv(right_.get(), got, sizeof got), 60);
  EXPECT_EQ(rp_plug_release(right_.get(), 1), RP_EINVALID);
  EXPECT_EQ(rp_plug_recv(right_.get(), got, sizeof got), 60);
  EXPECT_EQ(got[14], 1);
}

TEST(Plug, WithoutAHandle) {
  rp_error err = no_error();
  rp_plug_close(nullptr);
  EXPECT_EQ(rp_plug_fd(nullptr), -1);
  EXPECT_EQ(rp_plug_port(nullptr), UINT32_MAX);
  EXPECT_EQ(rp_plug_counters(nullptr, count, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(err.code, RP_EINVALID);
}

TEST(Plug, OptionsOfAnotherVersion) {
  // Older: ends before the log callback. Newer: longer than we know. Both are read as far as known.
  union {
    rp_plug_options options;
    char room[sizeof(rp_plug_options) + 64];
  } newer, older;
  std::memset(&newer, 0x55, sizeof newer);
  newer.options = RP_PLUG_OPTIONS_INIT;
  newer.options.size = sizeof newer;
  open_plug("null", &newer.options);
  std::memset(&older, 0x55, sizeof older);
  older.options.size = offsetof(rp_plug_options, name);
  older.options.offloads = 0;
  open_plug("null", &older.options);
}

TEST(Plug, ErrorsOfAnotherVersion) {
  struct {
    rp_error err;
    char more[64];
  } newer;
  std::memset(&newer, 0x55, sizeof newer);
  newer.err.size = sizeof newer;
  EXPECT_EQ(rp_plug_open(nullptr, nullptr, nullptr, &newer.err), RP_EINVALID);
  EXPECT_EQ(newer.err.code, RP_EINVALID);
  EXPECT_EQ(newer.err.size, sizeof newer) << "the host's";
  EXPECT_EQ(newer.more[0], 0x55) << "what the library doesn't know it leaves alone";
  // No version had one as small; nothing can be said in it.
  rp_error smaller = RP_ERROR_INIT;
  smaller.size = sizeof smaller - 1;
  EXPECT_EQ(rp_plug_open(nullptr, nullptr, nullptr, &smaller), RP_EINVALID);
  EXPECT_EQ(smaller.code, 0);
  EXPECT_STREQ(smaller.message, "");
}

TEST(Plug, SlirpAnswersDhcp) {
  const auto plug = open_plug("slirp?ipv6=off");
  std::uint8_t frame[GUEST_FRAME];
  const auto length = guest_dhcp_discover(frame);
  ASSERT_EQ(rp_plug_send(plug.get(), frame, length), static_cast<ssize_t>(length));
  ASSERT_TRUE(readable(rp_plug_fd(plug.get()), 3000));
  const ssize_t n = rp_plug_recv(plug.get(), frame, sizeof frame);
  EXPECT_TRUE(guest_is_dhcp_offer(frame, static_cast<std::size_t>(n)));
  EXPECT_FALSE(readable(rp_plug_fd(plug.get()), 20));

  Counters counters;
  rp_error err = no_error();
  ASSERT_EQ(rp_plug_counters(plug.get(), count, &counters, &err), RP_OK) << err.message;
  EXPECT_FALSE(counters.empty());
  EXPECT_EQ(rp_plug_counters(plug.get(), nullptr, nullptr, &err), RP_EINVALID);
}

TEST(Plug, TheMtuIsThatOfTheLocatorWhereItSaysOne) {
  rp_plug_options options = RP_PLUG_OPTIONS_INIT;
  options.mtu = 9000;
  open_plug("slirp", &options);
  open_plug("null", &options);
  options.mtu = 1;
  open_plug("slirp?mtu=1500", &options);
  rp_plug* plug = nullptr;
  rp_error err = no_error();
  EXPECT_EQ(rp_plug_open("slirp", &options, &plug, &err), RP_EINVALID);
  EXPECT_NE(std::strstr(err.message, "mtu=1"), nullptr) << err.message;
}

TEST(Plug, LogCallback) {
  // A forward from port 0 tells which port it got.
  std::string log;
  rp_plug_options options = RP_PLUG_OPTIONS_INIT;
  options.log = [](void* opaque, int level, const char* sentence) {
    *static_cast<std::string*>(opaque) += std::to_string(level) + " " + sentence + "\n";
  };
  options.log_opaque = &log;
  open_plug("slirp?hostfwd=tcp:127.0.0.1:0-:22", &options);
  EXPECT_NE(log.find("1 slirp: hostfwd=tcp:127.0.0.1:0-:22 listens on port "), log.npos) << log;
}

}  // namespace
}  // namespace rp::test
