// SPDX-License-Identifier: BSD-3-Clause
// module_path.h - makes sure that the programs we start find ringplug's modules.
#pragma once

#include <optional>
#include <string>

namespace rp::tools {

/// A variable of the environment, and the value it must have.
struct Variable {
  const char* name;
  std::string value;
};

/// For programs that use libvdeplug; nothing when it finds the module as things are.
/// Throws Complaint when there is no module.
std::optional<Variable> libvdeplug_variable();

/// The same for Bochs.
std::optional<Variable> bochs_variable();

}  // namespace rp::tools
