// SPDX-License-Identifier: BSD-3-Clause
// guest_memory.h - the one door to memory that a driver shares with us.
//
// translate() is the only way from a driver's address to a pointer: the whole range lies in one
// region, or there is no pointer. Overflow-safe for every 64-bit address and 32-bit length.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rp::backend {

/// One mapping of a descriptor's bytes; unmapped when it goes.
class Mapping {
 public:
  Mapping() = default;
  /// Maps `size` bytes at `offset`, shared and writable. Throws Error.
  Mapping(int fd, std::size_t size, std::uint64_t offset = 0);
  Mapping(Mapping&& other) noexcept;
  Mapping& operator=(Mapping&& other) noexcept;
  ~Mapping();

  std::uint8_t* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0;
};

class GuestMemory {
 public:
  /// Adds a region that the driver knows as [address, address + mapping.size()). Throws Error when
  /// it is empty, wraps or overlaps another.
  void add(std::uint64_t address, Mapping mapping);

  /// The pointer to [address, address + len), or null. A length of 0 is never translated.
  std::uint8_t* translate(std::uint64_t address, std::uint64_t len) const noexcept {
    for (const Region& r : regions_) {
      if (address < r.address) continue;
      const std::uint64_t offset = address - r.address;
      if (offset < r.mapping.size() && len <= r.mapping.size() - offset && len != 0)
        return r.mapping.data() + offset;
    }
    return nullptr;
  }

 private:
  struct Region {
    std::uint64_t address;
    Mapping mapping;
  };
  std::vector<Region> regions_;
};

}  // namespace rp::backend
