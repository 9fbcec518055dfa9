// SPDX-License-Identifier: BSD-3-Clause
// locator.h - the one grammar that names a port:
//   SCHEME [":" TARGET] ["?" KEY "=" VALUE {"&" KEY "=" VALUE}], percent-decoding as in RFC 3986.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace rp::backend {

struct Locator {
  std::string scheme;
  std::string target;  ///< decoded
  bool has_target = false;
  std::vector<std::pair<std::string, std::string>> params;  ///< decoded, in order, may repeat
  std::string text;                                         ///< as written
};

/// Throws Error that names what is malformed. Knows no schemes.
Locator parse_locator(const std::string& text);

/// What parses to the same scheme, target and params; the text as written does not count.
std::string text_of(const Locator& locator);

}  // namespace rp::backend
