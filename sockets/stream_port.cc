// SPDX-License-Identifier: BSD-3-Clause
// stream_port.cc - the end of a connection, and why.
#include "sockets/stream_port.h"

#include <sys/epoll.h>

#include <cerrno>

#include "base/descriptors.h"
#include "base/error.h"

namespace rp::sockets {

StreamPort::StreamPort(Fd connection, std::string peer, std::shared_ptr<StreamHouse> house)
    : house_(std::move(house)),
      peer_(std::move(peer)),
      epoll_(make_epoll()),
      stream_(epoll_.get(), house_->limits) {
  if (!stream_.open(std::move(connection))) throw_errno("watching a socket", errno);
  ++house_->guests;
}

void StreamPort::receive(sw::Burst& burst, Instant now) noexcept {
  if (gone_) return;
  stream_.receive(burst);
  if (!stream_.ended() || !burst.empty()) return;
  gone_ = true;
  if (stream_.bad_length() != 0)
    house_->complain(now, peer_, " announced a frame of ", stream_.bad_length(),
                     " bytes, which no frame has; hung up on it");
}

}  // namespace rp::sockets
