// SPDX-License-Identifier: BSD-3-Clause
// l3_edge.h - where an Ethernet of guests meets a device that knows IP packets only (tun).
//
// Theory of operation: towards the guests this is one host with a MAC of its own. It answers ARP
// (RFC 826) and neighbour solicitations (RFC 4861, 7.2) for the addresses of the host's end, or in
// proxy mode for every address that no guest is known to have. What comes to that MAC, or to a
// group, goes to the device without its Ethernet header. A packet from the device gets one: the
// guest's MAC is known from what it sent, or is asked for; the packet that asked is dropped, as
// there is no room where it could wait, and whoever sent it sends again. Not done: router
// advertisements; redirects; tags.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "switch/frame.h"
#include "switch/headers.h"
#include "tap/address.h"

namespace rp::tap {

class L3Edge {
 public:
  L3Edge(const sw::Mac& mac, const std::vector<Prefix>& addresses, bool proxy);

  /// Looks at a frame from a guest; may have an answer of its own afterwards. True: its packet is
  /// for the device.
  bool from_guest(const sw::Frame& frame) noexcept;
  /// Fills in the header for a packet from the device. False: nobody is known to have its address;
  /// a question is ready.
  bool to_guest(std::span<const std::uint8_t> packet, sw::EthHeader& eth) noexcept;

  /// Frames of its own that are to be sent. They stay valid until clear().
  std::size_t own_frames() const noexcept { return own_n_; }
  std::span<const std::uint8_t> own_frame(std::size_t i) const noexcept {
    return {own_[i].bytes.data(), own_[i].size};
  }
  /// Forgets the first n.
  void clear(std::size_t n) noexcept;

 private:
  /// IPv4 addresses as they are mapped into IPv6 (RFC 4291, 2.5.5.2).
  using Key = sw::Ip6Addr;
  struct Neighbor {
    Key ip{};
    sw::Mac mac;
  };
  struct Own {
    std::array<std::uint8_t, 86> bytes;
    std::size_t size;
  };
  static constexpr std::size_t kNeighbors = 4096, kOwn = 32;

  static Key key_of(const std::uint8_t* ipv4) noexcept;
  static std::size_t slot_of(const Key& ip) noexcept;
  bool is_ours(const Key& ip) const noexcept;
  bool answers_for(const Key& ip) const noexcept;
  const sw::Mac* find(const Key& ip) const noexcept;
  void learn(const Key& ip, const sw::Mac& mac) noexcept;
  bool arp(const sw::Frame& frame) noexcept;
  bool ipv4(const sw::Frame& frame, const sw::Mac& from) noexcept;
  bool ipv6(const sw::Frame& frame, const sw::Mac& from) noexcept;
  bool solicited(const sw::Frame& frame, const sw::Ipv6Header& ip, const sw::Mac& from) noexcept;
  void ask4(std::uint32_t ip) noexcept;
  void ask6(const sw::Ip6Addr& ip) noexcept;
  void send_arp(std::uint16_t op, const sw::Mac& to, std::uint32_t spa, std::uint32_t tpa) noexcept;
  void send_nd(std::uint8_t type, std::uint32_t flags, const sw::Mac& to, const sw::Ip6Addr& dst,
               const sw::Ip6Addr& target) noexcept;
  std::span<std::uint8_t> own_slot(std::size_t size) noexcept;

  sw::Mac mac_;
  bool proxy_;
  std::uint32_t ip4_ = 0;  ///< what questions are asked as; 0: none
  sw::Ip6Addr link_local_{};
  std::vector<Key> ours_;
  std::vector<std::uint32_t> broadcasts_;
  std::vector<Neighbor> neighbors_;
  std::array<Own, kOwn> own_;
  std::size_t own_n_ = 0;
};

}  // namespace rp::tap
