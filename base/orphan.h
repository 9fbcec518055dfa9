// SPDX-License-Identifier: BSD-3-Clause
// orphan.h - starts a program that is nobody's child here.
//
// The host that loaded us gets no SIGCHLD of it and leaves no zombie, and it inherits neither the
// host's signal mask nor its descriptors.
#pragma once

#include <span>
#include <string>

#include "base/fd.h"

namespace rp {

/// A descriptor of ours, and the number that it has in the program.
struct Inherited {
  int ours, theirs;
};

/// Starts argv[0] in a session of its own; its descriptors are /dev/null for 0 to 2 and those of
/// `inherited`, whose numbers `theirs` are 2, 3 and so on without a gap above 3. When it can't be
/// run, the program that isn't says so on its 2. Throws Error, where `what` starts the sentence.
void start_orphan(const char* const* argv, std::span<const Inherited> inherited,
                  const std::string& what);

}  // namespace rp
