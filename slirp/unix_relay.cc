// SPDX-License-Identifier: BSD-3-Clause
// unix_relay.cc - accepts, connects, moves bytes, passes end of file on.
#include "slirp/unix_relay.h"

#include <slirp/libslirp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "slirp/flows.h"

namespace rp::slirp {
namespace {

/// Connections accepted in one call.
constexpr int kAcceptBudget = 64;
/// Buffers that are passed on for a guest that has hung up: more than a socket holds.
constexpr int kFlushBudget = 64;

bool would_block() noexcept {
  return errno == EAGAIN || errno == EINTR;
}

int events(bool input, bool output) {
  return (input ? SLIRP_POLL_IN : 0) | (output ? SLIRP_POLL_OUT : 0);
}

}  // namespace

UnixRelay::UnixRelay(const std::string& target) {
  target_.sun_family = AF_UNIX;
  std::memcpy(target_.sun_path, target.data(), std::min(target.size(), sizeof target_.sun_path));
}

UnixRelay::~UnixRelay() = default;

void UnixRelay::watch(PollSet& polls, bool accept) {
  if (accept) polls.add(listener_.fd(), SLIRP_POLL_IN);
  for (const auto& c : connections_) {
    // The guest's hanging up ends everything, so it is always waited for. The service's is not,
    // while nothing can be done with it: it would be reported again and again.
    polls.add(c->inside.get(), SLIRP_POLL_HUP | events(c->out.wants_input(), c->in.wants_output()));
    polls.add(c->outside.get(), events(c->in.wants_input(), c->out.wants_output()));
  }
}

void UnixRelay::run(PollSet& polls) noexcept {
  if (polls.revents(listener_.fd())) accept();
  std::erase_if(connections_, [&](const auto& c) {
    const bool hung_up = polls.revents(c->inside.get()) & SLIRP_POLL_HUP;
    if (hung_up) flush(*c);
    if (!hung_up && step(*c)) return false;
    polls.drop(c->inside.get());
    polls.drop(c->outside.get());
    return true;
  });
}

void UnixRelay::accept() noexcept {
  for (int n = 0; n < kAcceptBudget && !Flows::descriptors_scarce(); ++n) {
    Fd inside = listener_.accept(SOCK_NONBLOCK);
    if (!inside) return;
    Fd outside(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    // A service without room (EAGAIN) is as good as none.
    if (!outside ||
        connect(outside.get(), reinterpret_cast<const sockaddr*>(&target_), sizeof target_) != 0)
      continue;
    std::unique_ptr<Connection> c(new (std::nothrow) Connection);
    if (!c) return;
    c->inside = std::move(inside);
    c->outside = std::move(outside);
    connections_.push_back(std::move(c));
  }
}

/// The guest has closed both ways: what it said before goes to the service, as far as that takes it
/// without waiting.
void UnixRelay::flush(Connection& c) noexcept {
  for (int n = 0; n < kFlushBudget && !c.out.done; ++n) {
    if (!c.out.move(c.inside.get(), c.outside.get()) || c.out.wants_output()) return;
  }
}

bool UnixRelay::step(Connection& c) noexcept {
  return c.out.move(c.inside.get(), c.outside.get()) &&
         c.in.move(c.outside.get(), c.inside.get()) && !(c.out.done && c.in.done);
}

bool UnixRelay::Pipe::move(int from, int to) noexcept {
  if (done) return true;
  if (wants_input()) {
    const ssize_t n = recv(from, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (n < 0) return would_block();
    begin = 0;
    end = static_cast<std::size_t>(n);
    eof = n == 0;
  }
  if (wants_output()) {
    const ssize_t n = send(to, bytes.data() + begin, end - begin, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0) return would_block();
    begin += static_cast<std::size_t>(n);
  }
  if (eof && begin == end) {
    shutdown(to, SHUT_WR);
    done = true;
  }
  return true;
}

}  // namespace rp::slirp
