// SPDX-License-Identifier: BSD-3-Clause
// frame_queue.h - a bounded FIFO of frames in one block of memory.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <utility>

namespace rp::sw {

/// Frames are contiguous and keep their place until pop(). Positions start over whenever the queue
/// runs empty, so that a queue that is rarely long stays in the cache. The block costs memory only
/// as far as it was used.
class FrameQueue {
 public:
  /// `bytes`: less than 4 GiB. Throws std::bad_alloc.
  FrameQueue(std::size_t bytes, std::size_t frames)
      : places_(std::make_unique_for_overwrite<Place[]>(frames)),
        most_(frames),
        bytes_(map(bytes)),
        capacity_(bytes) {}
  ~FrameQueue() { ::munmap(bytes_, capacity_); }
  FrameQueue(const FrameQueue&) = delete;
  FrameQueue& operator=(const FrameQueue&) = delete;

  /// Copies the frame in, with a note of the caller's. False: no room.
  bool push(std::span<const std::uint8_t> frame, std::uint32_t note = 0) noexcept {
    std::uint8_t* to = add(frame.size(), note);
    if (to) std::memcpy(to, frame.data(), frame.size());
    return to != nullptr;
  }
  /// The place of a new frame of `len` bytes, which the caller writes. Null: no room.
  std::uint8_t* add(std::size_t len, std::uint32_t note = 0) noexcept {
    if (count_ == most_ || len == 0) return nullptr;
    // Free is [end_, capacity_) and [0, oldest) or, once the frames wrap around, [end_, oldest).
    const std::size_t oldest = count_ == 0 ? 0 : places_[first_].offset;
    std::size_t at = end_;
    if (count_ != 0 && end_ <= oldest) {
      if (oldest - end_ < len) return nullptr;
    } else if (capacity_ - end_ < len) {
      if (oldest < len) return nullptr;
      at = 0;
    }
    places_[(first_ + count_++) % most_] = {at, static_cast<std::uint32_t>(len), note};
    end_ = at + len;
    used_ = std::max(used_, end_);
    return bytes_ + at;
  }
  std::size_t size() const noexcept { return count_; }
  bool empty() const noexcept { return count_ == 0; }
  /// The i-th frame in the queue.
  std::span<const std::uint8_t> at(std::size_t i) const noexcept {
    const auto& f = places_[(first_ + i) % most_];
    return {bytes_ + f.offset, f.len};
  }
  /// The caller's note of the i-th.
  std::uint32_t note(std::size_t i) const noexcept { return places_[(first_ + i) % most_].note; }
  /// The youngest frame, to be overwritten by one of the same length. Call only when not empty().
  std::span<std::uint8_t> back() noexcept {
    const auto& f = places_[(first_ + count_ - 1) % most_];
    return {bytes_ + f.offset, f.len};
  }
  void pop(std::size_t n) noexcept {
    first_ = (first_ + n) % most_;
    count_ -= n;
    if (count_ == 0) first_ = end_ = 0;
  }
  /// Holds so many frames at most from here on, at least one; the youngest beyond them are lost.
  /// Returns how many. Throws std::bad_alloc and has changed nothing.
  std::size_t resize(std::size_t frames) {
    auto places = std::make_unique_for_overwrite<Place[]>(frames);
    const std::size_t kept = std::min(count_, frames), lost = count_ - kept;
    for (std::size_t i = 0; i < kept; ++i) places[i] = places_[(first_ + i) % most_];
    if (lost != 0) end_ = places[kept - 1].offset + places[kept - 1].len;
    places_ = std::move(places);
    most_ = frames;
    first_ = 0;
    count_ = kept;
    return lost;
  }
  /// Gives memory back when the queue is empty and was long; a system call then, so not for a path
  /// that frames take.
  void trim() noexcept {
    if (count_ != 0 || used_ <= kKept) return;
    ::madvise(bytes_, capacity_, MADV_DONTNEED);
    used_ = 0;
  }

 private:
  static constexpr std::size_t kKept = std::size_t{64} << 10;
  struct Place {
    std::size_t offset;
    std::uint32_t len, note;
  };

  static std::uint8_t* map(std::size_t bytes) {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    return static_cast<std::uint8_t*>(p);
  }

  /// A ring: memory that no frame reached is not touched.
  std::unique_ptr<Place[]> places_;
  std::size_t most_;
  std::uint8_t* bytes_;
  std::size_t capacity_, end_ = 0, first_ = 0, count_ = 0;
  std::size_t used_ = 0;  ///< the furthest end since the last trim()
};

}  // namespace rp::sw
