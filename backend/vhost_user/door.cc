// SPDX-License-Identifier: BSD-3-Clause
// door.cc - accepting, checking who it is, and waiting for descriptors.
#include "backend/vhost_user/door.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/vhost_user/features.h"
#include "backend/vhost_user/port.h"
#include "base/runtime_dir.h"

namespace rp::backend::vhost_user {
namespace {

/// Connections that wait before the door; more are told to come again.
constexpr int kBacklog = 128;

bool ready(int fd) noexcept {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, 0) != 0;
}

/// Who is at the other end; pid 0: not to be seen from here.
bool is_ours(const Fd& connection, pid_t& pid) noexcept {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (getsockopt(connection.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  pid = peer.pid;
  return peer.uid == geteuid();
}

UnixListener listen_for_plugs(const std::string& name) {
  const std::string what = "switch:" + name;
  return {unix_address(runtime_path(name, ".plug"), what), kBacklog, what};
}

}  // namespace

Door::Door(const std::string& name, bool on_demand)
    : mentioned_(on_demand ? bit(kOnDemand) : 0),
      listener_(listen_for_plugs(name)),
      acceptor_(listener_.fd()) {}

Door::~Door() = default;

void Door::receive(sw::Burst&, Instant) noexcept {
  // A door that is polled with the rest must not cost them a system call a turn.
  acceptor_.turn(looks_.turn() ? Acceptor::kPerTurn : 0);
}

std::unique_ptr<sw::Port> Door::accept(std::string& name) noexcept {
  while (Fd peer = acceptor_.next()) {
    looks_.found();
    pid_t pid = 0;
    if (!is_ours(peer, pid)) {
      ++foreign_;
      continue;
    }
    try {
      name = "plug:" + std::to_string(pid);
      auto port = std::make_unique<vhost_user::Port>(std::move(peer), 1, mentioned_);
      ++joined_;
      return port;
    } catch (const std::exception&) {
      acceptor_.back_off();
    }
  }
  return nullptr;
}

bool Door::arm(Instant) noexcept {
  // The loop's edge for what came while we were polled is gone.
  if (!ready(acceptor_.fd())) return true;
  looks_.ask();
  return false;
}

void Door::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
  sink("door.foreign-user", foreign_);
  sink("door.back-offs", acceptor_.back_offs());
}

}  // namespace rp::backend::vhost_user
