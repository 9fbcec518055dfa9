// SPDX-License-Identifier: BSD-3-Clause
// frame_io.cc - read() and writev() of frames.
#include "tap/frame_io.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstring>
#include <optional>

#include "tap/packet_socket.h"

namespace rp::tap {
namespace {

/// One frame at its longest, with its header, in whole cache lines.
constexpr std::size_t kSlot = (sw::kMaxFrame + kMaxHeader + 63) / 64 * 64;
/// Small enough for the second-level cache, which the frames leave from; 7 at their longest.
constexpr std::size_t kMemory = 7 * kSlot;
/// Parts that one writev() takes beside header and head.
constexpr std::size_t kMaxParts = IOV_MAX - 2;

Wrote meaning_of(int err) noexcept {
  switch (err) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
      return Wrote::full;
    case EIO:
    case ENETDOWN:
      return Wrote::down;
    case EBADFD:
    case ENXIO:
    case ENODEV:
      return Wrote::gone;
    default:
      return Wrote::refused;
  }
}

/// The tag that a device took off a frame.
std::optional<sw::VlanTag> tag_of(const msghdr& m) noexcept {
  const cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (!c || c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA) return std::nullopt;
  tpacket_auxdata aux;
  std::memcpy(&aux, CMSG_DATA(c), sizeof aux);
  return tag_taken_off(aux);
}

}  // namespace

std::uint8_t* put_tag(std::uint8_t* frame, const sw::VlanTag& tag, sw::Offload& offload) noexcept {
  std::uint8_t* start = frame - sizeof tag;
  std::memmove(start, frame, offsetof(sw::EthHeader, type));
  std::memcpy(start + offsetof(sw::EthHeader, type), &tag.type, sizeof tag.type);
  std::memcpy(start + sizeof(sw::EthHeader), &tag.tci, sizeof tag.tci);
  if (offload.needs_csum())
    offload.csum_start = static_cast<std::uint16_t>(offload.csum_start + sizeof tag);
  return start;
}

FrameIo::FrameIo() : memory_(new std::uint8_t[kMemory]) {}

int FrameIo::read(int fd, std::size_t header, const sw::Mac& reflected, sw::Burst& burst) noexcept {
  const bool filter = !reflected.is_zero();
  while (!burst.full() && has_room()) {
    std::uint8_t* at = memory_.get() + used_;
    const ssize_t got = ::read(fd, at, header + sw::kMaxFrame);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno == EAGAIN ? 0 : errno;
    const auto size = static_cast<std::size_t>(got);
    if (size <= header) return 0;
    if (filter && size >= header + sizeof(sw::EthHeader) &&
        std::memcmp(at + header + offsetof(sw::EthHeader, src), &reflected, sizeof reflected) ==
            0) {
      ++left_out_;
      continue;
    }
    if (!burst.add_own({at + header, size - header})) return 0;
    if (header >= sizeof(sw::Offload))
      std::memcpy(&burst[burst.size() - 1].offload, at, sizeof(sw::Offload));
    used_ += (size + 63) / 64 * 64;
  }
  return 0;
}

bool FrameIo::has_room() const noexcept {
  return kMemory - used_ >= kSlot;
}

int FrameIo::read_tagged(int fd, std::size_t header, sw::Burst& burst) noexcept {
  // Room in front of the frame, to move its addresses to when a tag comes between.
  std::uint8_t* at = memory_.get() + used_ + sizeof(sw::VlanTag);
  alignas(8) std::array<std::uint8_t, kMaxHeader> front{};
  iovec io[2] = {{front.data(), header}, {at, sw::kMaxFrame}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(tpacket_auxdata))];
  msghdr m{};
  m.msg_iov = header != 0 ? io : io + 1;
  m.msg_iovlen = header != 0 ? 2 : 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  ssize_t got;
  while ((got = recvmsg(fd, &m, 0)) < 0 && errno == EINTR) {
  }
  if (got < 0) return errno;
  std::size_t size =
      static_cast<std::size_t>(got) - std::min(header, static_cast<std::size_t>(got));
  sw::Offload offload;
  std::memcpy(&offload, front.data(), sizeof offload);
  if (const auto tag = tag_of(m); tag && size >= sizeof(sw::EthHeader)) {
    at = put_tag(at, *tag, offload);
    size += sizeof *tag;
  }
  if (size == 0 || !burst.add_own({at, size})) return 0;
  if (header != 0) burst[burst.size() - 1].offload = offload;
  used_ += (size + sizeof(sw::VlanTag) + 63) / 64 * 64;
  return 0;
}

int FrameIo::read_packet(int fd, std::size_t header, sw::Burst& burst, Packet& p) noexcept {
  if (burst.full() || burst.free_parts() == 0 || !has_room()) return 0;
  std::uint8_t* at = memory_.get() + used_;
  alignas(8) std::array<std::uint8_t, kMaxHeader> front{};
  const iovec io[2] = {{front.data(), header},
                       {at + sizeof(sw::EthHeader), sw::kMaxFrame - sizeof(sw::EthHeader)}};
  ssize_t got;
  while ((got = readv(fd, header != 0 ? io : io + 1, header != 0 ? 2 : 1)) < 0 && errno == EINTR) {
  }
  if (got < 0) return errno == EAGAIN ? 0 : errno;
  if (static_cast<std::size_t>(got) <= header) return 0;
  p.at = at;
  p.size = static_cast<std::size_t>(got) - header;
  std::memcpy(&p.offload, front.data(), sizeof p.offload);
  return 0;
}

void FrameIo::keep(const Packet& p, const sw::EthHeader& eth, sw::Burst& burst) noexcept {
  std::memcpy(p.at, &eth, sizeof eth);
  const std::size_t size = p.size + sizeof eth;
  burst.add_own({p.at, size});
  sw::Offload& o = burst[burst.size() - 1].offload;
  o = p.offload;
  if (o.needs_csum()) o.csum_start = static_cast<std::uint16_t>(o.csum_start + sizeof eth);
  if (o.is_gso()) o.hdr_len = static_cast<std::uint16_t>(o.hdr_len + sizeof eth);
  used_ += (size + 63) / 64 * 64;
}

Wrote FrameIo::write(int fd, std::size_t header, const sw::Frame& f, std::size_t skip) noexcept {
  if (f.head_len < skip) return Wrote::refused;
  alignas(8) std::array<std::uint8_t, kMaxHeader> front{};
  sw::Offload offload = f.offload;
  if (offload.needs_csum())
    offload.csum_start = static_cast<std::uint16_t>(offload.csum_start - skip);
  if (offload.is_gso()) offload.hdr_len = static_cast<std::uint16_t>(offload.hdr_len - skip);
  std::memcpy(front.data(), &offload, sizeof offload);
  std::array<iovec, 8> few;
  std::array<iovec, IOV_MAX> many;
  if (f.body.size() > kMaxParts) return Wrote::refused;
  iovec* io = f.body.size() + 2 <= few.size() ? few.data() : many.data();
  std::size_t n = 0;
  if (header != 0) io[n++] = {front.data(), header};
  io[n++] = {const_cast<std::uint8_t*>(f.head.data()) + skip, f.head_len - skip};
  for (const sw::Part& p : f.body) io[n++] = {const_cast<std::uint8_t*>(p.data), p.len};
  for (;;) {
    if (writev(fd, io, static_cast<int>(n)) >= 0) return Wrote::done;
    if (errno != EINTR) return meaning_of(errno);
  }
}

}  // namespace rp::tap
