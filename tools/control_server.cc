// SPDX-License-Identifier: BSD-3-Clause
// control_server.cc - a line in, a line out, from the main loop.
#include "tools/control_server.h"

#include <glib-unix.h>
#include <sys/socket.h>
#include <unistd.h>

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

ControlServer::ControlServer(int listener, Answer answer)
    : listener_(listener), answer_(std::move(answer)) {
  listen();
}

ControlServer::~ControlServer() {
  remove_source(listening_);
  remove_source(paused_);
}

void ControlServer::listen() {
  listening_ = g_unix_fd_add(
      listener_, G_IO_IN,
      [](gint, GIOCondition, gpointer self) -> gboolean {
        static_cast<ControlServer*>(self)->accept();
        return G_SOURCE_CONTINUE;
      },
      this);
}

void ControlServer::pause_listening() {
  remove_source(listening_);
  paused_ = g_timeout_add_seconds(
      kPause,
      [](gpointer self) -> gboolean {
        auto& server = *static_cast<ControlServer*>(self);
        server.paused_ = 0;
        server.listen();
        return G_SOURCE_REMOVE;
      },
      this);
}

void ControlServer::accept() {
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

void ControlServer::drop(const Client* client) {
  clients_.remove_if([&](const Client& c) { return &c == client; });
}

ControlServer::Client::Client(ControlServer& s, int fd) : server(s), socket(fd) {
  deadline = g_timeout_add_seconds(
      kPatience,
      [](gpointer self) -> gboolean {
        auto& client = *static_cast<Client*>(self);
        client.deadline = 0;
        client.server.drop(&client);
        return G_SOURCE_REMOVE;
      },
      this);
  watch(G_IO_IN);
}

ControlServer::Client::~Client() {
  remove_source(watched);
  remove_source(deadline);
  close(socket);
}

void ControlServer::Client::watch(GIOCondition what) {
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

bool ControlServer::Client::read() {
  std::array<char, kLongestRequest> bytes;
  const ssize_t n = recv(socket, bytes.data(), bytes.size(), 0);
  if (n < 0) return try_later();
  if (n == 0) return false;
  in.append(bytes.data(), static_cast<std::size_t>(n));
  const std::size_t end = in.find('\n');
  if (end == in.npos && in.size() < kLongestRequest) return true;
  // A line that never ends is answered as it is: cut, it is no request.
  out = server.answer_(in.substr(0, end)) + "\n";
  watch(G_IO_OUT);
  return true;
}

bool ControlServer::Client::write() {
  const ssize_t n = send(socket, out.data() + sent, out.size() - sent, MSG_NOSIGNAL);
  if (n < 0) return try_later();
  sent += static_cast<std::size_t>(n);
  return sent < out.size();
}

}  // namespace rp::tools
