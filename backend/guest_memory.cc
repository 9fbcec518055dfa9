// SPDX-License-Identifier: BSD-3-Clause
// guest_memory.cc - mappings and the checks that regions must pass.
#include "backend/guest_memory.h"

#include <cerrno>
#include <utility>

#include "base/error.h"

namespace rp::backend {

Mapping::Mapping(int fd, std::size_t size, std::uint64_t offset) : size_(size) {
  void* p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, static_cast<off_t>(offset));
  if (p == MAP_FAILED) throw_errno("mapping shared memory", errno);
  data_ = static_cast<std::uint8_t*>(p);
}

Mapping::Mapping(Mapping&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Mapping::~Mapping() {
  if (data_) munmap(data_, size_);
}

void GuestMemory::add(std::uint64_t address, Mapping mapping) {
  const std::uint64_t last = address + (mapping.size() - 1);
  if (mapping.size() == 0 || last < address)
    throw Error(Errc::invalid, "a memory region is empty or wraps around the address space");
  for (const Region& r : regions_) {
    if (address <= r.address + (r.mapping.size() - 1) && r.address <= last)
      throw Error(Errc::invalid, "two memory regions overlap");
  }
  regions_.push_back({address, std::move(mapping)});
}

}  // namespace rp::backend
