// SPDX-License-Identifier: BSD-3-Clause
// vde_cable.h - a connection to a VDE network, made by libvdeplug, and made again when it ends.
//
// Theory of operation: libvdeplug's calls may block, for as long as a module likes. So all but the
// first vde_open() happen on a thread of the cable's own, rp-vde, which sleeps until the far end
// hangs up, and then tries again, rarer and rarer. The port gets its frames in one of two ways:
// - vde://PATH, and a plain path: both ends of its data socket are known, so the port reads and
//   writes that socket itself;
// - any other module: the thread carries each frame between the module and a pair of sockets,
//   whose other end is the port's. What has no room there is dropped, and counted.
#pragma once

#include <signal.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "sockets/datagram_socket.h"

struct vdeconn;

namespace rp::sockets {

struct VdeUplinkOptions {
  std::string url;
  bool wait = false;  ///< the first connection may come later as well
  QueueLimits queue;
};

class VdeCable {
 public:
  /// Connects; what news() tells of also makes `epoll` readable, the port's. Throws Error: there is
  /// no such network, and the options don't say to wait for it.
  VdeCable(const VdeUplinkOptions& options, const Log& log, int epoll,
           std::shared_ptr<DatagramBuffers> buffers);
  /// Disconnects; the thread is gone.
  ~VdeCable();
  VdeCable(VdeCable&&) = delete;

  /// Takes the socket that frames come and go by from here on; null: the far end is gone. False:
  /// nothing has changed since the last call. Never blocks for longer than a swap of pointers.
  bool news(std::unique_ptr<DatagramSocket>& socket) noexcept;
  void report(const CounterSink& sink) const;

 private:
  struct Closer {
    void operator()(vdeconn* conn) const noexcept;
  };
  using Conn = std::unique_ptr<vdeconn, Closer>;

  void run() noexcept;
  void open();
  bool reopen() noexcept;
  std::unique_ptr<DatagramSocket> plug_in();
  bool is_plain_path() const;
  void tell(std::unique_ptr<DatagramSocket> socket) noexcept;
  bool stopped(std::chrono::milliseconds patience) const noexcept;
  bool wait_for_end() const noexcept;
  bool relay() noexcept;
  bool from_network(bool& ended) noexcept;
  bool to_network() noexcept;

  const VdeUplinkOptions options_;
  const std::string what_;
  const bool vxlan_;
  const Log log_;
  const int epoll_;
  const std::shared_ptr<DatagramBuffers> buffers_;
  sigset_t signals_{};  ///< of the thread that made us, for commands that modules start
  Fd stop_, news_;
  Conn conn_;  ///< the thread's, once it runs
  Fd relay_;   ///< our end of the pair; none when the port has the data socket
  unsigned failures_ = 0;
  std::unique_ptr<std::uint8_t[]> frame_;

  std::mutex mutex_;
  std::unique_ptr<DatagramSocket> fresh_;  ///< under mutex_
  std::atomic<unsigned> told_{0};
  unsigned heard_ = 0;  ///< the port's
  std::atomic<std::uint64_t> connections_{0}, dropped_{0}, failed_{0};
  Thread thread_;
};

}  // namespace rp::sockets
