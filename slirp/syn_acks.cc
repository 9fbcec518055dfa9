// SPDX-License-Identifier: BSD-3-Clause
// syn_acks.cc - tells a guest's answer to libslirp's SYN from the same answer sent again.
#include "slirp/syn_acks.h"

#include <utility>

namespace rp::slirp {

// libslirp's first sequence numbers are 64,000 apart, 125 times 512: any kSlots in a row differ.
SynAcks::Slot& SynAcks::slot(std::uint32_t ack) noexcept {
  return slots_[(ack >> 9) % kSlots];
}

void SynAcks::learn(const Connection& of, const sw::TcpHeader& tcp) noexcept {
  if ((tcp.flags & (sw::kTcpSyn | sw::kTcpAck)) != sw::kTcpSyn) return;
  const std::uint32_t ack = tcp.seq.get() + 1;
  Slot& s = slot(ack);
  if (!s.is(of, ack)) s = {of, ack, false};
}

bool SynAcks::repeated(const Connection& of, const sw::TcpHeader& tcp) noexcept {
  Slot& s = slot(tcp.ack.get());
  return s.is(of, tcp.ack.get()) && std::exchange(s.answered, true);
}

}  // namespace rp::slirp
