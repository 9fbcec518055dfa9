// SPDX-License-Identifier: BSD-3-Clause
// guard_state.h - the guard's inside: its tables and its checks, one group of checks a file.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "slirp/dhcp.h"
#include "slirp/fragments.h"
#include "slirp/guard.h"
#include "slirp/owners.h"
#include "slirp/segment_sizes.h"
#include "slirp/seq_trap.h"
#include "slirp/syn_acks.h"
#include "switch/headers.h"

namespace rp::slirp {

using Bytes = std::span<std::uint8_t>;
using ConstBytes = std::span<const std::uint8_t>;

/// Who sent the frame, and when.
struct Sender {
  sw::PortId port;
  sw::Mac mac;
  Instant now;
};

/// An L4 packet between two addresses; IPv4 ones are mapped.
struct Packet {
  Bytes frame;  ///< all of it, already trimmed
  Bytes l4;
  sw::Ip6Addr src, dst;
  bool v6 = false;
  bool to_group = false;  ///< multicast or broadcast
};

/// Pseudo header and TCP segment summed up; 0: its checksum is right.
std::uint16_t tcp_sum(const Packet& p) noexcept;

/// What libslirp has given to whom. It never takes an address back, and loses a buffer for each
/// request that it cannot meet, so such requests must not reach it.
class DhcpPool {
 public:
  static constexpr std::size_t kAddresses = 16;  ///< libslirp's own number
  static constexpr std::size_t kPerPort = 12;    ///< leaves some for the other guests
  bool may_ask(const sw::Mac& mac, sw::PortId port, const DhcpOptions& ask) const noexcept;
  void given(std::uint32_t address, const sw::Mac& mac, sw::PortId port) noexcept;

 private:
  struct Entry {
    std::uint32_t address = 0;
    sw::Mac mac;
    sw::PortId port = sw::kNoPort;
  };
  std::array<Entry, kAddresses> given_{};
};

/// A twin of libslirp's table of transfers: one that lives must not be opened again.
class TftpSessions {
 public:
  static constexpr std::size_t kAll = 20;           ///< libslirp's own number
  static constexpr std::size_t kPerPort = 8;        ///< leaves some for the other guests
  static constexpr Instant kIdle = 5s;              ///< after that libslirp gives the slot away
  static constexpr std::uint16_t kMaxBlock = 1428;  ///< what libslirp cuts larger wishes down to

  bool open(const Packet& p, std::uint16_t client_port, std::uint16_t block,
            const Sender& s) noexcept;
  bool touch(const Packet& p, std::uint16_t client_port, Instant now) noexcept;
  /// Ends the transfer when an answer of `data_len` bytes after the TFTP header is its last.
  void answered(const sw::Ip6Addr& client, std::uint16_t client_port, std::uint16_t op,
                std::size_t data_len) noexcept;
  void close(const sw::Ip6Addr& client, std::uint16_t client_port) noexcept;
  /// Calls fn(client, port) for each slot that was ever taken: libslirp may keep a file open for
  /// transfers that are as good as over.
  template <typename Fn>
  void each(Fn&& fn) const {
    for (const Session& s : sessions_) {
      if (s.client_port != 0) fn(s.client, s.client_port);
    }
  }

 private:
  struct Session {
    bool live = false;
    sw::PortId port = sw::kNoPort;
    sw::Ip6Addr client{};
    std::uint16_t client_port = 0, block = 512;
    Instant seen{};
  };
  Session* find(const sw::Ip6Addr& client, std::uint16_t client_port) noexcept;
  std::array<Session, kAll> sessions_{};
};

struct Guard::State {
  explicit State(const GuardConfig& c) : config(c) {
    config.ipv6 = c.ipv6 && c.mtu >= 1280;  // RFC 8200 section 5
  }

  // guard.cc
  Refusal frame(Bytes& frame, sw::PortId from, Instant now) noexcept;
  Refusal arp(ConstBytes frame, const Sender& s) noexcept;

  // guard_ipv4.cc
  Refusal ipv4(Bytes& frame, const Sender& s) noexcept;
  Refusal source4(const sw::Ipv4Header& ip, ConstBytes l4, const Sender& s) noexcept;
  Refusal target4(std::uint32_t dst, std::uint8_t proto) const noexcept;
  bool usable4(std::uint32_t address) const noexcept;
  bool broadcast4(std::uint32_t address) const noexcept;
  bool forbidden4(std::uint32_t address) const noexcept;
  Refusal fragment(const sw::Ipv4Header& ip, ConstBytes l4, const Sender& s) noexcept;

  // guard_ipv6.cc
  Refusal ipv6(Bytes& frame, const Sender& s) noexcept;
  Refusal source6(const sw::Ipv6Header& ip, ConstBytes l4, const Sender& s) noexcept;
  Refusal target6(const sw::Ip6Addr& dst, std::uint8_t proto) const noexcept;
  bool usable6(const sw::Ip6Addr& address) const noexcept;
  bool gateways6(const sw::Ip6Addr& address) const noexcept;
  Refusal icmp6(const sw::Ipv6Header& ip, ConstBytes l4, const Sender& s) noexcept;
  Refusal ndp(const sw::Ipv6Header& ip, ConstBytes l4, const Sender& s) noexcept;

  // guard_l4.cc
  Refusal tcp(Packet& p) noexcept;
  Refusal udp(const Packet& p, const Sender& s) noexcept;
  Refusal icmp4(ConstBytes l4) const noexcept;

  // guard_lengths.cc
  void learn_lengths(const Connection& of, const Packet& p, const sw::TcpHeader& tcp,
                     ConstBytes options) noexcept;
  void learn_mss(const Connection& of, bool v6, std::uint16_t stated) noexcept;
  std::uint16_t mss_of(const Connection& connection, bool v6) const noexcept;
  std::uint16_t mtu_of(const sw::Ip6Addr& guest) const noexcept;
  /// 0: a segment of that much data from libslirp goes as it is.
  std::uint16_t mss_to_cut_to(const Connection& connection, bool v6, const sw::TcpHeader& tcp,
                              std::uint32_t data) noexcept;

  // guard_services.cc
  Refusal dhcp4(const Packet& p, const Sender& s) noexcept;
  Refusal dhcp6(const Packet& p) const noexcept;
  Refusal tftp(const Packet& p, const Sender& s) noexcept;
  Refusal tftp_read(const Packet& p, const Sender& s) noexcept;

  // guard_nat.cc
  FromNat from_nat(ConstBytes frame, Instant now) noexcept;
  FromNat ipv4_from_nat(ConstBytes frame, Instant now) noexcept;
  FromNat ipv6_from_nat(ConstBytes frame, Instant now) noexcept;
  FromNat tcp_from_nat(const sw::Ip6Addr& guest, const sw::Ip6Addr& peer, bool v6,
                       ConstBytes l4) noexcept;
  bool datagram_from_nat(const sw::Ipv4Header& ip, ConstBytes l4, Instant now) noexcept;
  void learn_lease(ConstBytes bootp, Instant now) noexcept;
  void learn_tftp(const sw::Ip6Addr& client, ConstBytes l4) noexcept;

  GuardConfig config;
  Owners owners;
  Fragments fragments;
  DhcpPool pool;
  TftpSessions tftp_sessions;
  SeqTrap seq_trap;
  SynAcks syn_acks;
  SegmentSizes segment_sizes;
  std::uint16_t untold_mss = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(Refusal::count)> refused{};
};

}  // namespace rp::slirp
