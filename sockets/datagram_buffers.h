// SPDX-License-Identifier: BSD-3-Clause
// datagram_buffers.h - the memory that frames pass through between sockets and a switch.
//
// A port needs it only during its own turn, from receive() to release(), and during send(). So all
// ports of one thread can share one: a thousand ports cost no more than one, and the frames of each
// lie where those of the last one were, in the cache.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>
#include <span>

#include "switch/frame.h"

namespace rp::sockets {

class DatagramBuffers {
 public:
  static constexpr std::size_t kFrames = sw::Burst::kFrames;

  /// Throws Error.
  DatagramBuffers();
  ~DatagramBuffers();
  DatagramBuffers(const DatagramBuffers&) = delete;
  DatagramBuffers& operator=(const DatagramBuffers&) = delete;

  /// For recvmmsg(): a message of one whole frame each. What it writes needs no clearing.
  std::span<mmsghdr, kFrames> in() noexcept { return in_; }
  /// The memory of the i-th of them, for other calls.
  std::span<std::uint8_t> room(std::size_t i) noexcept {
    return {static_cast<std::uint8_t*>(in_bytes_[i].iov_base), in_bytes_[i].iov_len};
  }
  std::span<const std::uint8_t> received(std::size_t i) const noexcept {
    return {static_cast<const std::uint8_t*>(in_bytes_[i].iov_base), in_[i].msg_len};
  }
  /// From a receive() that filled a burst to its release().
  bool lent = false;

  /// The frames as messages for sendmmsg(); returns of how many, from the first on.
  std::size_t fill(std::span<const sw::Frame* const> frames) noexcept;
  /// One message of contiguous bytes, as the i-th.
  void put(std::size_t i, std::span<const std::uint8_t> frame) noexcept;
  mmsghdr* out() noexcept { return out_.data(); }

 private:
  std::uint8_t* place_of(const sw::Frame& f) noexcept;
  void put_parts(std::size_t i, const sw::Frame& f) noexcept;

  std::uint8_t* memory_;
  std::array<mmsghdr, kFrames> in_{}, out_{};
  std::array<iovec, kFrames> in_bytes_{};
  /// A frame has a head and the parts of its body.
  std::array<iovec, sw::Burst::kParts + kFrames> out_bytes_{};
  std::size_t out_parts_ = 0;
};

}  // namespace rp::sockets
