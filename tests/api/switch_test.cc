// SPDX-License-Identifier: BSD-3-Clause
// switch_test.cc - rp_switch_*, rp_locators and rp_version; and all objects after fork().
#include <sys/wait.h>
#include <unistd.h>

#include <latch>
#include <thread>

#include <filesystem>

#include "tests/api/handles.h"
#include "tests/api/process_state.h"
#include "tests/base/temp_folder.h"

namespace rp::test {
namespace {

TEST(Library, Version) {
  EXPECT_STREQ(rp_version(), RP_TEST_VERSION);
}

TEST(Library, Locators) {
  std::vector<std::pair<std::string, std::string>> rows;
  rp_locators(nullptr, nullptr);
  rp_locators(
      [](void* opaque, const rp_locator_info* i) {
        auto& all = *static_cast<decltype(rows)*>(opaque);
        EXPECT_EQ(i->size, sizeof(rp_locator_info));
        for (const char* s : {i->scheme, i->target, i->summary, i->example}) ASSERT_NE(s, nullptr);
        for (const char* s : {i->syntax, i->fallback, i->text}) ASSERT_NE(s, nullptr);
        all.emplace_back(i->scheme, i->option ? i->option : "");
      },
      &rows);
  ASSERT_FALSE(rows.empty());
  // Each scheme comes first without an option, then with each of its own.
  std::string scheme;
  for (const auto& [s, option] : rows) {
    EXPECT_EQ(option.empty(), s != scheme) << s << " " << option;
    scheme = s;
  }
}

/// Of the schemes that touch neither devices nor other processes.
TEST(Library, ExamplesOpen) {
  std::vector<std::string> examples;
  rp_locators(
      [](void* opaque, const rp_locator_info* i) {
        const std::string_view scheme = i->scheme;
        if (!i->option && (scheme == "slirp" || scheme == "null" || scheme == "*"))
          static_cast<std::vector<std::string>*>(opaque)->push_back(i->example);
      },
      &examples);
  ASSERT_EQ(examples.size(), 3u);
  for (const auto& locator : examples) {
    rp_plug* plug = nullptr;
    rp_error err = no_error();
    const int code = rp_plug_open(locator.c_str(), nullptr, &plug, &err);
    // The machine may lack a right or have the port taken; the text itself must be right.
    EXPECT_NE(code, RP_EINVALID) << locator << ": " << err.message;
    EXPECT_NE(code, RP_EUNKNOWN) << locator << ": " << err.message;
    if (code == RP_OK) rp_plug_close(plug);
  }
}

TEST(Switch, Misuse) {
  rp_error err = no_error();
  rp_switch* const untouched = reinterpret_cast<rp_switch*>(0x1234);
  rp_switch* out = untouched;
  rp_switch_options unset{};
  EXPECT_EQ(rp_switch_new(nullptr, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_new(&unset, &out, &err), RP_EINVALID);
  EXPECT_EQ(out, untouched);
  rp_switch_free(nullptr);
  rp_switch_dispatch(nullptr);
  EXPECT_EQ(rp_switch_fd(nullptr), -1);
  EXPECT_EQ(rp_switch_add(nullptr, "null", nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_remove(nullptr, 0, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_counters(nullptr, count, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_listen(nullptr, "null", nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_ports(nullptr, keep_port, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_addresses(nullptr, keep_address, nullptr, &err), RP_EINVALID);
  int control = -2;
  EXPECT_EQ(rp_switch_publish(nullptr, "lan0", &control, &err), RP_EINVALID);
  EXPECT_EQ(rp_runtime_path("lan0", ".control", nullptr, 108, &err), RP_EINVALID);
  rp_plug* plug = nullptr;
  EXPECT_EQ(rp_plug_join(nullptr, nullptr, &plug, &err), RP_EINVALID);

  const auto sw = new_switch();
  EXPECT_EQ(rp_switch_fd(sw.get()), -1) << "it has a thread of its own";
  rp_switch_dispatch(sw.get());
  EXPECT_EQ(rp_switch_add(sw.get(), nullptr, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_plug_join(sw.get(), nullptr, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_counters(sw.get(), nullptr, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_listen(sw.get(), nullptr, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_ports(sw.get(), nullptr, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_addresses(sw.get(), nullptr, nullptr, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_publish(sw.get(), nullptr, &control, &err), RP_EINVALID);
  EXPECT_EQ(rp_switch_publish(sw.get(), "lan0", nullptr, &err), RP_EINVALID);
  EXPECT_EQ(control, -2) << "outputs are untouched";
}

TEST(Switch, TellsItsPorts) {
  rp_error err = no_error();
  for (const int host_loop : {0, 1}) {
    const auto sw = new_switch(host_loop);
    EXPECT_TRUE(ports_of(sw).empty());
    rp_port door = 0;
    ASSERT_EQ(rp_switch_listen(sw.get(), "null", &door, &err), RP_OK) << err.message;
    const auto plug = join(sw, "guest");
    const auto ports = ports_of(sw);
    ASSERT_EQ(ports.size(), 2u);
    EXPECT_EQ(ports.at(door).name, "null");
    EXPECT_EQ(ports.at(rp_plug_port(plug.get())).name, "guest");
    EXPECT_EQ(ports.at(rp_plug_port(plug.get())).link, 1);
    ASSERT_EQ(rp_switch_remove(sw.get(), door, &err), RP_OK);
    EXPECT_EQ(ports_of(sw).size(), 1u);
  }
}

TEST(Switch, ListensOnWhatItCan) {
  rp_error err = no_error();
  const auto sw = new_switch();
  EXPECT_EQ(rp_switch_listen(sw.get(), "nulls", nullptr, &err), RP_EUNKNOWN);
  EXPECT_NE(std::strstr(err.message, "'nulls'"), nullptr) << err.message;
}

TEST(Switch, TellsWhereAddressesLive) {
  const auto sw = new_switch();
  const auto left = join(sw, "left"), right = join(sw, "right");
  EXPECT_TRUE(addresses_of(sw).empty());
  auto tagged = broadcast(2, 0);
  const std::uint8_t tag[] = {0x81, 0x00, 0xa0, 0x64};  // priority 5, VLAN 100
  std::copy(std::begin(tag), std::end(tag), tagged.begin() + 12);
  rp_plug_send(left.get(), broadcast(1, 0).data(), 60);
  rp_plug_send(right.get(), tagged.data(), 60);
  ASSERT_TRUE(readable(rp_plug_fd(left.get()), 3000));
  ASSERT_TRUE(readable(rp_plug_fd(right.get()), 3000));
  const auto found = addresses_of(sw);
  ASSERT_EQ(found.size(), 2u);
  const auto &first = found[0].mac[5] == 1 ? found[0] : found[1],
             &second = found[0].mac[5] == 1 ? found[1] : found[0];
  const std::uint8_t mac[6] = {0x52, 0x54, 0, 0, 0, 1};
  EXPECT_EQ(std::memcmp(first.mac, mac, sizeof mac), 0);
  EXPECT_EQ(first.vlan, 0);
  EXPECT_EQ(first.port, rp_plug_port(left.get()));
  EXPECT_LT(first.age, 60u);
  EXPECT_EQ(second.mac[5], 2);
  EXPECT_EQ(second.vlan, 100);
  EXPECT_EQ(second.port, rp_plug_port(right.get()));
}

TEST(Switch, CallbacksMayCallIntoIt) {
  const auto sw = new_switch();
  auto plug = join(sw);
  rp_error err = no_error();
  const auto again = [](void* opaque, const rp_port_info* info) {
    auto* const s = static_cast<rp_switch*>(opaque);
    EXPECT_EQ(rp_switch_remove(s, info->port, nullptr), RP_EINVALID);
    std::map<rp_port, Port> ports;
    EXPECT_EQ(rp_switch_ports(s, keep_port, &ports, nullptr), RP_OK);
    EXPECT_EQ(ports.size(), 1u);
  };
  EXPECT_EQ(rp_switch_ports(sw.get(), again, sw.get(), &err), RP_OK);
}

/// A folder for the sockets of switches with names, for one test.
class Published : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* set = getenv("XDG_RUNTIME_DIR")) before_ = set;
    setenv("XDG_RUNTIME_DIR", folder_.path().c_str(), 1);
  }
  void TearDown() override {
    before_.empty() ? unsetenv("XDG_RUNTIME_DIR") : setenv("XDG_RUNTIME_DIR", before_.c_str(), 1);
  }
  TempFolder folder_;
  std::string before_;
};

TEST_F(Published, PathsOfNames) {
  rp_error err = no_error();
  char path[108] = "untouched";
  ASSERT_EQ(rp_runtime_path("lan0", ".control", path, sizeof path, &err), RP_OK) << err.message;
  EXPECT_EQ(path, folder_ / "ringplug/lan0.control");
  ASSERT_EQ(rp_runtime_path(nullptr, nullptr, path, sizeof path, &err), RP_OK) << err.message;
  EXPECT_EQ(path, folder_ / "ringplug");
  std::strcpy(path, "untouched");
  const std::size_t length = (folder_ / "ringplug").size();
  EXPECT_EQ(rp_runtime_path(nullptr, nullptr, path, length, &err), RP_EINVALID);
  EXPECT_EQ(rp_runtime_path("lan0", nullptr, path, sizeof path, &err), RP_EINVALID);
  EXPECT_EQ(rp_runtime_path("../lan0", ".control", path, sizeof path, &err), RP_EINVALID);
  EXPECT_NE(std::strstr(err.message, "letters"), nullptr) << err.message;
  EXPECT_STREQ(path, "untouched");
  EXPECT_EQ(rp_runtime_path(nullptr, nullptr, path, length + 1, &err), RP_OK) << err.message;
}

TEST_F(Published, ANameIsOneSwitchs) {
  rp_error err = no_error();
  auto first = new_switch();
  const auto second = new_switch(1);
  int control = -2, other = -2;
  ASSERT_EQ(rp_switch_publish(first.get(), "lan0", &control, &err), RP_OK) << err.message;
  EXPECT_GE(control, 0);
  EXPECT_EQ(rp_switch_publish(second.get(), "lan0", &other, &err), RP_EBUSY);
  EXPECT_NE(std::strstr(err.message, "'lan0' runs already"), nullptr) << err.message;
  EXPECT_NE(std::strstr(err.message, ("process " + std::to_string(getpid())).c_str()), nullptr)
      << err.message;
  EXPECT_EQ(rp_switch_publish(first.get(), "lan1", &other, &err), RP_EINVALID) << "it has a name";
  EXPECT_EQ(other, -2);
  EXPECT_TRUE(readable(control, 0)) << "the second looked whether it lives";
  first.reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "ringplug"));
  ASSERT_EQ(rp_switch_publish(second.get(), "lan0", &other, &err), RP_OK) << err.message;
}

TEST_F(Published, ItsPlugsDontKeepTheName) {
  rp_error err = no_error();
  auto sw = new_switch();
  const auto plug = join(sw);
  int control = -1;
  ASSERT_EQ(rp_switch_publish(sw.get(), "lan0", &control, &err), RP_OK) << err.message;
  sw.reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder_ / "ringplug"));
}

TEST(Switch, AddsAndRemovesPorts) {
  rp_error err = no_error();
  const auto sw = new_switch();
  rp_port first = 0, second = 0;
  ASSERT_EQ(rp_switch_add(sw.get(), "null", &first, &err), RP_OK) << err.message;
  ASSERT_EQ(rp_switch_add(sw.get(), "null", &second, &err), RP_OK) << err.message;
  EXPECT_NE(first, second);
  ASSERT_EQ(rp_switch_add(sw.get(), "null", nullptr, &err), RP_OK) << err.message;
  EXPECT_EQ(rp_switch_remove(sw.get(), first, &err), RP_OK);
  EXPECT_EQ(rp_switch_remove(sw.get(), first, &err), RP_EUNKNOWN);
  EXPECT_NE(std::string(err.message).find(std::to_string(first)), std::string::npos);
  rp_port third = 0;
  ASSERT_EQ(rp_switch_add(sw.get(), "null", &third, &err), RP_OK);
  EXPECT_NE(third, first) << "a name is not used again";
}

TEST(Switch, TwoPlugsOnItsThread) {
  const auto sw = new_switch();
  const auto left = join(sw, "left"), right = join(sw, "right");
  EXPECT_NE(rp_plug_port(left.get()), rp_plug_port(right.get()));
  for (std::uint8_t i = 0; i < 50; ++i) {
    ASSERT_EQ(rp_plug_send(left.get(), broadcast(1, i).data(), 60), 60);
    ASSERT_TRUE(readable(rp_plug_fd(right.get()), 3000));
    std::uint8_t got[64];
    ASSERT_EQ(rp_plug_recv(right.get(), got, sizeof got), 60);
    EXPECT_EQ(got[14], i);
  }
  EXPECT_FALSE(readable(rp_plug_fd(left.get()), 0)) << "a frame came back to its sender";
  Counters counters;
  rp_error err = no_error();
  ASSERT_EQ(rp_switch_counters(sw.get(), count, &counters, &err), RP_OK);
  std::uint64_t fifties = 0;
  for (const auto& [name, value] : counters) fifties += value == 50;
  EXPECT_GE(fifties, 2u) << "neither port counted 50 frames";
}

TEST(Switch, FreedBeforeItsPlugs) {
  new_switch(), open_plug("null");
  const process_state before = process_state_now();
  auto sw = new_switch();
  auto left = join(sw), right = join(sw);
  sw.reset();
  EXPECT_EQ(process_state_now().threads, before.threads);
  const auto frame = broadcast(1, 1);
  EXPECT_GE(rp_plug_fd(left.get()), 0);
  EXPECT_EQ(rp_plug_send(left.get(), frame.data(), frame.size()), RP_ECLOSED);
  rp_frame f{const_cast<std::uint8_t*>(frame.data()), frame.size(), {}};
  EXPECT_EQ(rp_plug_send_batch(left.get(), &f, 1), 0u);
  EXPECT_EQ(rp_plug_reserve(left.get(), 60), nullptr);
  std::uint8_t got[64];
  EXPECT_EQ(rp_plug_recv(right.get(), got, sizeof got), RP_ECLOSED);
  EXPECT_EQ(rp_plug_recv_batch(right.get(), &f, 1), 0u);
  EXPECT_EQ(rp_plug_peek(right.get(), &f, 1), 0u);
  rp_error err = no_error();
  EXPECT_EQ(rp_plug_counters(left.get(), count, nullptr, &err), RP_ECLOSED);
  left.reset(), right.reset();
  const process_state after = process_state_now();
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.mappings, before.mappings);
}

TEST(Switch, WhatWaitsCanBeReceivedAfterItsEnd) {
  auto sw = new_switch();
  const auto left = join(sw), right = join(sw);
  ASSERT_NE(rp_plug_reserve(left.get(), 60), nullptr);
  ASSERT_EQ(rp_plug_send(left.get(), broadcast(1, 8).data(), 60), 60);
  ASSERT_TRUE(readable(rp_plug_fd(right.get()), 3000));
  ASSERT_NE(rp_plug_reserve(left.get(), 60), nullptr);
  sw.reset();
  EXPECT_EQ(rp_plug_commit(left.get(), 60, nullptr), RP_ECLOSED);
  std::uint8_t got[64];
  EXPECT_EQ(rp_plug_recv(right.get(), got, sizeof got), 60);
  EXPECT_EQ(got[14], 8);
  EXPECT_EQ(rp_plug_recv(right.get(), got, sizeof got), RP_ECLOSED);
  EXPECT_FALSE(readable(rp_plug_fd(right.get()), 0));
}

TEST(Switch, APlugsPortIsNotRemoved) {
  rp_error err = no_error();
  const auto sw = new_switch();
  auto left = join(sw);
  const auto right = join(sw);
  const rp_port port = rp_plug_port(left.get());
  EXPECT_EQ(rp_switch_remove(sw.get(), port, &err), RP_EINVALID);
  EXPECT_NE(std::strstr(err.message, "rp_plug_close()"), nullptr) << err.message;
  ASSERT_EQ(rp_plug_send(left.get(), broadcast(1, 1).data(), 60), 60);
  EXPECT_TRUE(readable(rp_plug_fd(right.get()), 3000)) << "it works as before";
  left.reset();
  EXPECT_EQ(rp_switch_remove(sw.get(), port, &err), RP_EUNKNOWN);
}

TEST(Switch, FreedWhileOthersUseItsPlugs) {
  for (int round = 0; round < 20; ++round) {
    auto sw = new_switch();
    std::vector<std::thread> others;
    std::latch start(5);
    for (std::uint8_t i = 0; i < 4; ++i) {
      others.emplace_back([&start, i, plug = join(sw)]() mutable {
        const auto frame = broadcast(i, i);
        const auto ignore = [](void*, rp_port, const char*, const char*, std::uint64_t) {};
        start.arrive_and_wait();
        if (i == 0) return plug.reset();
        while (rp_plug_counters(plug.get(), ignore, nullptr, nullptr) == RP_OK) {
          rp_plug_send(plug.get(), frame.data(), frame.size());
          std::uint8_t got[64];
          rp_plug_recv(plug.get(), got, sizeof got);
        }
        EXPECT_EQ(rp_plug_counters(plug.get(), ignore, nullptr, nullptr), RP_ECLOSED);
        EXPECT_EQ(rp_plug_send(plug.get(), frame.data(), frame.size()), RP_ECLOSED);
      });
    }
    start.arrive_and_wait();
    sw.reset();
    for (auto& t : others) t.join();
  }
}

TEST(Switch, CloseLeavesNothing) {
  open_plug("slirp");
  const process_state before = process_state_now();
  for (int i = 0; i < 20; ++i) open_plug("slirp?hostfwd=tcp:127.0.0.1:0-:22");
  const process_state after = process_state_now();
  EXPECT_EQ(after.descriptors, before.descriptors);
  EXPECT_EQ(after.threads, before.threads);
  EXPECT_EQ(after.mappings, before.mappings);
}

TEST(Switch, HostLoopHasNoThread) {
  new_switch(1);
  const process_state before = process_state_now();
  const auto sw = new_switch(1);
  EXPECT_GE(rp_switch_fd(sw.get()), 0);
  const auto left = join(sw), right = join(sw);
  EXPECT_EQ(process_state_now().threads, before.threads);
  while (readable(rp_switch_fd(sw.get()), 0)) rp_switch_dispatch(sw.get());
  rp_plug_send(left.get(), broadcast(1, 1).data(), 60);
  EXPECT_TRUE(readable(rp_switch_fd(sw.get()), 0)) << "work waits";
  while (readable(rp_switch_fd(sw.get()), 0)) rp_switch_dispatch(sw.get());
  EXPECT_TRUE(readable(rp_plug_fd(right.get()), 0));
  EXPECT_FALSE(readable(rp_switch_fd(sw.get()), 0)) << "no work is left";
}

TEST(Fork, HandlesAreDeadInTheChild) {
  const auto sw = new_switch(), own = new_switch(1);
  const auto plug = open_plug("slirp"), joined = join(sw);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int wrong = 0;
    const auto check = [&](int line, bool right) {
      if (!right && wrong == 0) wrong = line;
    };
    rp_error err = no_error();
    rp_plug* p = nullptr;
    rp_frame f{};
    std::uint8_t frame[60] = {};
    check(1, rp_plug_send(plug.get(), frame, 60) == RP_ECLOSED);
    check(2, rp_plug_recv(plug.get(), frame, 60) == RP_ECLOSED);
    check(3, rp_plug_send_batch(plug.get(), &f, 1) == 0);
    check(4, rp_plug_recv_batch(plug.get(), &f, 1) == 0);
    check(5, rp_plug_reserve(plug.get(), 60) == nullptr);
    check(6, rp_plug_commit(plug.get(), 60, nullptr) == RP_ECLOSED);
    check(7, rp_plug_peek(plug.get(), &f, 1) == 0);
    check(8, rp_plug_release(plug.get(), 0) == RP_ECLOSED);
    check(9, rp_plug_fd(plug.get()) == -1);
    check(10, rp_plug_counters(plug.get(), count, nullptr, &err) == RP_ECLOSED);
    check(11, rp_plug_join(sw.get(), nullptr, &p, &err) == RP_ECLOSED);
    check(12, rp_switch_add(sw.get(), "null", nullptr, &err) == RP_ECLOSED);
    check(13, rp_switch_remove(sw.get(), 0, &err) == RP_ECLOSED);
    check(14, rp_switch_counters(sw.get(), count, nullptr, &err) == RP_ECLOSED);
    check(15, rp_switch_fd(own.get()) == -1);
    check(16, rp_switch_listen(sw.get(), "null", nullptr, &err) == RP_ECLOSED);
    check(17, rp_switch_ports(sw.get(), keep_port, nullptr, &err) == RP_ECLOSED);
    check(18, rp_switch_addresses(sw.get(), keep_address, nullptr, &err) == RP_ECLOSED);
    int control;
    check(19, rp_switch_publish(sw.get(), "lan0", &control, &err) == RP_ECLOSED);
    rp_plug_kick(plug.get());
    rp_switch_dispatch(own.get());
    rp_plug_close(plug.get());
    rp_plug_close(joined.get());
    rp_switch_free(sw.get());
    rp_switch_free(own.get());
    _exit(wrong);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  EXPECT_EQ(WEXITSTATUS(status), 0) << "the number of the check that failed";
  // The parent's are alive as before.
  EXPECT_EQ(rp_plug_send(plug.get(), broadcast(1, 1).data(), 60), 60);
  Counters counters;
  rp_error err = no_error();
  EXPECT_EQ(rp_switch_counters(sw.get(), count, &counters, &err), RP_OK);
}

TEST(Fork, TheChildCanOpenItsOwn) {
#ifdef RP_TEST_TSAN
  GTEST_SKIP() << "the thread sanitizer allows no new threads after a fork";
#endif
  const auto parents = open_plug("null");
  const pid_t child = fork();
  if (child == 0) {
    rp_plug* plug = nullptr;
    const int code = rp_plug_open("slirp", nullptr, &plug, nullptr);
    rp_plug_close(plug);
    _exit(code == RP_OK ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace rp::test
