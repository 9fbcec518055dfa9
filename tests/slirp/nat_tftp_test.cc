// SPDX-License-Identifier: BSD-3-Clause
// nat_tftp_test.cc - files by TFTP from the gateway, and what must not be had: T-NAT-5 and
// T-NAT-11.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/slirp/nat_world.h"

namespace rp::test {
namespace {

constexpr std::uint16_t kTftp = 69;
constexpr std::uint16_t kData = 3, kAck = 4, kError = 5, kOptions = 6;

Data word(std::uint16_t v) {
  Data d;
  append(d, Be16(v));
  return d;
}

Data read_request(const std::string& name, const std::string& options = {}) {
  Data d = word(1);
  append(d, text(name + '\0' + "octet" + '\0' + options));
  return d;
}

std::string blksize(const std::string& n) {
  return std::string("blksize") + '\0' + n + '\0';
}

/// A client that asks for one file and acknowledges block after block.
class Transfer {
 public:
  Transfer(World& w, Guest& g, std::uint16_t port, const Data& request)
      : w_(w), g_(g), port_(port) {
    send(request);
  }
  Data file;
  std::uint16_t error = 0;  ///< the opcode, when one came
  bool done = false;

  void send(const Data& d) { g_.send_udp(kGateway, port_, kTftp, d); }
  /// Takes one answer. False: none came.
  bool step() {
    const auto mine = [&](const Guest::Datagram& d) { return d.to_port == port_; };
    const auto has = [&] { return std::any_of(g_.datagrams.begin(), g_.datagrams.end(), mine); };
    if (!w_.until(has, 30)) return false;
    const auto at = std::find_if(g_.datagrams.begin(), g_.datagrams.end(), mine);
    const Data d = at->payload;
    g_.datagrams.erase(at);
    take(d);
    return true;
  }
  void run(std::size_t blocks = 100000) {
    for (std::size_t i = 0; i < blocks && !done && error == 0 && step(); ++i) {
    }
  }
  void abort() {
    Data d = word(kError);
    append(d, text(std::string("\0\0abort\0", 8)));
    send(d);
  }

