// SPDX-License-Identifier: BSD-3-Clause
// syn_acks.cc - tells a guest's answer to libslirp's SYN from the same answer sent again.
#include "slirp/syn_acks.h"

#include <utility>

namespace rp::slirp {

// libslirp's first sequence numbers are 64,000 apart, 125 times 512: any kSlots in a row differ.
SynAcks::Slot& SynAcks::slot(const Key& key) noexcept {
  return slots_[(key.ack >> 9) % kSlots];
}

void SynAcks::learn(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer,
                    const sw::TcpHeader& tcp) noexcept {
  if ((tcp.flags & (sw::kTcpSyn | sw::kTcpAck)) != sw::kTcpSyn) return;
  const Key key{guest, peer, tcp.dport.get(), tcp.sport.get(), tcp.seq.get() + 1};
  Slot& s = slot(key);
  if (s.key != key) s = {key, false};
}

bool SynAcks::repeated(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer,
                       const sw::TcpHeader& tcp) noexcept {
  const Key key{guest, peer, tcp.sport.get(), tcp.dport.get(), tcp.ack.get()};
  Slot& s = slot(key);
  return s.key == key && std::exchange(s.answered, true);
}

}  // namespace rp::slirp
