// SPDX-License-Identifier: BSD-3-Clause
// syn_acks.cc - tells a guest's SYN-ACK from the same one sent again.
#include "slirp/syn_acks.h"

namespace rp::slirp {

bool SynAcks::repeated(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer,
                       const sw::TcpHeader& tcp) noexcept {
  const One it{guest,           peer,          tcp.sport.get(), tcp.dport.get(),
               tcp.seq.get(),   tcp.ack.get()};
  One& slot = seen_[(it.seq ^ it.ack ^ (it.ack >> 16)) % kMost];
  if (slot == it) return true;
  slot = it;
  return false;
}

}  // namespace rp::slirp
