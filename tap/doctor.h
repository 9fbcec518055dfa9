// SPDX-License-Identifier: BSD-3-Clause
// doctor.h - what this host and this user can do, and what to run where they can't.
#pragma once

#include <functional>
#include <string>

namespace rp::tap {

struct Finding {
  enum class State { fine, limited } state = State::fine;
  const char* what;    ///< what was looked at: static
  std::string found;   ///< one sentence
  std::string remedy;  ///< a command, or what to ask for; empty: nothing to mend
};

/// Calls fn for each thing looked at. Changes nothing; briefly starts a child process.
void examine_host(const std::function<void(const Finding&)>& fn);

/// Of the text of net.ipv4.ping_group_range. Pure.
bool ping_allowed(const std::string& range, unsigned group);

}  // namespace rp::tap
