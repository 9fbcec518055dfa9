// SPDX-License-Identifier: BSD-3-Clause
// option.h - one row of an option table: it parses the option and documents it.
#pragma once

#include <charconv>
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

/// The value of a switch. Throws Error.
inline bool parse_on_off(const std::string& v) {
  if (v == "on" || v == "yes" || v == "true" || v == "1") return true;
  if (v == "off" || v == "no" || v == "false" || v == "0") return false;
  throw Error(Errc::invalid, "expected on or off");
}

/// A decimal number from `least` to `most`. Throws Error.
inline unsigned parse_number(const std::string& v, unsigned least, unsigned most) {
  unsigned n = 0;
  const auto [end, error] = std::from_chars(v.data(), v.data() + v.size(), n);
  if (error != std::errc() || end != v.data() + v.size() || n < least || n > most)
    throw Error(Errc::invalid,
                "expected a number from " + std::to_string(least) + " to " + std::to_string(most));
  return n;
}

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
