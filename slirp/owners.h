// SPDX-License-Identifier: BSD-3-Clause
// owners.h - which port owns which IP and MAC address; bounded, aged, no clock of its own.
//
// Theory of operation: an address belongs to the first port that uses it, until it has not been
// used for kIdle or the port is forgotten. A DHCP lease beats such claims, binds the address to a
// MAC as well and does not age. A port that has used up its share can only replace idle claims of
// its own, so no guest can squeeze out another. Everything is allocated by the constructor.
#pragma once

#include <cstdint>
#include <vector>

#include "base/time.h"
#include "switch/frame.h"

namespace rp::slirp {

/// IPv4 addresses (host byte order) share one key space with IPv6: ::ffff:a.b.c.d.
sw::Ip6Addr mapped(std::uint32_t ipv4) noexcept;

/// What became of packets longer than Ethernet's to an address that says that it takes them.
enum class LongPackets : std::uint8_t { untried, taken, lost };

/// A bounded hash map from addresses to the ports that claim them.
class Claims {
 public:
  static constexpr Instant kIdle = 300s;  ///< an unleased claim this old may be taken over

  struct Entry {
    sw::Ip6Addr key{};
    sw::PortId port = sw::kNoPort;
    sw::Mac mac;
    bool leased = false;
    Instant seen{};
    std::uint16_t mtu = 0;  ///< 0: not known
    LongPackets long_packets = LongPackets::untried;
    bool idle(Instant now, Instant after = kIdle) const noexcept {
      return !leased && now - seen >= after;
    }
  };

  Claims(std::size_t all, std::size_t per_port);

  Entry* find(const sw::Ip6Addr& key) noexcept;
  const Entry* find(const sw::Ip6Addr& key) const noexcept;
  /// A new entry for a key that is not there; an unleased claim of the same port that has been
  /// idle for `evict` may make room. Null: no room.
  Entry* add(const sw::Ip6Addr& key, sw::PortId port, Instant now, Instant evict = kIdle) noexcept;
  void remove(const sw::Ip6Addr& key) noexcept;
  void forget(sw::PortId port) noexcept;
  std::size_t size() const noexcept { return size_; }

 private:
  std::size_t slot_of(const sw::Ip6Addr& key) const noexcept;
  std::size_t home(const sw::Ip6Addr& key) const noexcept;
  void unlink(std::size_t slot) noexcept;
  bool make_room(sw::PortId port, Instant now, Instant evict) noexcept;

  std::vector<Entry> entries_;        // dense: the first size_ are in use
  std::vector<std::uint16_t> index_;  // open addressing; entry number + 1, 0: free
  std::size_t size_ = 0, per_port_;
  std::uint64_t seed_;
};

class Owners {
 public:
  static constexpr std::size_t kAddresses = 1024, kAddressesPerPort = 16;
  static constexpr std::size_t kMacs = 1024, kMacsPerPort = 64;

  Owners() : addresses_(kAddresses, kAddressesPerPort), macs_(kMacs, kMacsPerPort) {}

  /// May `port` send from `mac`? If so, the MAC is its own from now on.
  bool admit_mac(const sw::Mac& mac, sw::PortId port, Instant now) noexcept;
  /// May `port` and `mac` send from `address`? If so, the address is theirs from now on.
  bool admit(const sw::Ip6Addr& address, const sw::Mac& mac, sw::PortId port, Instant now) noexcept;
  /// Does the address belong to another port? Claims nothing.
  bool foreign(const sw::Ip6Addr& address, sw::PortId port) const noexcept;
  /// Binds the address to `mac` and to the port where that MAC was last seen.
  void lease(const sw::Ip6Addr& address, const sw::Mac& mac, Instant now) noexcept;
  /// Whose address it is says that it takes IP packets of that many bytes.
  void set_mtu(const sw::Ip6Addr& address, std::uint16_t mtu) noexcept;
  /// 0: not known.
  std::uint16_t mtu_of(const sw::Ip6Addr& address) const noexcept;
  /// The first time counts.
  void set_long_packets(const sw::Ip6Addr& address, LongPackets fate) noexcept;
  LongPackets long_packets(const sw::Ip6Addr& address) const noexcept;
  /// The port that uses `mac`, or kNoPort.
  sw::PortId port_of(const sw::Mac& mac) const noexcept;
  void forget(sw::PortId port) noexcept;

 private:
  Claims addresses_, macs_;
};

}  // namespace rp::slirp
