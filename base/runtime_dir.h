// SPDX-License-Identifier: BSD-3-Clause
// runtime_dir.h - where the switches of one user keep their sockets.
//
// RUNTIME/ringplug, where RUNTIME is $XDG_RUNTIME_DIR, else /run/user/UID, each unless it is
// another user's (as after `su`), else /tmp/ringplug-UID. Whoever can write there can pose as a
// switch, so a directory that anyone else can enter is refused, not mended.
#pragma once

#include <string>

namespace rp {

/// The directory, made with mode 0700 when it is missing. Throws Error.
std::string runtime_dir();

/// The path of the socket `suffix` (such as ".control") of the switch `name` in runtime_dir(). It
/// fits a sockaddr_un. Throws Error: a name is 1 to 64 letters, digits, '.', '_' and '-', the first
/// no '.'; of a suffix the first is one.
std::string runtime_path(const std::string& name, const std::string& suffix);

}  // namespace rp
