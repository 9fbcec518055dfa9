// SPDX-License-Identifier: BSD-3-Clause
// packet_ring.cc - TPACKET_V2's slots.
#include "tap/packet_ring.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "tap/packet_socket.h"

namespace rp::tap {
namespace {

/// A full Ethernet frame with its headers.
constexpr std::uint32_t kSlot = 2048;
/// A power of two, which the counters' wrapping asks for.
constexpr std::uint32_t kSlots = 4096;
constexpr std::uint32_t kBlock = 65536;
constexpr std::size_t kMemory = std::size_t{kSlot} * kSlots;
/// What PACKET_VNET_HDR puts before the frame.
constexpr std::size_t kVnetHeader = sizeof(sw::Offload);

std::uint32_t status_of(const std::uint8_t* slot) noexcept {
  const auto* status = reinterpret_cast<const std::uint32_t*>(slot);
  return __atomic_load_n(status, __ATOMIC_ACQUIRE);
}

}  // namespace

PacketRing::PacketRing(int fd, const std::string& what) {
  set_packet_option(fd, PACKET_VERSION, int{TPACKET_V2}, what + ": TPACKET_V2");
  set_packet_option(fd, PACKET_COPY_THRESH, 1, what + ": PACKET_COPY_THRESH");
  tpacket_req want{};
  want.tp_block_size = kBlock;
  want.tp_block_nr = kMemory / kBlock;
  want.tp_frame_size = kSlot;
  want.tp_frame_nr = kSlots;
  set_packet_option(fd, PACKET_RX_RING, want, what + ": a ring of 8 MiB for frames");
  void* memory = mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) throw_errno(what + ": mapping the ring for frames", errno);
  memory_ = static_cast<std::uint8_t*>(memory);
}

PacketRing::~PacketRing() {
  munmap(memory_, kMemory);
}

std::uint8_t* PacketRing::slot(std::uint32_t number) const noexcept {
  return memory_ + std::size_t{number % kSlots} * kSlot;
}

int PacketRing::read(int fd, FrameIo& io, sw::Burst& burst) noexcept {
  const std::uint32_t before = next_;
  while (!burst.full() && next_ - before < sw::Burst::kFrames) {
    std::uint8_t* s = slot(next_);
    const std::uint32_t status = status_of(s);
    if (!(status & TP_STATUS_USER)) break;
    tpacket2_hdr h;
    std::memcpy(&h, s, sizeof h);
    if (h.tp_snaplen == h.tp_len) {
      if (!lend(s, h, burst)) break;
    } else if (!(status & TP_STATUS_COPY)) {
      ++lost_;
    } else if (!io.has_room()) {
      break;
    } else if (io.read_tagged(fd, kVnetHeader, burst) != 0) {
      ++lost_;
    }
    ++next_;
  }
  if (next_ != before) return 0;
  // An error, such as that the device is down, is told once; till then the socket stays readable.
  int err = 0;
  socklen_t size = sizeof err;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &size) == 0 ? err : errno;
}

/// False: the burst has no room.
bool PacketRing::lend(std::uint8_t* slot, const tpacket2_hdr& h, sw::Burst& burst) noexcept {
  std::uint8_t* at = slot + h.tp_mac;
  sw::Offload offload;
  std::memcpy(&offload, at - kVnetHeader, sizeof offload);
  std::size_t size = h.tp_len;
  if (size == 0) return true;
  if (const auto tag = tag_taken_off(h); tag && size >= sizeof(sw::EthHeader)) {
    // There is room before it: what the header took.
    at = put_tag(at, *tag, offload);
    size += sizeof *tag;
  }
  if (!burst.add({at, size})) return false;
  burst[burst.size() - 1].offload = offload;
  return true;
}

void PacketRing::release() noexcept {
  for (; first_ != next_; ++first_) {
    auto* status = reinterpret_cast<std::uint32_t*>(slot(first_));
    __atomic_store_n(status, std::uint32_t{TP_STATUS_KERNEL}, __ATOMIC_RELEASE);
  }
}

}  // namespace rp::tap
