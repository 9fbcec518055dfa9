// SPDX-License-Identifier: BSD-3-Clause
// stream_door.cc - accepting, and waiting for descriptors.
#include "sockets/stream_door.h"

#include <exception>

namespace rp::sockets {

StreamDoor::StreamDoor(const StreamOptions& o, const Log& log)
    : most_guests_(o.guests),
      house_(std::make_shared<StreamHouse>()),
      listener_(parse_stream_address(o.target)),
      acceptor_(listener_.fd()) {
  house_->name = "stream:" + o.target;
  house_->log = log;
  house_->limits = o.limits;
}

StreamDoor::~StreamDoor() = default;

std::unique_ptr<sw::Port> StreamDoor::accept(std::string& name) noexcept {
  while (Fd peer = acceptor_.next()) {
    try {
      const std::string who = stream_peer(peer.get());
      if (house_->guests >= most_guests_) {
        ++refused_;
        house_->complain(now_, "hung up on ", who, ", as ", house_->guests,
                         " are connected already; clients= allows more");
        continue;
      }
      tune_stream(peer.get());
      auto port = std::make_unique<StreamPort>(std::move(peer), who, house_);
      name = house_->name + " " + who;
      ++joined_;
      return port;
    } catch (const std::exception&) {  // out of memory or descriptors
      acceptor_.back_off();
    }
  }
  return nullptr;
}

void StreamDoor::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
  sink("door.refused", refused_);
  sink("door.back-offs", acceptor_.back_offs());
}

}  // namespace rp::sockets
