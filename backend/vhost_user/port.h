// SPDX-License-Identifier: BSD-3-Clause
// port.h - a vhost-user front end as a port of the switch.
//
// Theory of operation: the port listens on a UNIX path, dials one, or is given a connection, and
// serves one front end at a time. All happens on the switch's thread, in receive(): when the
// port's descriptor told of something, it looks at its sockets and applies the next message. The
// descriptor is an epoll of its own over listener, connection and kick descriptors. A front end
// that goes takes its rings with it; the port stays, without link, for the next one.
#pragma once

#include <sys/un.h>

#include <memory>
#include <string>
#include <vector>

#include "backend/vhost_user/device.h"
#include "backend/vhost_user/looks.h"
#include "backend/vhost_user/state_file.h"
#include "base/unix_socket.h"
#include "switch/port.h"

namespace rp::backend::vhost_user {

struct PortOptions {
  std::string path;
  int fd = -1;           ///< a socket that the host opened, listening or connected; -1: none
  bool connect = false;  ///< dial a front end that listens, again and again
  std::size_t queues = Device::kMaxPairs;
  std::string state;  ///< file that keeps the state of packed rings; empty: PATH.state
};

class Port final : public sw::Port {
 public:
  /// Throws Error: a live server on the path, a path too long, a right that is missing.
  explicit Port(const PortOptions& options);
  /// Serves this connection and is gone() after it. `mentioned`: see Device::mention().
  Port(Fd connection, std::size_t queues, std::uint64_t mentioned = 0);
  ~Port() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  sw::Offloads offloads() const noexcept override { return offloads_; }
  bool link_up() const noexcept override { return link_up_; }
  bool gone() const noexcept override { return once_ && !channel_; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override;
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool flush(Instant now) noexcept override;
  bool arm(Instant now) noexcept override;
  void disarm() noexcept override;
  void told() noexcept override;
  void report(const CounterSink& sink) const override;
  std::string describe() const override;

 private:
  explicit Port(std::size_t queues);
  void take(Fd socket);
  void keep_state(const PortOptions& o);
  void watch(int fd);
  void serve() noexcept;
  bool converse() noexcept;
  void let_in() noexcept;
  void dial() noexcept;
  void try_again() noexcept;
  void later() noexcept;
  int listening() const noexcept { return given_ ? given_.get() : listener_.fd(); }
  void hang_up() noexcept;
  void hush() noexcept;
  void look_again() noexcept;
  void announce(sw::Burst& burst) noexcept;

  sockaddr_un address_{};
  bool once_ = false;  ///< one connection, no other after it
  Fd epoll_;
  UnixListener listener_;
  Fd given_;  ///< a listening socket of the host's
  Fd later_;  ///< a timer, for when to dial or to listen again
  std::unique_ptr<StateFile> state_;
  Device device_;
  std::unique_ptr<Channel> channel_;

  // What the device has now, so that a burst need not ask.
  std::vector<Virtqueue*> from_, to_;
  sw::Offloads offloads_;
  bool link_up_ = false;

  Looks looks_{16};  ///< at what the descriptor tells of
  std::array<std::uint8_t, 60> rarp_{};
  std::uint64_t connections_ = 0, protocol_faults_ = 0;
};

}  // namespace rp::backend::vhost_user
