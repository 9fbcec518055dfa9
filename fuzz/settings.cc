// SPDX-License-Identifier: BSD-3-Clause
// settings.cc - settings of a switch and its port numbers, set by text.
//
// Invariant: what is told can be set again, on a fresh switch and on this one, and tells the same;
// what is refused changes nothing.
#include "backend/settings.h"

#include <map>

#include "base/error.h"
#include "fuzz/harness.h"
#include "tests/switch/fake_port.h"

namespace {

using namespace rp;
using fuzz::Input;

using All = std::vector<std::tuple<unsigned, std::string, std::string>>;

All told(const sw::Switch& s) {
  All all;
  backend::each_setting(s, [&](unsigned number, std::string_view key, const std::string& value) {
    all.emplace_back(number, key, value);
  });
  return all;
}

std::string value_of(Input& in) {
  static constexpr const char* kSome[] = {
      "on",
      "off",
      "all",
      "none",
      "any",
      "0",
      "4094",
      "10,20-30",
      "+7",
      "-7",
      "02:00:00:00:00:01",
      "02:00:00:00:00:02@5",
      "-02:00:00:00:00:01",
      "+02:00:00:00:00:03",
      "root",
      "3",
      "1-4094",
      "65535",
  };
  const unsigned n = in.byte();
  return n < 200 ? kSome[n % std::size(kSome)] : in.text(n - 200);
}

void set_again(sw::Switch& s, const All& all) {
  for (const auto& [number, key, value] : all) {
    try {
      backend::set(s, number, key, value);
    } catch (const Error& e) {
      std::fprintf(stderr, "%u %s=%s: %s\n", number, key.c_str(), value.c_str(), e.what());
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static constexpr const char* kKeys[] = {
      "vlan",        "trunk",    "isolated", "static",     "locked", "user",  "group",
      "allocatable", "mac-hold", "hub",      "mac-ageing", "ports",  "colour"};
  Input in(data, size);
  sw::Switch s({.entries = 64});
  s.add(std::make_unique<test::FakePort>(), "p");
  for (int steps = 0; !in.empty() && steps < 60; ++steps) {
    const unsigned number = in.below(6);
    const std::string key = kKeys[in.below(std::size(kKeys))], value = value_of(in);
    const All before = told(s);
    try {
      backend::set(s, number, key, value);
    } catch (const Error& e) {
      RP_CHECK(*e.what() != 0 && told(s) == before);
    }
  }
  const All all = told(s);
  sw::Switch other({.entries = 64});
  set_again(other, all);
  RP_CHECK(told(other) == all);
  set_again(s, all);
  RP_CHECK(told(s) == all);
  return 0;
}
