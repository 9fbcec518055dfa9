// SPDX-License-Identifier: BSD-3-Clause
// lost_memory.h - surviving a file that is cut short while it is mapped.
//
// A touch of a page past the end of its file raises SIGBUS on the thread that touches. The library
// handles no signals; a program whose whole business is a switch installs a handler that asks here.
#pragma once

#include <atomic>
#include <cstddef>

namespace rp::backend {

/// A mapping whose file another process may cut short. It registers itself while it lives.
class WatchedMapping {
 public:
  WatchedMapping(void* base, std::size_t size) noexcept;
  ~WatchedMapping();
  WatchedMapping(WatchedMapping&&) = delete;

  /// True once its pages were replaced: nothing in it is the guest's any more.
  bool lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  friend bool replace_lost_memory(const void* address) noexcept;

  char* const base_;
  const std::size_t size_;
  std::atomic<bool> lost_{false};
  WatchedMapping *next_ = nullptr, *previous_ = nullptr;
};

/// For a SIGBUS handler: puts zeroed pages of our own where the mapping around `address` was, so
/// that the thread can go on, and marks it lost. False: it is no watched mapping's. Any thread;
/// async-signal-safe.
bool replace_lost_memory(const void* address) noexcept;

}  // namespace rp::backend
