// SPDX-License-Identifier: BSD-3-Clause
// mac_text.cc - two hexadecimal digits a byte, no more and no fewer.
#include "switch/mac_text.h"

#include <charconv>

#include "base/error.h"

namespace rp::sw {

Mac parse_mac(const std::string& text) {
  Mac mac;
  bool good = text.size() == 17;
  for (std::size_t i = 0; good && i < 6; ++i) {
    const char* const at = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(at, at + 2, mac.bytes[i], 16);
    good = error == std::errc() && end == at + 2 && (i == 5 || at[2] == ':');
  }
  if (!good || mac.is_group() || mac.is_zero())
    throw Error(Errc::invalid, "expected the address of one station, as in 02:00:00:00:00:01");
  return mac;
}

std::string text_of(const Mac& mac) {
  std::string text;
  for (const unsigned b : mac.bytes) {
    if (!text.empty()) text += ':';
    for (const unsigned digit : {b >> 4, b & 15u}) text += "0123456789abcdef"[digit];
  }
  return text;
}

}  // namespace rp::sw
