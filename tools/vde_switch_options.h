// SPDX-License-Identifier: BSD-3-Clause
// vde_switch_options.h - the options that vde_switch has, as locators and settings of ours.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/command.h"

namespace rp::tools {

class VdeSwitchOptions {
 public:
  VdeSwitchOptions() = default;
  ~VdeSwitchOptions();
  VdeSwitchOptions(const VdeSwitchOptions&) = delete;
  VdeSwitchOptions& operator=(const VdeSwitchOptions&) = delete;

  /// For parse_options(), which writes what it finds into this object.
  std::vector<GOptionEntry> entries();

  /// `--sock PATH` as doors, `--tap TAP` as uplinks. Throws Complaint where --mode, --dirmode or
  /// --group belong to no socket.
  std::vector<std::string> doors() const;
  std::vector<std::string> uplinks() const;
  /// What rp_switch_set() takes for the switch itself.
  std::vector<std::pair<std::string, std::string>> settings() const;

 private:
  char **socks_ = nullptr, **taps_ = nullptr;
  char *mode_ = nullptr, *dirmode_ = nullptr, *group_ = nullptr, *ports_ = nullptr;
  gboolean hub_ = FALSE;
};

}  // namespace rp::tools
