// SPDX-License-Identifier: BSD-3-Clause
// objects.h - what the opaque handles of the C ABI are.
#pragma once

#include <memory>

#include "api/ringplug.h"
#include "backend/loop.h"
#include "backend/plug.h"
#include "base/fork_mark.h"
#include "base/log.h"

namespace rp::api {

/// A loop outlives the switch handle while plugs are on it, so that a plug may be closed after its
/// switch was freed.
struct Fabric {
  Fabric(const backend::Loop::Options& o, Log l) : log(l), loop(std::make_unique<backend::Loop>(o)) {}
  Log log;
  ForkMark process;
  std::unique_ptr<backend::Loop> loop;  ///< null once the switch was freed
};

}  // namespace rp::api

struct rp_switch {
  std::shared_ptr<rp::api::Fabric> fabric;
  bool host_loop = false;
  bool here() const noexcept { return fabric->process.same_process(); }
};

struct rp_plug {
  rp_plug(std::shared_ptr<rp::api::Fabric> f, rp::backend::PlugMemory memory)
      : fabric(std::move(f)), plug(std::move(memory)) {}
  std::shared_ptr<rp::api::Fabric> fabric;
  bool owns_fabric = false;
  rp::backend::Plug plug;
  rp_port port = 0;
  size_t reserved = 0;  ///< bytes; 0: nothing
  size_t peeked = 0;
  bool here() const noexcept { return fabric->process.same_process(); }
};
