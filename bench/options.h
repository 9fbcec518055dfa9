// SPDX-License-Identifier: BSD-3-Clause
// options.h - the traffic generators' command lines.
#pragma once

#include <getopt.h>
#include <sys/types.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

namespace rp::bench {

/// Where the value of `--name` goes. A bool takes none, and becomes the opposite of what it was.
struct OptionTo {
  const char* name;
  std::variant<const char**, bool*, double*, unsigned*, std::uint64_t*, pid_t*> to;
};

/// The number that `read(char** end)` finds in the argument of `--name`.
template <typename Read>
auto number(const char* name, Read&& read) {
  char* end = optarg;
  errno = 0;
  const auto value = read(&end);
  if (end == optarg || *end != '\0' || errno != 0)
    throw std::runtime_error(std::string("--") + name + " " + optarg + ": not a number");
  return value;
}

struct FromText {
  const char* name;
  void operator()(const char** to) const { *to = optarg; }
  void operator()(bool* to) const { *to = !*to; }
  void operator()(double* to) const {
    *to = number(name, [](char** end) { return strtod(optarg, end); });
  }
  template <typename Integer>
  void operator()(Integer* to) const {
    *to = static_cast<Integer>(number(name, [](char** end) { return strtoull(optarg, end, 10); }));
  }
};

/// Throws std::runtime_error with the usage or the option that is wrong.
inline void parse_options(int argc, char** argv, std::initializer_list<OptionTo> known,
                          const char* usage) {
  std::vector<option> longs;
  for (const OptionTo& o : known)
    longs.push_back({o.name, std::holds_alternative<bool*>(o.to) ? no_argument : required_argument,
                     nullptr, 0});
  longs.push_back({});
  int which = 0;
  for (int c; (c = getopt_long(argc, argv, "", longs.data(), &which)) != -1;) {
    if (c != 0) throw std::runtime_error(usage);
    const OptionTo& o = known.begin()[which];
    std::visit(FromText{o.name}, o.to);
  }
  if (optind != argc) throw std::runtime_error(usage);
}

}  // namespace rp::bench
