// SPDX-License-Identifier: BSD-3-Clause
// account.h - users and groups by name or number.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

namespace rp {

/// The id of a name, or of a decimal number; none: nobody is called so. Any thread. Throws Error: a
/// number that no id can be.
std::optional<uid_t> find_user(const std::string& name);
std::optional<gid_t> find_group(const std::string& name);
/// The same; throws Error as well when nobody is called so.
uid_t user_id(const std::string& name);
gid_t group_id(const std::string& name);

/// The name of an id, or its number when it has none. Any thread.
std::string user_name(uid_t id);
std::string group_name(gid_t id);

}  // namespace rp
