// SPDX-License-Identifier: BSD-3-Clause
// link.h - joins a plug to the switch of another process: the driver's half of vhost-user.
//
// Theory of operation: the plug's memory goes to the door of that switch (door.h), which serves the
// rings from then on; no frame passes through here. A thread, rp-link, sleeps until the connection
// closes. Then it connects again, every 200 ms until that succeeds, and the rings go on where the
// used indices in the memory stand: devices complete in order, so that what was not completed is
// served again, once. Frames sent meanwhile wait in the ring. What the dead process did halfway to
// the doorbell is made good by Plug::relink().
// A ring that a device broke (Plug::broken) stays broken, whoever comes next.
//
// The order of messages matters: the doorbell's place comes before any call descriptor, so that
// nobody signals that without a frame; and a ring is enabled before it starts, as what waits in a
// ring that is started and disabled would be thrown away.
#pragma once

#include <sys/un.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "backend/plug.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"

namespace rp::backend::vhost_user {

/// What a link knows of a switch that it lost and can't reach.
struct Gone {
  int stop;        ///< readable: give up
  bool on_demand;  ///< it said that a plug had started it
  bool killed;     ///< it left its socket behind, which one that ends by itself takes away
};
/// Starts that switch again, or leaves it: false. Called from the link's thread; may throw.
using Restart = std::function<bool(const Gone&)>;

class Link {
 public:
  /// Connects to the door of the switch `name` and hands it the plug, which must outlive the link.
  /// Waits 2 seconds at most. Throws Error: there is no such switch, or it is none of ours.
  /// Without a `restart`, whoever runs the switch starts it again.
  Link(const std::string& name, Plug& plug, sw::Offloads can, const Log& log, Restart restart = {});
  /// Leaves the switch; the thread is gone.
  ~Link();
  Link(Link&&) = delete;

  /// A switch serves the rings. Any thread.
  bool up() const noexcept { return up_.load(std::memory_order_relaxed); }
  /// How often one came to do so. Any thread.
  std::uint64_t connections() const noexcept {
    return connections_.load(std::memory_order_relaxed);
  }

 private:
  using Time = std::chrono::steady_clock::time_point;

  enum class Attempt : std::uint8_t { first, again };

  void run() noexcept;
  bool wait_for_hang_up() const noexcept;
  bool reconnect(std::string& told, bool& started) noexcept;
  void connect(Attempt attempt);
  Fd dial(Time deadline);
  void hand_over(int socket, Attempt attempt, Time deadline);
  bool stopped(std::chrono::milliseconds patience) const noexcept;

  const std::string what_;
  const sockaddr_un address_;
  Plug& plug_;
  const std::uint64_t features_;
  const Log log_;
  const Restart restart_;
  bool on_demand_ = false;  ///< the switch that was there last
  bool killed_ = false;     ///< nobody listens on the socket that there is
  Fd stop_, socket_;
  std::atomic<bool> up_{false};
  std::atomic<std::uint64_t> connections_{0};
  Thread thread_;
};

}  // namespace rp::backend::vhost_user
