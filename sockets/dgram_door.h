// SPDX-License-Identifier: BSD-3-Clause
// dgram_door.h - where emulators come in that send a frame as a datagram: QEMU's -netdev dgram and
// socket,udp=, and the clients of vfkit's unixgram sockets.
//
// Theory of operation: whoever speaks to the door's address becomes a port (dgram_port.h), which it
// is until nobody is at its address any more. A door serves all who speak to it, told apart by
// their addresses, up to a number; then one that was silent for a minute makes room for another.
// Everybody gets a socket of the door's that is connected to them, in one of three ways:
// - UDP: bound to the door's port as well (SO_REUSEPORT, so only a process of the same user could).
//   The kernel gives it what its peer says, both ways past the door.
// - UNIX, a peer that names the door each time (QEMU): a socket to send with. What it says comes to
//   the door's own socket, and through a mailbox.
// - UNIX, a peer whose socket is connected to the door's (vfkit, libkrun): it hears no other. So it
//   gets the door's socket, and a new one takes its path.
//   Of two that connected before either had spoken the later one has to connect again.
// A UNIX path lets in our own user. A UDP port lets in who reaches it, and without a host is the
// loopback's; an address proves nothing there. vfkit's greeting, "VFKT", is no frame.
// Not done: multicast groups, QEMU's socket,mcast=.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/unix_socket.h"
#include "sockets/dgram_options.h"
#include "sockets/mailbox.h"
#include "sockets/socket_address.h"
#include "switch/door.h"

namespace rp::sockets {

class DgramDoor final : public sw::Door {
 public:
  /// Throws Error and leaves nothing behind.
  DgramDoor(const DgramOptions& options, const Log& log);
  ~DgramDoor() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  bool arm(Instant) noexcept override { return ready_.empty(); }
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  void report(const CounterSink& sink) const override;

 private:
  using Names = std::vector<sockaddr_storage>;
  struct Ready {
    std::unique_ptr<sw::Port> port;
    std::string name;
  };

  int fd() const noexcept { return unix_ ? unix_.fd() : udp_.get(); }
  void take(std::span<const std::uint8_t> frame, const msghdr& from, Instant now) noexcept;
  void admit(SocketAddress peer, std::span<const std::uint8_t> frame, Instant now);
  bool has_room(Instant now) noexcept;
  Fd socket_to(const SocketAddress& peer, Mailbox& box, Instant now);
  Fd udp_to(const SocketAddress& peer);
  Fd unix_to(const SocketAddress& peer, Mailbox& box, Instant now);
  bool may_complain(Instant now) noexcept;

  const DgramOptions options_;
  const SocketAddress address_;
  const Log log_;
  UnixListener unix_;
  Fd udp_;
  std::shared_ptr<DatagramBuffers> buffers_;
  Fd epoll_;
  Names names_;
  /// By the bytes of their addresses.
  std::map<std::string, std::shared_ptr<Mailbox>, std::less<>> peers_;
  std::vector<Ready> ready_;
  Instant next_complaint_{}, next_look_{};
  std::uint64_t joined_ = 0, refused_ = 0, nameless_ = 0, truncated_ = 0, strays_ = 0;
};

}  // namespace rp::sockets
