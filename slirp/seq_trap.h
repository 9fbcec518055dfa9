// SPDX-License-Identifier: BSD-3-Clause
// seq_trap.h - keeps guests off one TCP sequence number at which libslirp 4.7 loses its way.
//
// Theory of operation: when libslirp (before 4.8) has handed on the last segment of its reassembly
// queue, it takes its own control block for one more segment, if the next expected sequence number
// equals a certain word of that block. The word is 0 for IPv4 and bytes 4 to 7 of the guest's
// address for IPv6; a guest that gets there makes libslirp use garbage as a pointer. So no segment
// may end at that number, neither by itself nor because libslirp cuts it at the edge of its receive
// window. A segment that ends there is cut by a byte; one that goes past it must lie inside the
// window that libslirp last announced, which is remembered for flows that are near the number.
// A single byte or a lone FIN that ends there is refused, which costs one flow in 2^32.
#pragma once

#include <array>
#include <cstdint>

#include "slirp/connection.h"

namespace rp::slirp {

class SeqTrap {
 public:
  enum class Verdict : std::uint8_t { pass, cut_one, refuse };

  /// Judges a segment from a guest that carries `data` bytes.
  Verdict judge(const Connection& of, bool v6, const sw::TcpHeader& tcp,
                std::uint32_t data) const noexcept;
  /// Learns the window from a segment to a guest.
  void learn(const Connection& of, bool v6, const sw::TcpHeader& tcp) noexcept;

 private:
  static constexpr std::size_t kFlows = 256;
  static constexpr std::uint32_t kNear = 256 * 1024;  ///< more than any window without scaling
  struct Flow {
    Connection of;
    bool live = false;
    std::uint32_t edge = 0;
  };
  static std::uint32_t trap(const sw::Ip6Addr& guest, bool v6) noexcept;

  std::array<Flow, kFlows> flows_{};
};

}  // namespace rp::slirp
