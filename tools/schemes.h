// SPDX-License-Identifier: BSD-3-Clause
// schemes.h - the library's table of locators as a container, and checks against it.
#pragma once

#include <string>
#include <vector>

namespace rp::tools {

struct SchemeOption {
  std::string name, syntax, fallback, text;
};

struct Scheme {
  std::string name, target, summary, example;
  std::vector<SchemeOption> options;
};

/// What rp_locators() tells, in its order.
std::vector<Scheme> schemes();

/// Throws Complaint that lists the schemes there are.
const Scheme& find_scheme(const std::vector<Scheme>& all, const std::string& name);

/// Checks what needs no opening: the scheme, its options and their values. Throws Complaint.
void check_locator(const std::string& locator);

}  // namespace rp::tools
