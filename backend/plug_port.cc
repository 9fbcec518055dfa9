// SPDX-License-Identifier: BSD-3-Clause
// plug_port.cc - lends what the plug shows, and writes frames into its ring.
#include "backend/plug_port.h"

#include <poll.h>

#include <utility>

namespace rp::backend {

PlugPort::PlugPort(const std::string& name, const Log& log, vhost_user::Restart restart)
    : plug_(PlugMemory::create()),
      link_(std::make_unique<vhost_user::Link>(name, plug_, kOffloads, log, std::move(restart))) {}

PlugPort::~PlugPort() = default;

void PlugPort::receive(sw::Burst& burst, Instant) noexcept {
  lent_n_ = plug_.peek(lent_);
  for (const Plug::Received& r : std::span(lent_).first(lent_n_)) {
    sw::Frame& f = burst.next();
    sw::make_frame(f, burst.next_parts().front(), r.bytes);
    f.offload = r.offload;
    burst.push(1);
  }
}

void PlugPort::release() noexcept {
  plug_.release(lent_n_);
  lent_n_ = 0;
}

std::size_t PlugPort::send(std::span<const sw::Frame* const> frames, Instant) noexcept {
  if (plug_.send_broken()) return frames.size();
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const sw::Frame& f = *frames[i];
    std::uint8_t* to = plug_.reserve(f.len);
    if (!to) return frames.size() - i;
    f.copy_to(to);
    plug_.commit(f.len, f.offload);
  }
  return 0;
}

bool PlugPort::flush(Instant) noexcept {
  plug_.kick();
  return false;
}

bool PlugPort::arm(Instant) noexcept {
  // The loop's edge for what came while we were polled is gone.
  pollfd waits{plug_.fd(), POLLIN, 0};
  return plug_.recv_broken() || poll(&waits, 1, 0) == 0;
}

void PlugPort::report(const CounterSink& sink) const {
  sink("link.connections", link_->connections());
  if (plug_.broken()) sink("ring.broken.device", 1);
}

std::string PlugPort::describe() const {
  if (plug_.broken()) return "broken";
  return link_->up() ? "linked" : "waiting";
}

}  // namespace rp::backend
