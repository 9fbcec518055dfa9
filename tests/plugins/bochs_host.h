// SPDX-License-Identifier: BSD-3-Clause
// bochs_host.h - what the module needs of Bochs, played by the test program.
//
// The program exports the names of bochs_abi.h as Bochs does, and loads the module as it does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "plugins/bochs_abi.h"

namespace rp::test {

/// The module in memory; `entry` is its only function.
class BochsModule {
 public:
  BochsModule();
  ~BochsModule();
  BochsModule(const BochsModule&) = delete;
  BochsModule& operator=(const BochsModule&) = delete;

  int (*entry)(void*, std::uint16_t, std::uint8_t);
  static bool is_mapped();

 private:
  void* handle_;
};

/// Modules that are in Bochs' list now.
std::vector<std::string> bochs_modules();
/// Timers that are registered now.
std::size_t bochs_timers();
/// Lets the guest's clock go one tick on: each active timer fires once.
void bochs_tick();

/// A network card, and the mover that the module of that name made for it.
class BochsCard {
 public:
  explicit BochsCard(const std::string& ethdev, std::uint32_t speed = 0x8,
                     const std::string& script = "none");

  void send(std::vector<std::uint8_t> frame) {
    mover_->sendpkt(frame.data(), static_cast<unsigned>(frame.size()));
  }
  bool has_mover() const { return mover_ != nullptr; }
  void unplug() { mover_.reset(); }

  bool ready = true;
  std::vector<std::vector<std::uint8_t>> received;
  std::vector<std::string> infos, errors;

 private:
  std::unique_ptr<eth_pktmover_c> mover_;

 public:
  const std::uint32_t speed;
};

}  // namespace rp::test
