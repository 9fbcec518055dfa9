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

SeqTrap::Verdict SeqTrap::judge(const Connection& of, bool v6, const sw::TcpHeader& tcp,
                                std::uint32_t data) const noexcept {
  const bool syn = tcp.flags & sw::kTcpSyn, fin = tcp.flags & sw::kTcpFin;
  if (data == 0 && !fin) return Verdict::pass;
  const std::uint32_t begin = tcp.seq.get() + (syn ? 1u : 0u);
  const std::uint32_t ahead = trap(of.guest, v6) - begin;  // modulo 2^32, RFC 9293 3.4
  if (ahead > data || (ahead == 0 && data != 0)) return Verdict::pass;
  if (syn) return Verdict::refuse;
  if (ahead == data) return data >= 2 ? Verdict::cut_one : Verdict::refuse;
  const Flow& flow = flows_[of.hash() % kFlows];
  const bool inside = flow.live && flow.of == of && flow.edge - (begin + data) < kNear;
  return inside ? Verdict::pass : Verdict::refuse;
}

void SeqTrap::learn(const Connection& of, bool v6, const sw::TcpHeader& tcp) noexcept {
  if (!(tcp.flags & sw::kTcpAck)) return;
  Flow& slot = flows_[of.hash() % kFlows];
  const std::uint32_t ahead = trap(of.guest, v6) - tcp.ack.get();
  if (ahead - 1 < kNear)
    slot = {of, true, tcp.ack.get() + tcp.window.get()};
  else if (slot.of == of)
    slot.live = false;
}

}  // namespace rp::slirp
