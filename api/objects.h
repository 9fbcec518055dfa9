// SPDX-License-Identifier: BSD-3-Clause
// objects.h - what the opaque handles of the C ABI are.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/ringplug.h"
#include "backend/loop.h"
#include "backend/plug.h"
#include "backend/vhost_user/link.h"
#include "base/error.h"
#include "base/fork_mark.h"
#include "base/log.h"
#include "base/unix_socket.h"

namespace rp::api {

/// What a switch and its plugs share. It outlives the switch handle while plugs are on it, so that
/// a plug may be closed after its switch was freed, or while another thread frees it: the mutex
/// keeps the loop alive during a call on it. The data calls don't touch the loop and take no lock.
class Fabric {
 public:
  Fabric(backend::Loop::Options o, Log l)
      : log(l), loop_(make_loop(o, l)), host_side_(loop_.get()) {}

  const Log log;
  const ForkMark process;

  /// Calls fn(loop). Throws Error when the switch was freed.
  template <typename Fn>
  auto with_loop(Fn&& fn) {
    const std::lock_guard lock(mutex_);
    if (!loop_) throw Error(Errc::closed, "the switch was freed");
    return fn(*loop_);
  }
  /// Adds a port that goes by unplug() alone.
  sw::PortId plug_in(std::unique_ptr<sw::Port> port, const char* name) {
    return with_loop([&](backend::Loop& loop) {
      plugs_.reserve(plugs_.size() + 1);
      plugs_.push_back(loop.add(std::move(port), name));
      return plugs_.back();
    });
  }
  void unplug(sw::PortId id) {
    const std::lock_guard lock(mutex_);
    if (loop_) loop_->remove(id);
    std::erase(plugs_, id);
  }
  /// Removes a port that is no plug's. False: there is none of that id. Throws Error.
  bool remove(sw::PortId id) {
    return with_loop([&](backend::Loop& loop) {
      if (std::find(plugs_.begin(), plugs_.end(), id) != plugs_.end())
        throw Error(Errc::invalid,
                    "port " + std::to_string(id) + " is a plug's; it goes by rp_plug_close()");
      return loop.remove(id);
    });
  }
  /// Takes the socket on which the host answers for the switch. Throws Error.
  int publish(UnixListener control) {
    const std::lock_guard lock(mutex_);
    if (control_) throw Error(Errc::invalid, "the switch has a name already");
    control_ = std::move(control);
    return control_.fd();
  }
  /// Takes one more socket on which the host answers for the switch. Throws Error.
  int keep(UnixListener socket) {
    const std::lock_guard lock(mutex_);
    sockets_.push_back(std::move(socket));
    return sockets_.back().fd();
  }
  /// Ends the loop and its ports.
  void close() noexcept {
    const std::lock_guard lock(mutex_);
    control_ = {};
    sockets_.clear();
    loop_.reset();
    closed_.store(true, std::memory_order_release);
  }
  /// What was sent before close() can be received by whoever reads true. Lock-free.
  bool closed() const noexcept { return closed_.load(std::memory_order_acquire); }

  /// For the thread that dispatches, which is the one that frees the switch.
  backend::Loop& host_side() const noexcept { return *host_side_; }

 private:
  static std::unique_ptr<backend::Loop> make_loop(backend::Loop::Options& o, const Log& l) {
    o.log = l;
    return std::make_unique<backend::Loop>(o);
  }

  std::mutex mutex_;
  std::unique_ptr<backend::Loop> loop_;  ///< under mutex_; null once the switch was freed
  std::vector<sw::PortId> plugs_;        ///< under mutex_
  UnixListener control_;                 ///< under mutex_; none until the switch is published
  std::vector<UnixListener> sockets_;    ///< under mutex_
  backend::Loop* const host_side_;
  std::atomic<bool> closed_{false};
};

/// The switch of another process, which a plug is on by itself.
struct Remote {
  explicit Remote(std::unique_ptr<backend::vhost_user::Link> l) : link(std::move(l)) {}
  const ForkMark process;
  const std::unique_ptr<backend::vhost_user::Link> link;
};

}  // namespace rp::api

struct rp_switch {
  std::shared_ptr<rp::api::Fabric> fabric;
  bool host_loop = false;
  bool here() const noexcept { return fabric->process.same_process(); }
};

struct rp_plug {
  explicit rp_plug(rp::backend::PlugMemory memory) : plug(std::move(memory)) {}
  rp::backend::Plug plug;
  // Either of the two is at its other end.
  std::shared_ptr<rp::api::Fabric> fabric;
  std::unique_ptr<rp::api::Remote> remote;  // goes before the plug
  bool owns_fabric = false;
  rp_port port = 0;
  size_t reserved = 0;  ///< bytes; 0: nothing
  size_t peeked = 0;
  bool here() const noexcept { return (fabric ? fabric->process : remote->process).same_process(); }
  /// The switch was freed. One in another process never is, it may come back.
  bool closed() const noexcept { return fabric && fabric->closed(); }
};
