// SPDX-License-Identifier: BSD-3-Clause
// frame_io.h - one frame a system call, with its virtio_net_hdr in front, from and to a descriptor.
#pragma once

#include <memory>
#include <span>

#include "switch/frame.h"
#include "switch/headers.h"

namespace rp::tap {

/// The longest header that linux/virtio_net.h knows (virtio_net_hdr_v1_hash) and then some.
constexpr std::size_t kMaxHeader = 32;

/// What became of a write.
enum class Wrote {
  done,
  full,    ///< the kernel has no room for it right now
  down,    ///< the device is taken down
  gone,    ///< the device is not there any more
  refused  ///< this frame is not to its taste
};

/// Puts a tag into the frame whose addresses begin at `frame`, four bytes before which are free,
/// and moves what `offload` says along. Returns where the frame begins then. In memory the tag's
/// protocol comes first.
std::uint8_t* put_tag(std::uint8_t* frame, const sw::VlanTag& tag, sw::Offload& offload) noexcept;

/// Memory for the frames of one burst, and for one that has more parts than a write takes.
class FrameIo {
 public:
  FrameIo();

  void begin() noexcept { used_ = 0; }
  /// Reads frames until none waits, the burst is full or the memory is used up. `header`: bytes
  /// before each. Those from `reflected` are left out. Returns 0 or errno; EAGAIN is none.
  int read(int fd, std::size_t header, const sw::Mac& reflected, sw::Burst& burst) noexcept;
  std::uint64_t left_out() const noexcept { return left_out_; }
  /// The same for IP packets: fill(packet, eth) fills in an Ethernet header for each, or says false
  /// and it is dropped.
  template <typename Fill>
  int read_packets_of_ip(int fd, std::size_t header, sw::Burst& burst, Fill&& fill) noexcept {
    for (int budget = static_cast<int>(sw::Burst::kFrames); budget > 0; --budget) {
      Packet p;
      if (const int err = read_packet(fd, header, burst, p); err != 0) return err;
      if (!p.at) break;
      sw::EthHeader eth{};
      if (!fill(std::span<const std::uint8_t>(p.at + sizeof eth, p.size), eth)) continue;
      keep(p, eth, burst);
    }
    return 0;
  }
  /// One frame of a packet socket with PACKET_AUXDATA, while has_room(): a tag that the device took
  /// off is put back. Returns 0 or errno.
  int read_tagged(int fd, std::size_t header, sw::Burst& burst) noexcept;
  bool has_room() const noexcept;
  /// Without its first `skip` bytes, which lie in its head.
  Wrote write(int fd, std::size_t header, const sw::Frame& frame, std::size_t skip = 0) noexcept;

 private:
  /// An IP packet with room for an Ethernet header before it.
  struct Packet {
    std::uint8_t* at = nullptr;  ///< where the frame starts; null: none waits, or no room is left
    std::size_t size = 0;        ///< of the packet
    sw::Offload offload;
  };
  int read_packet(int fd, std::size_t header, sw::Burst& burst, Packet& packet) noexcept;
  void keep(const Packet& packet, const sw::EthHeader& eth, sw::Burst& burst) noexcept;

  std::unique_ptr<std::uint8_t[]> memory_;
  std::size_t used_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace rp::tap
