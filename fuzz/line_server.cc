// SPDX-License-Identifier: BSD-3-Clause
// line_server.cc - lines that come in pieces over a socket, to a server that answers each.
//
// Invariant: however they are cut, the same lines get the same answers in their order, up to the
// last one; a line that is too long is cut, and ends the conversation.
#include "tools/line_server.h"

#include <sys/socket.h>
#include <sys/un.h>

#include "base/fd.h"
#include "fuzz/harness.h"

namespace {

using rp::Fd;
using rp::fuzz::Input;
using rp::tools::LineServer;

constexpr const char* kGreeting = "hello\n";

LineServer::Reply answer(const std::string& line) {
  return {'<' + line + ">\n", line == "q"};
}

/// What a client hears that says all of `said`.
std::string expected(std::string said) {
  std::string heard = kGreeting;
  while (true) {
    const auto end = said.find('\n');
    const bool too_long = std::min(end, said.size()) > LineServer::kLongestLine;
    if (end == said.npos && !too_long) return heard;
    const auto reply = answer(said.substr(0, std::min(end, LineServer::kLongestLine)));
    heard += reply.text;
    if (reply.last || too_long) return heard;
    said.erase(0, end + 1);
  }
}

void hear(const Fd& client, std::string& heard) {
  for (int i = 0; i < 400 && g_main_context_iteration(nullptr, FALSE); ++i) {
  }
  char bytes[4096];
  for (ssize_t n; (n = recv(client.get(), bytes, sizeof bytes, MSG_DONTWAIT)) > 0;)
    heard.append(bytes, static_cast<std::size_t>(n));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  const Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  // Linux finds an abstract name.
  RP_CHECK(bind(listener.get(), reinterpret_cast<sockaddr*>(&a), sizeof a.sun_family) == 0);
  RP_CHECK(listen(listener.get(), 4) == 0);
  socklen_t length = sizeof a;
  RP_CHECK(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&a), &length) == 0);
  {
    LineServer::Options options;
    options.greeting = kGreeting;
    const LineServer server(listener.get(), options, answer);
    const Fd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    RP_CHECK(connect(client.get(), reinterpret_cast<sockaddr*>(&a), length) == 0);
    std::string said, heard;
    while (!in.empty() && said.size() < 20'000) {
      const unsigned how = in.byte();
      // Now and then a line near the limit.
      const std::string piece = how >= 240 ? std::string(4080 + how - 240, 'x') : in.text(how % 64);
      said += piece;
      send(client.get(), piece.data(), piece.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (how & 64) hear(client, heard);
    }
    // Many short answers fill the socket again and again.
    for (int i = 0; i < 64; ++i) hear(client, heard);
    RP_CHECK(heard == expected(said));
  }
  while (g_main_context_iteration(nullptr, FALSE)) {
  }
  return 0;
}