 private:
  void take(const Data& d) {
    const std::uint16_t op = get16(d, 0);
    if (op == kError) error = op;
    if (op == kOptions) {
      read_options(d);
      acknowledge(0);
    }
    if (op != kData || get16(d, 2) != next_) return;
    file.insert(file.end(), d.begin() + 4, d.end());
    done = d.size() - 4 < block_;
    acknowledge(next_++);
  }
  void read_options(const Data& d) {
    const std::string s(d.begin() + 2, d.end());
    const auto at = s.find("blksize");
    if (at != s.npos) block_ = std::stoul(s.substr(at + 8));
  }
  void acknowledge(std::uint16_t block) {
    Data d = word(kAck);
    append(d, word(block));
    send(d);
  }
  World& w_;
  Guest& g_;
  std::uint16_t port_, next_ = 1;
  std::size_t block_ = 512;
};

class Tftp : public ::testing::Test {
 protected:
  Tftp() : root_(dir_.path("root")), content_(pattern(200'001)) {
    std::filesystem::create_directory(root_);
    put("root/kernel", content_);
    put("secret", text("nobody's business"));
    std::filesystem::create_symlink(dir_.path("secret"), root_ + "/link");
    std::filesystem::create_symlink("kernel", root_ + "/inside");
    std::filesystem::create_directory(root_ + "/sub");
    put("root/sub/file", text("below"));
  }
  void put(const std::string& name, const Data& d) {
    std::ofstream(dir_.path(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(d.data()), static_cast<long>(d.size()));
  }
  ScratchDir dir_;
  std::string root_;
  Data content_;
};

TEST_F(Tftp, T_NAT_11_ServesAFile) {
  World w({{"tftp", root_}});
  Guest& g = w.add_guest();
  std::uint16_t port = 3000;
  for (const char* size : {"", "8", "512", "1024", "1428", "65464"}) {
    const std::string option = *size ? blksize(size) : "";
    const Data expected = std::string(size) == "8" ? text("below") : content_;
    Transfer t(w, g, port++,
               read_request(std::string(size) == "8" ? "sub/file" : "/kernel", option));
    t.run();
    EXPECT_TRUE(t.done) << size;
    EXPECT_TRUE(t.file == expected) << size << ": " << t.file.size();
  }
  Transfer t(w, g, port++, read_request("inside"));
  t.run();
  EXPECT_TRUE(t.file == content_);
  EXPECT_EQ(w.counter("nat.inconsistent"), 0u);
  EXPECT_EQ(g.broken, 0u);
}

TEST_F(Tftp, T_NAT_11_AbortsAndReusesSessions) {
  World w({{"tftp", root_}});
  Guest& g = w.add_guest();
  for (std::uint16_t i = 0; i < 1000; ++i) {
    const auto port = static_cast<std::uint16_t>(3000 + i % 7);
    Transfer t(w, g, port, read_request("kernel"));
    t.run(1 + i % 5);
    ASSERT_FALSE(t.file.empty()) << i;
    t.abort();
    w.turn();
    g.datagrams.clear();
  }
  Transfer whole(w, g, 4000, read_request("kernel"));
  whole.run();
  EXPECT_TRUE(whole.file == content_);
}

void abandon_transfers(const std::string& root, const Data& content) {
  World w({{"tftp", root}});
  Guest &g = w.add_guest(), &other = w.add_guest();
  for (std::uint16_t port = 3000; port < 3100; ++port) {
    Transfer t(w, g, port, read_request("kernel"));
    t.run(1);
  }
  Transfer meanwhile(w, other, 3000, read_request("kernel"));
  meanwhile.run();
  EXPECT_TRUE(meanwhile.file == content);
  w.pass(10s);
  g.datagrams.clear();
  Transfer later(w, g, 5000, read_request("kernel"));
  later.run();
  EXPECT_TRUE(later.file == content);
}

TEST_F(Tftp, T_NAT_11_AbandonedTransfersMakeRoom) {
  abandon_transfers(root_, content_);
}

// libslirp 4.7 itself keeps the files of transfers that are open when it is closed.
TEST_F(Tftp, T_NAT_11_ClosingEndsOpenTransfers) {
  const auto descriptors = [] {
    namespace fs = std::filesystem;
    return std::distance(fs::directory_iterator("/proc/self/fd"), fs::directory_iterator());
  };
  const auto before = descriptors();
  abandon_transfers(root_, content_);
  EXPECT_EQ(descriptors(), before);
}

TEST_F(Tftp, T_NAT_11_NothingAboveTheRoot) {
  World w({{"tftp", root_}});
  Guest& g = w.add_guest();
  std::uint16_t port = 3000;
  for (const std::string& name :
       {std::string("../secret"), std::string("/../secret"), std::string("sub/../../secret"),
        std::string("..\\secret"), dir_.path("secret"), std::string("link"),
        std::string("sub/../kernel"), std::string("."), std::string("sub"), std::string("sub/"),
        std::string(""), std::string("/"), std::string(300, 'a'), std::string("ker\nnel"),
        std::string("kernel\xff")}) {
    Transfer t(w, g, port++, read_request(name));
    t.run(3);
    EXPECT_TRUE(t.file.empty()) << name;
  }
  Transfer missing(w, g, port++, read_request("nothing"));
  missing.run(3);
  EXPECT_EQ(missing.error, kError);
}

TEST_F(Tftp, T_NAT_11_ReadOnly) {
  World w({{"tftp", root_}});
  Guest& g = w.add_guest();
  Data write = word(2);
  append(write, text(std::string("new\0octet\0", 10)));
  g.send_udp(kGateway, 3000, kTftp, write);
  w.settle();
  EXPECT_FALSE(std::filesystem::exists(root_ + "/new"));
}

TEST_F(Tftp, T_NAT_11_OffByDefault) {
  World w;
  Guest& g = w.add_guest();
  Transfer t(w, g, 3000, read_request("etc/hostname"));
  t.run(3);
  EXPECT_TRUE(t.file.empty() && t.error == 0);
  EXPECT_GT(w.counter("refused.tftp"), 0u);
}

void ask_with_client_id(World& w, Guest& g, std::size_t len) {
  Dhcp d;
  d.client = g.mac;
  d.options = {53, 1, 1, 61, static_cast<std::uint8_t>(len)};
  append(d.options, pattern(len));
  d.options.push_back(255);
  w.inject(g.port, ipv4(g.mac, {0, 0xffffffff}, sw::kProtoUdp, udp(68, 67, dhcp(d))));
}

TEST_F(Tftp, T_NAT_5_MtuClientIdBlockSize) {
  for (const char* mtu : {"1500", "1501", "4000", "65521"}) {
    World w({{"tftp", root_}, {"mtu", mtu}});
    Guest& g = w.add_guest();
    std::uint16_t port = 3000;
    for (std::size_t len = 0; len <= 255; len += 15) ask_with_client_id(w, g, len);
    for (const unsigned size : {0u, 7u, 8u, 9u, 511u, 1428u, 1429u, 1468u, 9000u, 65464u, 65465u}) {
      Transfer t(w, g, port++, read_request("kernel", blksize(std::to_string(size))));
      t.run(4);
      EXPECT_EQ(!t.file.empty(), size >= 8 && size <= 65464) << mtu << " " << size;
      EXPECT_TRUE(std::equal(t.file.begin(), t.file.end(), content_.begin()));
      t.abort();
      w.settle();
    }
    EXPECT_EQ(w.counter("nat.inconsistent"), 0u);
    EXPECT_EQ(g.broken, 0u);
  }
}

TEST(NatMtu, T_NAT_5_SmallLinks) {
  World w({{"mtu", "1280"}});
  Guest& g = w.add_guest();
  std::size_t largest = 0;
  g.watch = [&](const Data& f) { largest = std::max(largest, f.size()); };
  const Fd listener = tcp_listener();
  TcpConn& c = g.connect(kGateway, local_of(listener.get()).port());
  c.mss = 1240;
  Stream host = accept_in(w, listener);
  host.out = pattern(300'000);
  EXPECT_TRUE(w.until([&] {
    host.step();
    return c.received.size() == host.out.size();
  }));
  EXPECT_TRUE(c.received == host.out);
  EXPECT_LE(largest, 1280u + 14u);
  for (std::size_t len = 0; len <= 255; len += 5) ask_with_client_id(w, g, len);
  w.settle();
  EXPECT_EQ(g.broken, 0u);
}

}  // namespace
}  // namespace rp::test
