// SPDX-License-Identifier: BSD-3-Clause
// option.h - one row of an option table: it parses the option and documents it.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/error.h"

namespace rp {

/// What `ringplug locators` prints of an option.
struct OptionDoc {
  std::string_view name;
  std::string_view syntax;    ///< of the value
  std::string_view fallback;  ///< the default, as a user would write it; empty: none
  std::string_view summary;
};

template <typename Config>
struct Option : OptionDoc {
  /// Parses `value` into the config. Throws Error whose sentence says what a value looks like.
  void (*set)(Config&, const std::string& value);
};

/// Finds `key` in the table and sets it. Throws Error that names the key or the value and lists
/// what would be accepted.
template <typename Config>
void set_option(std::span<const Option<Config>> table, Config& config, std::string_view scheme,
                const std::string& key, const std::string& value) {
  std::string known;
  for (const auto& row : table) {
    if (row.name == key) {
      try {
        row.set(config, value);
      } catch (const Error& e) {
        throw Error(e.code(), std::string(scheme) + ": " + key + "=" + value + ": " + e.what());
      }
      return;
    }
    known += known.empty() ? "" : ", ";
    known += row.name;
  }
  throw Error(Errc::unknown, std::string(scheme) + ": unknown option '" + key +
                                 "'; accepted: " + (known.empty() ? "none" : known));
}

}  // namespace rp
