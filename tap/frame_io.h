// SPDX-License-Identifier: BSD-3-Clause
// frame_io.h - one frame a system call, with its virtio_net_hdr in front, from and to a descriptor.
#pragma once

#include <memory>
#include <span>

#include "switch/frame.h"

namespace rp::tap {

/// What became of a write.
enum class Wrote {
  done,
  full,    ///< the kernel has no room for it right now
  down,    ///< the device is taken down
  gone,    ///< the device is not there any more
  refused  ///< this frame is not to its taste
};

/// Memory for the frames of one burst, and for one that has more parts than a write takes.
class FrameIo {
 public:
  FrameIo();

  void begin() noexcept { used_ = 0; }
  /// Reads frames until none waits, the burst is full or the memory is used up. `header`: bytes
  /// before each. Those from `reflected` are left out. Returns 0 or errno; EAGAIN is none.
  int read(int fd, std::size_t header, const sw::Mac& reflected, sw::Burst& burst) noexcept;
  std::uint64_t left_out() const noexcept { return left_out_; }
  /// The same for a packet socket with PACKET_AUXDATA: tags that the device took off are put back.
  int read_packets(int fd, std::size_t header, sw::Burst& burst) noexcept;
  Wrote write(int fd, std::size_t header, const sw::Frame& frame) noexcept;

 private:
  std::unique_ptr<std::uint8_t[]> memory_;
  std::size_t used_ = 0;
  std::uint64_t left_out_ = 0;
};

}  // namespace rp::tap
