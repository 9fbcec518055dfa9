// SPDX-License-Identifier: BSD-3-Clause
// datagram_buffers.cc - maps the memory and lays messages over it.
#include "sockets/datagram_buffers.h"

#include <sys/mman.h>

#include <cerrno>

#include "base/error.h"

namespace rp::sockets {
namespace {

/// From one frame to the next: whole pages, so that what no frame reached costs no memory, and a
/// little more, so that the beginnings of frames don't share the cache's sets.
constexpr std::size_t kStride = std::size_t{17} * 4096 + 192;
static_assert(kStride > sw::kMaxFrame);
constexpr std::size_t kBytes = (DatagramBuffers::kFrames + 1) * kStride;
/// The kernel's UIO_MAXIOV: parts of one message. A frame of more goes through memory of ours.
constexpr std::size_t kMostParts = 1024;

}  // namespace

DatagramBuffers::DatagramBuffers() {
  void* p = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw_errno("mapping memory for frames", errno);
  memory_ = static_cast<std::uint8_t*>(p);
  for (std::size_t i = 0; i < kFrames; ++i) {
    in_bytes_[i] = {memory_ + i * kStride, sw::kMaxFrame};
    in_[i].msg_hdr.msg_iov = &in_bytes_[i];
    in_[i].msg_hdr.msg_iovlen = 1;
  }
}

DatagramBuffers::~DatagramBuffers() {
  ::munmap(memory_, kBytes);
}

void DatagramBuffers::put(std::size_t i, std::span<const std::uint8_t> frame) noexcept {
  out_bytes_[i] = {const_cast<std::uint8_t*>(frame.data()), frame.size()};
  out_[i].msg_hdr.msg_iov = &out_bytes_[i];
  out_[i].msg_hdr.msg_iovlen = 1;
}

std::size_t DatagramBuffers::fill(std::span<const sw::Frame* const> frames) noexcept {
  std::size_t used = 0, n = 0;
  bool gathered = false;
  for (; n < frames.size() && n < kFrames; ++n) {
    const sw::Frame& f = *frames[n];
    msghdr& m = out_[n].msg_hdr;
    const bool gather = f.body.size() + 1 > kMostParts;
    const std::size_t parts = gather ? 1 : f.body.size() + 1;
    // There is memory to gather one frame; a second one waits for the next call.
    if (parts > out_bytes_.size() - used || (gather && gathered)) break;
    m.msg_iov = &out_bytes_[used];
    m.msg_iovlen = parts;
    if (gather) {
      std::uint8_t* to = memory_ + kFrames * kStride;
      f.copy_to(to);
      out_bytes_[used++] = {to, f.len};
      gathered = true;
      continue;
    }
    out_bytes_[used++] = {const_cast<std::uint8_t*>(f.head.data()), f.head_len};
    for (const sw::Part& p : f.body)
      out_bytes_[used++] = {const_cast<std::uint8_t*>(p.data), p.len};
  }
  return n;
}

}  // namespace rp::sockets
