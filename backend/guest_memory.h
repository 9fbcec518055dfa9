// SPDX-License-Identifier: BSD-3-Clause
// guest_memory.h - the one door to memory that a driver shares with us.
//
// translate() is the only way from a driver's address to a pointer: the whole range lies in one
// region, or there is no pointer. Overflow-safe for every 64-bit address and 32-bit length.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "backend/lost_memory.h"

namespace rp::backend {

/// One mapping of a descriptor's bytes; unmapped when it goes.
class Mapping {
 public:
  /// Maps `size` bytes at `offset`, shared and writable; neither need be aligned. Throws Error.
  Mapping(int fd, std::size_t size, std::uint64_t offset = 0);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::uint8_t* data() const noexcept { return base_ + lead_; }
  std::size_t size() const noexcept { return size_; }
  /// True once the file was cut short and a SIGBUS handler put other pages there (lost_memory.h).
  bool lost() const noexcept { return watched_ && watched_->lost(); }

 private:
  std::uint8_t* base_ = nullptr;  ///< on a page
  std::size_t lead_ = 0;          ///< bytes of that page before ours
  std::size_t size_ = 0;
  std::unique_ptr<WatchedMapping> watched_;  ///< null: the file can't shrink
  std::size_t mapped_ = 0;  ///< whole pages: huge ones are unmapped in no other measure
};

/// Tells which file it is, after checking that [offset, offset + size) lies in it. Throws Error.
std::uint64_t check_file(int fd, std::uint64_t offset, std::uint64_t size);

class GuestMemory {
 public:
  /// Adds a region that the driver knows as [address, address + mapping->size()), and that its
  /// process has at `user`. Throws Error when it is empty, wraps or overlaps another.
  void add(std::uint64_t address, std::uint64_t user, std::shared_ptr<const Mapping> mapping);
  void add(std::uint64_t address, Mapping mapping) {
    add(address, address, std::make_shared<const Mapping>(std::move(mapping)));
  }

  /// The pointer to [address, address + len), or null. A length of 0 is never translated.
  std::uint8_t* translate(std::uint64_t address, std::uint64_t len) const noexcept {
    for (const Region& r : regions_) {
      if (address < r.address) continue;
      const std::uint64_t offset = address - r.address;
      if (offset < r.size && len <= r.size - offset && len != 0) return r.data + offset;
    }
    return nullptr;
  }

  /// Notes every page that wrote() is told of in this bitmap, one bit a page of 4096 bytes
  /// (vhost-user specification, "Migration"). Null: no more.
  void set_log(std::shared_ptr<const Mapping> bitmap) noexcept { log_ = std::move(bitmap); }
  /// We wrote to [p, p + len), which translate() gave.
  void wrote(const void* p, std::uint64_t len) const noexcept {
    if (log_) [[unlikely]]
      mark(static_cast<const std::uint8_t*>(p), len);
  }

  /// A region's file was cut short: nothing here is the driver's to rely on any more.
  bool lost() const noexcept {
    for (const Region& r : regions_)
      if (r.mapping->lost()) return true;
    return false;
  }

  /// The driver's address of what its process has at `user`.
  std::optional<std::uint64_t> guest_address(std::uint64_t user) const noexcept;

 private:
  struct Region {
    std::uint64_t address, size;
    std::uint8_t* data;
    std::uint64_t user;
    std::shared_ptr<const Mapping> mapping;
  };
  void mark(const std::uint8_t* p, std::uint64_t len) const noexcept;

  std::vector<Region> regions_;
  std::shared_ptr<const Mapping> log_;
};

}  // namespace rp::backend
