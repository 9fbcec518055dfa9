// SPDX-License-Identifier: BSD-3-Clause
// stream_options.cc - the table of stream options.
#include "sockets/stream_options.h"

namespace rp::sockets {
namespace {

constexpr Option<StreamOptions> kOptions[] = {
    {{"framing", "qemu|vde", "qemu",
      "the length before each frame: 32 bits as QEMU and passt have it, or 16 as VDE's cables"},
     [](StreamOptions& o, const std::string& v) {
       if (v != "qemu" && v != "vde") throw Error(Errc::invalid, "expected qemu or vde");
       o.limits.framing = v == "vde" ? Framing::vde : Framing::qemu;
     }},
    {{"buffer", "64..65536", "1024", "KiB that wait for a slow reader"},
     [](StreamOptions& o, const std::string& v) {
       o.limits.buffer = std::size_t{parse_number(v, 64, 65536)} << 10;
     }},
    {{"clients", "1..65535", "256", "of a door, at once"},
     [](StreamOptions& o, const std::string& v) { o.guests = parse_number(v, 1, 65535); }},
};

}  // namespace

std::span<const Option<StreamOptions>> stream_options() {
  return kOptions;
}

StreamOptions make_stream_options(const std::string& target,
                                  const std::vector<std::pair<std::string, std::string>>& params) {
  StreamOptions o;
  o.target = target;
  for (const auto& [key, value] : params) set_option(stream_options(), o, "stream", key, value);
  return o;
}

}  // namespace rp::sockets
