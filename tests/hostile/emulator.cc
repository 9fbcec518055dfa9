// SPDX-License-Identifier: BSD-3-Clause
// emulator.cc - sends frames until it is killed; it ends by itself after two minutes.
//
// Usage: emulator LOCATOR     through a plug
//        emulator stream PATH into a UNIX stream, each frame in pieces
//        emulator spin        sends nothing, and takes all the time there is
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>
#include <vector>

#include "ringplug.h"
#include "tests/hostile/pattern.h"

namespace {

std::size_t length_of(std::uint32_t number) {
  return 60 + number * 977 % 1455;
}

int send_into_plug(const char* locator) {
  rp_error err = RP_ERROR_INIT;
  rp_plug* plug = nullptr;
  if (rp_plug_open(locator, nullptr, &plug, &err) != 0) {
    std::fprintf(stderr, "emulator: %s\n", err.message);
    return 1;
  }
  for (std::uint32_t number = 0;;) {
    const std::size_t length = length_of(number);
    if (auto* place = static_cast<std::uint8_t*>(rp_plug_reserve(plug, length))) {
      rp::test::write_pattern({place, length}, 2, number++);
      rp_plug_commit(plug, length, nullptr);
    }
    // Some wait in the ring, so that it is killed with those, too.
    if (number % 8 == 0) rp_plug_kick(plug);
  }
}

int send_into_stream(const char* path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  std::strncpy(a.sun_path, path, sizeof a.sun_path - 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) return 1;
  std::vector<std::uint8_t> bytes;
  for (std::uint32_t number = 0;; ++number) {
    const std::size_t length = length_of(number);
    bytes.resize(4 + length);
    for (int i = 0; i < 4; ++i)
      bytes[static_cast<std::size_t>(i)] = static_cast<std::uint8_t>(length >> (24 - 8 * i));
    rp::test::write_pattern(std::span(bytes).subspan(4), 2, number);
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t n =
          send(fd, bytes.data() + at, std::min<std::size_t>(bytes.size() - at, 100), MSG_NOSIGNAL);
      if (n < 0) return 1;
      at += static_cast<std::size_t>(n);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(120);
  if (argc == 2 && std::string_view(argv[1]) == "spin")
    for (;;) {
    }
  if (argc == 3 && std::string_view(argv[1]) == "stream") return send_into_stream(argv[2]);
  return argc == 2 ? send_into_plug(argv[1]) : 2;
}
