// SPDX-License-Identifier: BSD-3-Clause
// failed_open_test.cc - an open that fails names what is wrong and leaves nothing behind.
#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/api/handles.h"
#include "tests/api/process_state.h"

namespace rp::test {
namespace {

rp_plug* const kUntouched = reinterpret_cast<rp_plug*>(0x1234);

/// A plain listener, so that a port is taken by a process that we know: ourselves.
class Listener {
 public:
  explicit Listener(int type) : fd_(socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof a;
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(listen(fd_, 1), 0);
    }
    getsockname(fd_, reinterpret_cast<sockaddr*>(&a), &length);
    port_ = std::to_string(ntohs(a.sin_port));
  }
  ~Listener() { close(fd_); }
  const std::string& port() const { return port_; }

 private:
  int fd_;
  std::string port_;
};

class FailedOpen : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    // What the first open and the first failure load for good is not a leak.
    rp_plug* plug = nullptr;
    rp_plug_open("slirp?hostfwd=x", nullptr, &plug, nullptr);
    open_plug("slirp?hostfwd=tcp:127.0.0.1:0-:22");  // and the first sentence of the log
  }

  /// Opens in vain, checks the code, that outputs are untouched and nothing is left; returns the
  /// sentence.
  static std::string sentence(const std::string& locator, int code) {
    rp_error err = no_error();
    rp_plug* plug = kUntouched;
    const process_state before = process_state_now();
    EXPECT_EQ(rp_plug_open(locator.c_str(), nullptr, &plug, &err), code) << locator;
    const process_state after = process_state_now();
    EXPECT_EQ(plug, kUntouched) << locator;
    EXPECT_EQ(err.code, code) << locator;
    EXPECT_EQ(after.descriptors, before.descriptors) << locator;
    EXPECT_EQ(after.threads, before.threads) << locator;
    EXPECT_EQ(after.mappings, before.mappings) << locator;
    expect_a_sentence(err.message);
    return err.message;
  }

  static void expect_a_sentence(const std::string& text) {
    EXPECT_FALSE(text.empty());
    EXPECT_EQ(text.find('\n'), text.npos) << text;
  }

  static void expect_words(const std::string& text, const std::vector<std::string>& words) {
    for (const auto& w : words) EXPECT_NE(text.find(w), text.npos) << w << " is not in: " << text;
  }

  static void expect(const std::string& locator, int code, const std::vector<std::string>& words) {
    expect_words(sentence(locator, code), words);
  }
};

TEST_F(FailedOpen, UnknownNamesListWhatThereIs) {
  expect("nosuch", RP_EUNKNOWN, {"'nosuch'", "slirp", "null"});
  expect("slirp?nosuch=1", RP_EUNKNOWN, {"'nosuch'", "hostfwd", "net"});
  expect("null?net=10.0.0.0/8", RP_EUNKNOWN, {"'net'", "none"});
}

TEST_F(FailedOpen, MalformedLocatorsAreQuoted) {
  expect("", RP_EINVALID, {"scheme"});
  expect(":", RP_EINVALID, {"scheme"});
  expect("SLIRP", RP_EINVALID, {"SLIRP"});
  expect("slirp:foo", RP_EINVALID, {"slirp", "foo", "?"});
  expect("slirp?hostfwd", RP_EINVALID, {"slirp?hostfwd"});
  expect("slirp?hostname=%zz", RP_EINVALID, {"%"});
  expect("slirp,port=1", RP_EINVALID, {"slirp,port=1"});
}

TEST_F(FailedOpen, ValuesAreNamedWithTheirOption) {
  expect("slirp?net=10.0.2.0/99", RP_EINVALID, {"net=10.0.2.0/99"});
  expect("slirp?ipv4=maybe", RP_EINVALID, {"ipv4=maybe", "on or off"});
  expect("slirp?mtu=9", RP_EINVALID, {"mtu=9", "1280"});
  expect("slirp?hostfwd=tcp:2222", RP_EINVALID, {"hostfwd=tcp:2222", "GUESTPORT"});
  expect("slirp?hostfwd=sctp::1-:1", RP_EINVALID, {"'sctp'", "tcp", "udp", "unix"});
  expect("slirp?host=192.168.1.1", RP_EINVALID, {"host", "192.168.1.1"});
}

