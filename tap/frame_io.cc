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

namespace rp::tap {
namespace {

/// The longest header that linux/virtio_net.h knows (virtio_net_hdr_v1_hash) and then some.
constexpr std::size_t kMaxHeader = 32;
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

}  // namespace

FrameIo::FrameIo() : memory_(new std::uint8_t[kMemory]) {}

int FrameIo::read(int fd, std::size_t header, const sw::Mac& reflected, sw::Burst& burst) noexcept {
  const bool filter = !reflected.is_zero();
  while (!burst.full() && kMemory - used_ >= kSlot) {
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
    if (!burst.add({at + header, size - header})) return 0;
    if (header >= sizeof(sw::Offload))
      std::memcpy(&burst[burst.size() - 1].offload, at, sizeof(sw::Offload));
    used_ += (size + 63) / 64 * 64;
  }
  return 0;
}

Wrote FrameIo::write(int fd, std::size_t header, const sw::Frame& f) noexcept {
  alignas(8) std::array<std::uint8_t, kMaxHeader> front{};
  std::memcpy(front.data(), &f.offload, sizeof f.offload);
  std::array<iovec, 8> few;
  std::array<iovec, IOV_MAX> many;
  if (f.body.size() > kMaxParts) return Wrote::refused;
  iovec* io = f.body.size() + 2 <= few.size() ? few.data() : many.data();
  std::size_t n = 0;
  if (header != 0) io[n++] = {front.data(), header};
  io[n++] = {const_cast<std::uint8_t*>(f.head.data()), f.head_len};
  for (const sw::Part& p : f.body) io[n++] = {const_cast<std::uint8_t*>(p.data), p.len};
  for (;;) {
    if (writev(fd, io, static_cast<int>(n)) >= 0) return Wrote::done;
    if (errno != EINTR) return meaning_of(errno);
  }
}

}  // namespace rp::tap
