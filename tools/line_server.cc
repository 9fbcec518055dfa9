// SPDX-License-Identifier: BSD-3-Clause
// line_server.cc - lines in, answers out, from the main loop.
#include "tools/line_server.h"

#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace rp::tools {
namespace {

/// How long to leave waiting clients alone when there is no descriptor for them, seconds.
constexpr unsigned kPause = 1;

void remove_source(guint& id) {
  if (id != 0) g_source_remove(std::exchange(id, 0u));
}

bool try_later() {
  return errno == EAGAIN || errno == EINTR;
}

}  // namespace

LineServer::LineServer(int listener, Options options, Answer answer)
    : listener_(listener), options_(std::move(options)), answer_(std::move(answer)) {
  listen();
}

LineServer::~LineServer() {
  remove_source(listening_);
  remove_source(paused_);
}

void LineServer::listen() {
  listening_ = g_unix_fd_add(
      listener_, G_IO_IN,
      [](gint, GIOCondition, gpointer self) -> gboolean {
        static_cast<LineServer*>(self)->accept();
        return G_SOURCE_CONTINUE;
      },
      this);
}

void LineServer::pause_listening() {
  remove_source(listening_);
  paused_ = g_timeout_add_seconds(
      kPause,
      [](gpointer self) -> gboolean {
        auto& server = *static_cast<LineServer*>(self);
        server.paused_ = 0;
        server.listen();
        return G_SOURCE_REMOVE;
      },
      this);
}

void LineServer::accept() {
  const int fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    if (try_later() || errno == ECONNABORTED) return;
    // Out of descriptors: the oldest client's is one.
    if (clients_.empty())
      pause_listening();
    else
      clients_.pop_front();
    return;
  }
  if (clients_.size() >= kMostClients) clients_.pop_front();
  clients_.emplace_back(*this, fd);
}

void LineServer::drop(const Client* client) {
  clients_.remove_if([&](const Client& c) { return &c == client; });
}

LineServer::Client::Client(LineServer& s, int fd)
    : server(s), socket(fd), out(s.options_.greeting) {
  if (server.options_.patience != 0)
    deadline = g_timeout_add_seconds(
        server.options_.patience,
        [](gpointer self) -> gboolean {
          auto& client = *static_cast<Client*>(self);
          client.deadline = 0;
          client.server.drop(&client);
          return G_SOURCE_REMOVE;
        },
        this);
  watch(out.empty() ? G_IO_IN : G_IO_OUT);
}

LineServer::Client::~Client() {
  remove_source(watched);
  remove_source(deadline);
  close(socket);
}

void LineServer::Client::watch(GIOCondition what) {
  remove_source(watched);
  watched = g_unix_fd_add(
      socket, what,
      [](gint, GIOCondition, gpointer self) -> gboolean {
        auto& client = *static_cast<Client*>(self);
        const bool goes_on = client.out.empty() ? client.read() : client.write();
        // This removes the source as well.
        if (!goes_on) client.server.drop(&client);
        return G_SOURCE_CONTINUE;
      },
      this);
}

bool LineServer::Client::read() {
  std::array<char, kLongestLine> bytes;
  const ssize_t n = recv(socket, bytes.data(), bytes.size(), 0);
  if (n < 0) return try_later();
  if (n == 0) return false;
  in.append(bytes.data(), static_cast<std::size_t>(n));
  more = static_cast<std::size_t>(n) == bytes.size();
  answer(!more);
  if (!out.empty()) watch(G_IO_OUT);
  return true;
}

/// Answers the next line, if there is a whole one.
void LineServer::Client::answer(bool nothing_follows) {
  const std::size_t end = in.find('\n');
  const bool too_long = std::min(end, in.size()) > kLongestLine;
  const bool whole = server.options_.newline_optional && nothing_follows && !in.empty();
  if (end == in.npos && !too_long && !whole) return;
  Reply reply = server.answer_(in.substr(0, std::min(end, kLongestLine)));
  in.erase(0, end == in.npos ? end : end + 1);
  out = std::move(reply.text);
  last = reply.last || too_long;
}

bool LineServer::Client::write() {
  const ssize_t n = send(socket, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
  if (n < 0) return try_later();
  sent += static_cast<std::size_t>(n);
  if (sent < out.size()) return true;
  if (last) return false;
  out.clear();
  sent = 0;
  answer(!more);
  if (out.empty()) watch(G_IO_IN);
  return true;
}

}  // namespace rp::tools
