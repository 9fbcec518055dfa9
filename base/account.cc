// SPDX-License-Identifier: BSD-3-Clause
// account.cc - the re-entrant calls of the user database.
#include "base/account.h"

#include <grp.h>
#include <pwd.h>

#include <array>

#include "base/option.h"

namespace rp {
namespace {

/// Room for one entry; a group with so many members that it needs more is told by its number.
using Room = std::array<char, 65536>;

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

[[noreturn]] void unknown(const char* what, const std::string& name) {
  throw Error(Errc::unknown, std::string("there is no ") + what + " '" + name + "'");
}

}  // namespace

std::optional<uid_t> find_user(const std::string& name) {
  if (is_number(name)) return parse_number(name, 0, ~0u - 1);
  Room room;
  passwd entry, *found = nullptr;
  getpwnam_r(name.c_str(), &entry, room.data(), room.size(), &found);
  return found ? std::optional(entry.pw_uid) : std::nullopt;
}

std::optional<gid_t> find_group(const std::string& name) {
  if (is_number(name)) return parse_number(name, 0, ~0u - 1);
  Room room;
  group entry, *found = nullptr;
  getgrnam_r(name.c_str(), &entry, room.data(), room.size(), &found);
  return found ? std::optional(entry.gr_gid) : std::nullopt;
}

uid_t user_id(const std::string& name) {
  const auto id = find_user(name);
  if (!id) unknown("user", name);
  return *id;
}

gid_t group_id(const std::string& name) {
  const auto id = find_group(name);
  if (!id) unknown("group", name);
  return *id;
}

std::string user_name(uid_t id) {
  Room room;
  passwd entry, *found = nullptr;
  getpwuid_r(id, &entry, room.data(), room.size(), &found);
  return found ? entry.pw_name : std::to_string(id);
}

std::string group_name(gid_t id) {
  Room room;
  group entry, *found = nullptr;
  getgrgid_r(id, &entry, room.data(), room.size(), &found);
  return found ? entry.gr_name : std::to_string(id);
}

}  // namespace rp
