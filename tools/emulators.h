// SPDX-License-Identifier: BSD-3-Clause
// emulators.h - how each program that we know is put on a locator.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/module_path.h"

namespace rp::tools {

using Arguments = std::vector<std::string>;

/// What `ringplug exec` was asked for.
struct Request {
  std::string locator;
  std::string nic;  ///< with its properties, after commas; empty: the emulator's default
  std::string program;
  Arguments arguments;
  std::string url() const { return "ringplug://" + locator; }
};

struct Emulator {
  const char* name;  ///< of the program; a trailing '*' stands for anything
  const char* nic;   ///< the card it gets when none is asked for; nullptr: it has no choice
  /// What {} becomes in its arguments. Throws Complaint when its command line can't hold that.
  std::string (*text)(const Request&);
  /// Puts a card or a plug on the locator into the arguments.
  void (*apply)(const Request&, Arguments&);
  /// What makes it find our module.
  std::optional<Variable> (*variable)();
};

/// By the last part of the program's path; nullptr: not known.
const Emulator* find_emulator(const std::string& program);

/// Their names, separated by commas; with `choosy`, of those with a choice of cards alone.
std::string emulator_names(bool choosy = false);

}  // namespace rp::tools
