// SPDX-License-Identifier: BSD-3-Clause
// packet_gen.cc - frames out of a network device, or those that come in counted, by packet sockets.
//
//   packet_gen send DEVICE DESTINATION BYTES SECONDS      prints how many went out
//   packet_gen count DEVICE SECONDS                       prints how many of them came in
//
// A frame is the generator's when its type is that for local experiments (IEEE 802, 0x88b5).
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::uint16_t kType = 0x88b5;
constexpr std::size_t kBatch = 64;
constexpr int kBuffer = 64 << 20;

double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

int open_device(const char* name, std::uint16_t type) {
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("a packet socket");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kBuffer, sizeof kBuffer);
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(type);
  at.sll_ifindex = static_cast<int>(if_nametoindex(name));
  if (bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) fail(name);
  return fd;
}

void parse_mac(const char* text, unsigned char* mac) {
  if (std::sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx", &mac[0], &mac[1], &mac[2], &mac[3],
                  &mac[4], &mac[5]) != 6)
    fail(text);
}

struct Batch {
  explicit Batch(std::size_t bytes) : frame(bytes) {
    for (std::size_t i = 0; i < kBatch; ++i) {
      io[i] = {frame.data(), frame.size()};
      messages[i] = {};
      messages[i].msg_hdr.msg_iov = &io[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
  }
  std::vector<unsigned char> frame;  ///< all of them
  std::array<iovec, kBatch> io;
  std::array<mmsghdr, kBatch> messages;
};

unsigned long long send_frames(const char* device, const char* to, std::size_t bytes,
                               double seconds) {
  const int fd = open_device(device, 0);
  Batch b(bytes);
  parse_mac(to, b.frame.data());
  const unsigned char from[6] = {2, 0, 0, 0, 0, 0x51};
  std::copy_n(from, sizeof from, b.frame.data() + 6);
  b.frame[12] = kType >> 8;
  b.frame[13] = kType & 0xff;
  unsigned long long sent = 0;
  for (const double end = now() + seconds; now() < end;) {
    const int n = sendmmsg(fd, b.messages.data(), kBatch, 0);
    if (n > 0) sent += static_cast<unsigned>(n);
    if (n < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR) fail(device);
  }
  return sent;
}

unsigned long long count_frames(const char* device, double seconds) {
  const int fd = open_device(device, kType);
  Batch b(2048);
  std::puts("ready");
  std::fflush(stdout);
  unsigned long long received = 0;
  pollfd p{fd, POLLIN, 0};
  for (const double end = now() + seconds; now() < end;) {
    if (poll(&p, 1, 10) <= 0) continue;
    const int n = recvmmsg(fd, b.messages.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (n > 0) received += static_cast<unsigned>(n);
  }
  return received;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  unsigned long long frames;
  if (what == "send" && argc == 6) {
    frames = send_frames(argv[2], argv[3], std::max<std::size_t>(14, std::stoul(argv[4])),
                         std::stod(argv[5]));
  } else if (what == "count" && argc == 4) {
    frames = count_frames(argv[2], std::stod(argv[3]));
  } else {
    std::fputs("usage: packet_gen send DEVICE DESTINATION BYTES SECONDS | count DEVICE SECONDS\n",
               stderr);
    return 2;
  }
  std::printf("%llu\n", frames);
}
