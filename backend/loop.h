// SPDX-License-Identifier: BSD-3-Clause
// loop.h - runs one switch: on a thread of its own, or on the host's loop.
//
// Theory of operation: a port is either active (polled every turn) or armed (its descriptor sits in
// epoll, its peer's notifications are on). A descriptor that becomes readable makes the port
// active; a port without work for `poll` is armed again, unless arm() says that work came in
// meanwhile. When no port is active the thread sleeps in epoll without a timeout: no traffic, no
// wake-ups. Ports that need timers keep them inside their own descriptor.
// Other threads reach the switch by call(): a command queue with an eventfd, also in epoll.
// A turn is bounded: each active port gets one burst, then everybody sent to is flushed.
#pragma once

#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/time.h"
#include "switch/switch.h"

namespace rp::backend {

class Loop {
 public:
  struct Options {
    bool own_thread = true;  ///< false: the host polls fd() and calls dispatch()
    Instant poll = std::chrono::microseconds(20);
    sw::MacTableOptions macs{};
    /// Called on the switch's thread with the number of ports that came in by a door, whenever it
    /// changes. Empty: nobody asks.
    std::function<void(std::size_t)> visitors{};
    /// Told of ports that are held back.
    Log log{};
  };

  /// Throws Error.
  explicit Loop(const Options& options);
  /// Stops the thread and closes the ports on the thread that ran them.
  ~Loop();
  Loop(Loop&&) = delete;

  /// Takes the port; its name appears in counters. Its policy, and that of whom it lets in, is
  /// `initial` where its number has none of its own. Any thread. Throws Error.
  sw::PortId add(std::unique_ptr<sw::Port> port, std::string name,
                 const sw::PortPolicy& initial = {});
  /// Removes and destroys the port. Any thread. False: there is none of that id.
  bool remove(sw::PortId id);

  /// Runs `fn` on the switch's thread and waits; what it throws is thrown here. Not from inside it.
  void call(const std::function<void(sw::Switch&)>& fn);

  /// For the host's loop: readable when dispatch() has work. One level-triggered descriptor.
  int fd() const noexcept { return epoll_.get(); }
  /// Runs turns until there is no work or the budget is used up. Never blocks.
  void dispatch() noexcept;

  static Instant now() noexcept;

 private:
  struct Command {
    const std::function<void(sw::Switch&)>* fn;
    std::exception_ptr thrown;
    bool done = false;
  };
  struct Active {
    sw::PortId id;
    Instant last_work;
    bool ignored = false;  ///< poll_fd() is, see ignore()
  };

  void run() noexcept;
  void wait(int timeout_ms) noexcept;
  bool turn() noexcept;
  Active* activate(sw::PortId id, Instant now) noexcept;
  void run_commands() noexcept;
  sw::PortId admit(std::unique_ptr<sw::Port> port, std::string name, const sw::PortPolicy& initial);
  bool evict(sw::PortId id) noexcept;
  void attend(sw::PortId id) noexcept;
  bool rests(Active& active, Instant now) noexcept;
  void ignore(Active& active) noexcept;
  bool heed(Active& active, const sw::Port& port) noexcept;
  bool listen_to(int fd, sw::PortId id, const sw::Port& port) noexcept;
  void watch(sw::PortId id, const sw::Port& port);
  void unwatch(const sw::Port& port) noexcept;
  void wake() noexcept;
  bool host_driven() const noexcept { return !options_.own_thread; }

  void count_visitors();
  void tell_of_hold(sw::PortId held, sw::PortId older) noexcept;

  Options options_;
  std::vector<sw::PortId> visitors_;
  sw::Switch switch_;
  Fd epoll_, wakeup_;
  std::vector<Active> active_;
  /// The last turn, the last look at what sleeps, and when a port last woke up.
  Instant turned_{}, looked_{}, roused_{};

  std::mutex mutex_;
  std::condition_variable done_;
  std::vector<Command*> commands_;  ///< under mutex_
  bool stop_ = false;               ///< under mutex_
  Thread thread_;
};

}  // namespace rp::backend
