// SPDX-License-Identifier: BSD-3-Clause
// seqpacket_door.cc - accepting, checking who it is, and waiting for descriptors.
#include "sockets/seqpacket_door.h"

#include <sys/socket.h>
#include <unistd.h>

#include "base/descriptors.h"
#include "base/error.h"
#include "sockets/datagram_port.h"
#include "sockets/queue_option.h"

namespace rp::sockets {
namespace {

/// Connections that wait before the door; more are told to come again.
constexpr int kBacklog = 128;

constexpr Option<SeqpacketOptions> kOptions[] = {
    {kQueueDoc, set_queue},
};

}  // namespace

std::span<const Option<SeqpacketOptions>> seqpacket_options() {
  return kOptions;
}

SeqpacketOptions make_seqpacket_options(
    const std::string& path, const std::vector<std::pair<std::string, std::string>>& params) {
  SeqpacketOptions o;
  o.path = path;
  if (path.empty())
    throw Error(Errc::invalid, "seqpacket: no path, as in seqpacket:/tmp/uml0.sock");
  for (const auto& [key, value] : params)
    set_option(seqpacket_options(), o, "seqpacket", key, value);
  return o;
}

SeqpacketDoor::SeqpacketDoor(const SeqpacketOptions& options)
    : options_(options),
      listener_(unix_address(options.path, "seqpacket:" + options.path), kBacklog,
                "seqpacket:" + options.path, SOCK_SEQPACKET),
      buffers_(std::make_shared<DatagramBuffers>()),
      acceptor_(listener_.fd()) {}

std::unique_ptr<sw::Port> SeqpacketDoor::accept(std::string& name) noexcept {
  while (Fd peer = acceptor_.next()) {
    ucred who{};
    socklen_t size = sizeof who;
    if (getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) != 0 ||
        (who.uid != geteuid() && who.uid != 0)) {
      ++foreign_;
      continue;
    }
    try {
      name = "seqpacket:" + std::to_string(who.pid);
      auto port = std::make_unique<DatagramPort>(
          std::move(peer), "process " + std::to_string(who.pid), buffers_, options_.queue);
      ++joined_;
      return port;
    } catch (const std::exception&) {
      acceptor_.back_off();
    }
  }
  return nullptr;
}

void SeqpacketDoor::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
  sink("door.foreign-user", foreign_);
  sink("door.back-offs", acceptor_.back_offs());
}

}  // namespace rp::sockets
