// SPDX-License-Identifier: BSD-3-Clause
// dgram_options.cc - the tables of dgram's and bxhub's options.
#include "sockets/dgram_options.h"

#include "sockets/queue_option.h"

namespace rp::sockets {
namespace {

/// bxhub has no more than six; this is what the ports above the lowest leave room for.
constexpr unsigned kMostSessions = 64;

constexpr Option<DgramOptions> kDgram[] = {
    {{"local", "PATH|HOST:PORT", "", "of an uplink: the address that its peer sends to"},
     [](DgramOptions& o, const std::string& v) { o.local = v; }},
    {{"clients", "1..4096", "256", "of a door, at once"},
     [](DgramOptions& o, const std::string& v) { o.guests = parse_number(v, 1, 4096); }},
    {kQueueDoc, set_queue},
};

constexpr Option<BxhubOptions> kBxhub[] = {
    {{"clients", "1..64", "6", "of Bochs, at once; each takes two ports"},
     [](BxhubOptions& o, const std::string& v) { o.sessions = parse_number(v, 1, kMostSessions); }},
    {kQueueDoc, set_queue},
};

}  // namespace

std::span<const Option<DgramOptions>> dgram_options() {
  return kDgram;
}

std::span<const Option<BxhubOptions>> bxhub_options() {
  return kBxhub;
}

DgramOptions make_dgram_options(const std::string& target, const DgramParams& params) {
  DgramOptions o;
  o.target = target;
  for (const auto& [key, value] : params) set_option(dgram_options(), o, "dgram", key, value);
  return o;
}

BxhubOptions make_bxhub_options(const std::string& target, const DgramParams& params) {
  BxhubOptions o;
  for (const auto& [key, value] : params) set_option(bxhub_options(), o, "bxhub", key, value);
  try {
    o.base = parse_number(target, 1, 65536 - 2 * o.sessions);
  } catch (const Error& e) {
    throw Error(e.code(), "bxhub:" + target + ": the base port: " + e.what());
  }
  return o;
}

}  // namespace rp::sockets
