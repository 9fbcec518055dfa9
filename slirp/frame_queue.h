// SPDX-License-Identifier: BSD-3-Clause
// frame_queue.h - a bounded FIFO of frames in one block of memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

namespace rp::slirp {

/// Frames are contiguous and keep their place until pop(). Positions start over whenever the queue
/// runs empty, so that a queue that is rarely long stays in the cache.
class FrameQueue {
 public:
  FrameQueue(std::size_t bytes, std::size_t frames)
      : bytes_(new std::uint8_t[bytes]), capacity_(bytes), frames_(frames) {}

  /// Copies the frame in. False: no room.
  bool push(std::span<const std::uint8_t> frame) noexcept {
    if (count_ == frames_.size() || frame.empty()) return false;
    // Free is [end_, capacity_) and [0, oldest) or, once the frames wrap around, [end_, oldest).
    const std::size_t oldest = count_ == 0 ? 0 : frames_[first_].offset;
    std::size_t at = end_;
    if (count_ != 0 && end_ <= oldest) {
      if (oldest - end_ < frame.size()) return false;
    } else if (capacity_ - end_ < frame.size()) {
      if (oldest < frame.size()) return false;
      at = 0;
    }
    std::memcpy(bytes_.get() + at, frame.data(), frame.size());
    frames_[(first_ + count_++) % frames_.size()] = {at, frame.size()};
    end_ = at + frame.size();
    return true;
  }
  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  /// The i-th frame in the queue.
  std::span<const std::uint8_t> at(std::size_t i) const noexcept {
    const auto& f = frames_[(first_ + i) % frames_.size()];
    return {bytes_.get() + f.offset, f.len};
  }
  /// The youngest frame, to be overwritten by one of the same length. Call only when not empty().
  std::span<std::uint8_t> back() noexcept {
    const auto& f = frames_[(first_ + count_ - 1) % frames_.size()];
    return {bytes_.get() + f.offset, f.len};
  }
  void pop(std::size_t n) noexcept {
    first_ = (first_ + n) % frames_.size();
    count_ -= n;
    if (count_ == 0) end_ = 0;
  }

 private:
  struct Place {
    std::size_t offset, len;
  };
  std::unique_ptr<std::uint8_t[]> bytes_;
  std::size_t capacity_, end_ = 0, first_ = 0, count_ = 0;
  std::vector<Place> frames_;
};

}  // namespace rp::slirp
