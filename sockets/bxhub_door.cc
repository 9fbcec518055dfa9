// SPDX-License-Identifier: BSD-3-Clause
// bxhub_door.cc - a socket for each session, watched while nobody uses it.
#include "sockets/bxhub_door.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/descriptors.h"
#include "base/error.h"
#include "sockets/datagram_port.h"
#include "sockets/udp_socket.h"

namespace rp::sockets {
namespace {

/// Frames of one that can't be let in that are thrown away in a turn.
constexpr int kMostLost = 4096;

SocketAddress loopback(unsigned port) {
  SocketAddress a;
  auto& in = reinterpret_cast<sockaddr_in&>(a.address);
  in.sin_family = AF_INET;
  in.sin_port = htons(static_cast<std::uint16_t>(port));
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  a.size = sizeof in;
  a.text = "bxhub: port " + std::to_string(port);
  return a;
}

}  // namespace

/// The sockets outlive the door as long as a port has one.
struct BxhubDoor::Sessions {
  Fd epoll = make_epoll();
  std::vector<Fd> sockets;

  bool watch(std::size_t i) noexcept {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = i;
    return epoll_ctl(epoll.get(), EPOLL_CTL_ADD, sockets[i].get(), &e) == 0;
  }
  void unwatch(std::size_t i) noexcept {
    epoll_ctl(epoll.get(), EPOLL_CTL_DEL, sockets[i].get(), nullptr);
  }
};

class BxhubDoor::Session final : public DatagramPort {
 public:
  Session(std::shared_ptr<Sessions> all, std::size_t i, Fd socket, std::string peer,
          std::shared_ptr<DatagramBuffers> buffers, const QueueLimits& limits)
      : DatagramPort(std::move(socket), std::move(peer), std::move(buffers), limits),
        all_(std::move(all)),
        i_(i) {}
  ~Session() override { all_->watch(i_); }

  bool gone() const noexcept override { return data_.closed() || data_.refused(); }

 private:
  const std::shared_ptr<Sessions> all_;
  const std::size_t i_;
};

BxhubDoor::BxhubDoor(const BxhubOptions& o)
    : options_(o),
      sessions_(std::make_shared<Sessions>()),
      buffers_(std::make_shared<DatagramBuffers>()) {
  for (unsigned i = 0; i < o.sessions; ++i) {
    const SocketAddress bochs = loopback(o.base + 2 * i);
    Fd s = udp_socket(loopback(o.base + 2 * i + 1), false);
    if (connect(s.get(), bochs.generic(), bochs.size) != 0) throw_errno(bochs.text, errno);
    sessions_->sockets.push_back(std::move(s));
    if (!sessions_->watch(i)) throw_errno("watching a socket", errno);
  }
}

BxhubDoor::~BxhubDoor() = default;

int BxhubDoor::poll_fd() const noexcept {
  return sessions_->epoll.get();
}

std::unique_ptr<sw::Port> BxhubDoor::accept(std::string& name) noexcept {
  epoll_event e;
  while (epoll_wait(sessions_->epoll.get(), &e, 1, 0) == 1) {
    const std::size_t i = e.data.u64;
    const int fd = sessions_->sockets[i].get();
    if (!(e.events & EPOLLIN)) {  // an answer to a frame that found nobody
      int error;
      socklen_t size = sizeof error;
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      continue;
    }
    sessions_->unwatch(i);
    try {
      const unsigned port = options_.base + 2 * static_cast<unsigned>(i);
      Fd own(fcntl(fd, F_DUPFD_CLOEXEC, 0));
      if (!own) throw_errno("duplicating a descriptor", errno);
      auto session = std::make_unique<Session>(
          sessions_, i, std::move(own), "port " + std::to_string(port), buffers_, options_.queue);
      name = "bxhub:" + std::to_string(port);
      ++joined_;
      return session;
    } catch (const std::exception&) {  // out of memory or descriptors: what it said is lost
      char byte;
      for (int n = 0; n < kMostLost && recv(fd, &byte, 1, MSG_DONTWAIT) >= 0; ++n) {
      }
      sessions_->watch(i);
      return nullptr;
    }
  }
  return nullptr;
}

void BxhubDoor::report(const CounterSink& sink) const {
  sink("door.joined", joined_);
}

}  // namespace rp::sockets
