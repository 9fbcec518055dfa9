// SPDX-License-Identifier: BSD-3-Clause
// mini_tcp.h - one TCP connection of a test's guest: in order, no timers, no congestion control.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>

#include "tests/slirp/packets.h"

namespace rp::test {

class TcpConn {
 public:
  using Emit = std::function<void(const Tcp&, const Data&)>;

  TcpConn(Emit emit, std::uint16_t local, std::uint16_t remote, std::uint32_t first_seq)
      : emit_(std::move(emit)), local_(local), remote_(remote), iss_(first_seq) {}

  Data received;  ///< everything, in order
  bool established = false, reset = false, peer_closed = false;
  bool hold = false;             ///< acknowledges nothing: a guest that does not read
  bool acks_alone = true;        ///< answers the peer's SYN before it sends what was written
  std::uint16_t window = 65535;  ///< what it offers
  std::size_t mss = 1460;

  std::uint16_t local() const { return local_; }
  std::uint16_t remote() const { return remote_; }
  std::uint32_t seq() const { return iss_ + 1 + static_cast<std::uint32_t>(next_); }
  std::uint32_t ack() const { return rcv_next_; }
  /// What the peer last acknowledged, as a sequence number.
  std::uint32_t acked_seq() const { return iss_ + 1 + static_cast<std::uint32_t>(acked_); }
  /// The peer has everything that was written.
  bool drained() const { return acked_ >= out_.size(); }

  void connect() { emit_({local_, remote_, iss_, 0, sw::kTcpSyn, 0, mss_option(), window}, {}); }
  /// Called again, it sends the same SYN-ACK again.
  void accept(const sw::TcpHeader& syn) {
    const std::uint32_t ack = syn.seq.get() + 1;
    if (!established) rcv_next_ = ack;
    emit_({local_, remote_, iss_, ack, sw::kTcpSyn | sw::kTcpAck, 0, mss_option(), window}, {});
  }
  void write(const Data& bytes) {
    append(out_, bytes);
    push();
  }
  /// FIN, once all is sent.
  void close() {
    closing_ = true;
    push();
  }
  void abort() { segment(sw::kTcpRst | sw::kTcpAck); }
  /// Sends again from what was last acknowledged.
  void resend() {
    next_ = acked_;
    push();
  }
  void send_ack() { segment(sw::kTcpAck); }
  /// A segment as the test wants it; the connection's books do not change.
  void segment(std::uint8_t flags, const Data& payload = {}, std::uint16_t urgent = 0) {
    segment_at(seq(), flags, payload, urgent);
  }
  void segment_at(std::uint32_t seq, std::uint8_t flags, const Data& payload = {},
                  std::uint16_t urgent = 0) {
    emit_({local_, remote_, seq, rcv_next_, flags, urgent, {}, window}, payload);
  }
  /// What segment() sent belongs to the stream after all.
  void count_as_sent(const Data& payload) {
    append(out_, payload);
    next_ += payload.size();
  }

  void take(const sw::TcpHeader& tcp, std::span<const std::uint8_t> payload) {
    if (tcp.flags & sw::kTcpRst) {
      reset = true;
      return;
    }
    if (tcp.flags & sw::kTcpSyn) rcv_next_ = tcp.seq.get() + 1;
    if (tcp.flags & sw::kTcpAck) take_ack(tcp);
    if (hold) return;
    const bool news = take_data(tcp, payload);
    if (news || ((tcp.flags & sw::kTcpSyn) && acks_alone)) send_ack();
    push();
  }

 private:
  Data mss_option() const {
    Data option{2, 4};
    append(option, Be16(static_cast<std::uint16_t>(mss)));
    return option;
  }
  void take_ack(const sw::TcpHeader& tcp) {
    established = true;
    peer_window_ = tcp.window.get();
    const std::uint32_t more = tcp.ack.get() - acked_seq();
    const std::size_t most = next_ - acked_ + (fin_sent_ ? 1 : 0);
    if (more <= most) acked_ += more;
  }
  bool take_data(const sw::TcpHeader& tcp, std::span<const std::uint8_t> payload) {
    const bool fin = tcp.flags & sw::kTcpFin;
    if (payload.empty() && !fin) return false;
    const std::uint32_t behind = rcv_next_ - tcp.seq.get();
    if (behind > payload.size()) return true;  // a hole, or old
    const auto fresh = payload.subspan(behind);
    received.insert(received.end(), fresh.begin(), fresh.end());
    rcv_next_ += static_cast<std::uint32_t>(fresh.size());
    if (fin && !peer_closed) {
      ++rcv_next_;
      peer_closed = true;
    }
    return true;
  }
  void push() {
    if (!established || reset) return;
    while (next_ < out_.size() && next_ - acked_ < peer_window_) {
      const std::size_t n = std::min({mss, out_.size() - next_, peer_window_ - (next_ - acked_)});
      const auto at = out_.begin() + static_cast<long>(next_);
      segment(sw::kTcpAck | sw::kTcpPsh, Data(at, at + static_cast<long>(n)));
      next_ += n;
    }
    if (closing_ && !fin_sent_ && next_ == out_.size()) {
      segment(sw::kTcpAck | sw::kTcpFin);
      fin_sent_ = true;
      ++next_;
    }
  }

  Emit emit_;
  std::uint16_t local_, remote_;
  std::uint32_t iss_, rcv_next_ = 0;
  Data out_;                          // everything ever written
  std::size_t acked_ = 0, next_ = 0;  // offsets into out_; the FIN is one past its end
  std::size_t peer_window_ = 0;
  bool closing_ = false, fin_sent_ = false;
};

}  // namespace rp::test
