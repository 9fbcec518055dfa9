// SPDX-License-Identifier: BSD-3-Clause
// datagram_buffers.cc - maps the memory and lays messages over it.
#include "sockets/datagram_buffers.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace rp::sockets {
namespace {

/// From one frame to the next: whole pages, so that what no frame reached costs no memory, and a
/// little more, so that the beginnings of frames don't share the cache's sets.
constexpr std::size_t kStride = std::size_t{17} * 4096 + 192;
static_assert(kStride > sw::kMaxFrame);
/// Frames up to this go out in one part.
constexpr std::size_t kSmall = 2048;
constexpr std::size_t kBytes = DatagramBuffers::kFrames * (kStride + kSmall) + sw::kMaxFrame;
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

void DatagramBuffers::put_parts(std::size_t i, const sw::Frame& f) noexcept {
  msghdr& m = out_[i].msg_hdr;
  m.msg_iov = &out_bytes_[out_parts_];
  m.msg_iovlen = f.body.size() + 1;
  out_bytes_[out_parts_++] = {const_cast<std::uint8_t*>(f.head.data()), f.head_len};
  for (const sw::Part& p : f.body)
    out_bytes_[out_parts_++] = {const_cast<std::uint8_t*>(p.data), p.len};
}

/// Where the frame lies as a whole, but for its head's own copy: it came in here. Null: it did not.
std::uint8_t* DatagramBuffers::place_of(const sw::Frame& f) noexcept {
  if (f.body.size() != 1) return nullptr;
  const std::uint8_t* body = f.body[0].data;
  if (body < memory_ || body >= memory_ + kFrames * kStride) return nullptr;
  const auto at = static_cast<std::size_t>(body - memory_);
  return at % kStride >= f.head_len ? memory_ + at - f.head_len : nullptr;
}

std::size_t DatagramBuffers::fill(std::span<const sw::Frame* const> frames) noexcept {
  std::uint8_t* const small = memory_ + kFrames * kStride;
  std::uint8_t* const large = small + kFrames * kSmall;
  bool large_used = false;
  out_parts_ = kFrames;  // the first are put()'s
  std::size_t n = 0;
  for (; n < frames.size() && n < kFrames; ++n) {
    const sw::Frame& f = *frames[n];
    const std::size_t parts = f.body.size() + 1;
    if (parts == 1) {
      put(n, f.head_bytes());
    } else if (std::uint8_t* whole = place_of(f)) {
      std::memcpy(whole, f.head.data(), f.head_len);
      put(n, {whole, f.len});
    } else if (f.len <= kSmall) {
      // A short copy costs less than the kernel's look at a second part.
      f.copy_to(small + n * kSmall);
      put(n, {small + n * kSmall, f.len});
    } else if (parts <= kMostParts && parts <= out_bytes_.size() - out_parts_) {
      put_parts(n, f);
    } else if (!large_used) {
      f.copy_to(large);
      put(n, {large, f.len});
      large_used = true;
    } else {
      break;  // until the next call
    }
  }
  return n;
}

}  // namespace rp::sockets
