// SPDX-License-Identifier: BSD-3-Clause
// handshake.cc - tells libslirp the segment size of a guest that opened a connection.
#include "slirp/handshake.h"

#include <algorithm>

#include "switch/checksum.h"
#include "switch/offload.h"

namespace rp::slirp {

std::span<std::uint8_t> syn_with_mss(std::span<const std::uint8_t> first, std::uint16_t mss,
                                     std::span<std::uint8_t, kLongestSyn> room) noexcept {
  const std::uint8_t option[] = {2, 4, static_cast<std::uint8_t>(mss >> 8),
                                 static_cast<std::uint8_t>(mss)};  // RFC 9293 3.7.1
  sw::Frame f;
  sw::Part part;
  sw::Layers l;
  sw::make_frame(f, part, first);
  sw::locate(f, l);
  const std::size_t options = l.l4 + sizeof(sw::TcpHeader);
  const auto syn = room.first(options + sizeof option);
  std::copy_n(first.begin(), options, syn.begin());
  write_at(syn, options, option);

  auto tcp = *read_at<sw::TcpHeader>(first, l.l4);
  tcp.seq.set(tcp.seq.get() - 1);
  tcp.flags = sw::kTcpSyn | sw::kTcpAck;
  tcp.data_offset = (sizeof tcp + sizeof option) / 4 << 4;
  tcp.checksum.set(0);
  tcp.urgent.set(0);
  write_at(syn, l.l4, tcp);
  const std::uint32_t pseudo = sw::set_ip_length(syn, l, static_cast<std::uint32_t>(syn.size()), 0);
  tcp.checksum.set(sw::checksum_finish(sw::checksum_add(pseudo, syn.subspan(l.l4))));
  write_at(syn, l.l4, tcp);
  return syn;
}

}  // namespace rp::slirp
