// SPDX-License-Identifier: BSD-3-Clause
// seq_trap.cc - keeps guests off one TCP sequence number at which libslirp 4.7 loses its way.
#include "slirp/seq_trap.h"

#include <cstring>

namespace rp::slirp {

// libslirp reads the word as its machine does, so this does too.
std::uint32_t SeqTrap::trap(const sw::Ip6Addr& guest, bool v6) noexcept {
  std::uint32_t word = 0;
  if (v6) std::memcpy(&word, guest.data() + 4, sizeof word);
  return word;
}

std::size_t SeqTrap::place(const Flow& f) noexcept {
  std::uint32_t h = (std::uint32_t{f.guest_port} << 16) | f.peer_port;
  for (std::size_t i = 0; i < f.guest.size(); ++i) h = h * 31 + (f.guest[i] ^ f.peer[i]);
  return (h ^ (h >> 16)) % kFlows;
}

SeqTrap::Verdict SeqTrap::judge(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer, bool v6,
                                const sw::TcpHeader& tcp, std::uint32_t data) const noexcept {
  const bool syn = tcp.flags & sw::kTcpSyn, fin = tcp.flags & sw::kTcpFin;
  if (data == 0 && !fin) return Verdict::pass;
  const std::uint32_t begin = tcp.seq.get() + (syn ? 1u : 0u);
  const std::uint32_t ahead = trap(guest, v6) - begin;  // modulo 2^32, RFC 9293 3.4
  if (ahead > data || (ahead == 0 && data != 0)) return Verdict::pass;
  if (syn) return Verdict::refuse;
  if (ahead == data) return data >= 2 ? Verdict::cut_one : Verdict::refuse;
  const Flow wanted{guest, peer, tcp.sport.get(), tcp.dport.get()};
  const Flow& flow = flows_[place(wanted)];
  const bool inside = flow.live && flow.is(wanted) && flow.edge - (begin + data) < kNear;
  return inside ? Verdict::pass : Verdict::refuse;
}

void SeqTrap::learn(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer, bool v6,
                    const sw::TcpHeader& tcp) noexcept {
  if (!(tcp.flags & sw::kTcpAck)) return;
  Flow flow{guest, peer, tcp.dport.get(), tcp.sport.get()};
  Flow& slot = flows_[place(flow)];
  const std::uint32_t ahead = trap(guest, v6) - tcp.ack.get();
  if (ahead - 1 < kNear) {
    flow.live = true;
    flow.edge = tcp.ack.get() + tcp.window.get();
    slot = flow;
  } else if (slot.live && slot.is(flow)) {
    slot.live = false;
  }
}

}  // namespace rp::slirp