TEST_F(FailedOpen, MissingThingsAreNamed) {
  expect("slirp?tftp=/nonexistent/folder", RP_ENOTFOUND, {"tftp=/nonexistent/folder", "No such"});
  expect("slirp?hostfwd=tcp:192.0.2.1:1-:1", RP_ENOTFOUND, {"192.0.2.1"});
}

TEST_F(FailedOpen, TakenPortNamesItsHolder) {
  std::string us;
  {
    char name[64] = "";
    FILE* comm = fopen("/proc/self/comm", "re");
    if (fgets(name, sizeof name, comm)) us = std::string(name, strcspn(name, "\n"));
    fclose(comm);
  }
  const std::string holder = "pid " + std::to_string(getpid()) + " (" + us + ")";
  const Listener tcp(SOCK_STREAM), udp(SOCK_DGRAM);
  expect("slirp?hostfwd=tcp:127.0.0.1:" + tcp.port() + "-:22", RP_EBUSY, {tcp.port(), holder});
  expect("slirp?hostfwd=udp:127.0.0.1:" + udp.port() + "-:53", RP_EBUSY, {udp.port(), holder});
  // What was forwarded before the one that failed is free again.
  const std::string first = "slirp?hostfwd=tcp:127.0.0.1:0-:1&hostfwd=tcp::";
  expect(first + tcp.port() + "-:22", RP_EBUSY, {tcp.port(), holder});
}

TEST_F(FailedOpen, ControlCharactersStayOutOfTheSentence) {
  expect("sl\nirp", RP_EINVALID, {"is no scheme"});
  expect("slirp?ipv4=a%0Ab", RP_EINVALID, {"on or off"});
}

TEST_F(FailedOpen, TooLongForTheSentence) {
  const std::string text = sentence("slirp?net=" + std::string(4000, '9'), RP_EINVALID);
  EXPECT_LT(text.size(), sizeof(rp_error::message));
  // Cut between characters: each of these has two bytes.
  for (const char* before : {"", "1"}) {
    std::string locator = std::string("slirp?net=") + before;
    while (locator.size() < 2000) locator += "\u00e4";
    const std::string cut = sentence(locator, RP_EINVALID);
    EXPECT_EQ(cut.substr(cut.size() - 2), "\u00e4") << before;
  }
}

TEST_F(FailedOpen, Arguments) {
  rp_error err = no_error();
  rp_plug* plug = kUntouched;
  EXPECT_EQ(rp_plug_open(nullptr, nullptr, &plug, &err), RP_EINVALID);
  expect_words(err.message, {"locator"});
  EXPECT_EQ(plug, kUntouched);
  EXPECT_EQ(rp_plug_open("null", nullptr, nullptr, &err), RP_EINVALID);
  rp_plug_options unset{};
  EXPECT_EQ(rp_plug_open("null", &unset, &plug, &err), RP_EINVALID);
  expect_words(err.message, {"RP_"});
  EXPECT_EQ(plug, kUntouched);
  EXPECT_EQ(rp_plug_open("nosuch", nullptr, &plug, nullptr), RP_EUNKNOWN);
}

TEST_F(FailedOpen, AnErrorWithoutItsSizeIsNotTouched) {
  rp_error err;
  std::memset(&err, 0x55, sizeof err);
  err.size = 0;
  rp_plug* plug = kUntouched;
  EXPECT_EQ(rp_plug_open("nosuch", nullptr, &plug, &err), RP_EUNKNOWN);
  EXPECT_EQ(err.code, 0x55555555);
}

TEST_F(FailedOpen, AddLeavesTheSwitchAsItWas) {
  const auto sw = new_switch();
  rp_port port = 77;
  rp_error err = no_error();
  const process_state before = process_state_now();
  EXPECT_EQ(rp_switch_add(sw.get(), "slirp?hostfwd=x", &port, &err), RP_EINVALID);
  EXPECT_EQ(port, 77u);
  EXPECT_EQ(process_state_now().descriptors, before.descriptors);
  Counters counters;
  EXPECT_EQ(rp_switch_counters(sw.get(), count, &counters, &err), RP_OK);
  EXPECT_TRUE(counters.empty()) << counters.begin()->first;
}

}  // namespace
}  // namespace rp::test
