// SPDX-License-Identifier: BSD-3-Clause
// guest_memory.cc - mappings and the checks that regions must pass.
#include "backend/guest_memory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "base/error.h"

namespace rp::backend {
namespace {

/// What an offset into the file is a multiple of when it is mapped: a page, or a huge one.
std::uint64_t page_of(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) throw_errno("looking at shared memory", errno);
  const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const auto block = static_cast<std::uint64_t>(st.st_blksize);
  return block > page && (block & (block - 1)) == 0 ? block : page;
}

}  // namespace

std::uint64_t check_file(int fd, std::uint64_t offset, std::uint64_t size) {
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
    throw Error(Errc::invalid, "the descriptor of shared memory is no file");
  const auto length = static_cast<std::uint64_t>(st.st_size);
  if (size == 0 || offset > length || size > length - offset)
    throw Error(Errc::invalid, "a memory region reaches past its file");
  return std::uint64_t{st.st_ino} ^ std::uint64_t{st.st_dev} << 48;
}

Mapping::Mapping(int fd, std::size_t size, std::uint64_t offset) : size_(size) {
  const std::uint64_t page = page_of(fd);
  lead_ = offset % page;
  mapped_ = (lead_ + size + page - 1) / page * page;
  void* p = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                 static_cast<off_t>(offset - lead_));
  if (p == MAP_FAILED) throw_errno("mapping shared memory", errno);
  base_ = static_cast<std::uint8_t*>(p);
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || !(seals & F_SEAL_SHRINK))
    watched_ = std::make_unique<WatchedMapping>(base_, mapped_);
}

Mapping::Mapping(Mapping&& other) noexcept {
  *this = std::move(other);
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(base_, other.base_);
  std::swap(lead_, other.lead_);
  std::swap(watched_, other.watched_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

Mapping::~Mapping() {
  watched_.reset();
  if (base_) munmap(base_, mapped_);
}

void GuestMemory::add(std::uint64_t address, std::uint64_t user,
                      std::shared_ptr<const Mapping> mapping) {
  const std::uint64_t size = mapping->size(), last = address + (size - 1);
  if (size == 0 || last < address || user + (size - 1) < user)
    throw Error(Errc::invalid, "a memory region is empty or wraps around the address space");
  for (const Region& r : regions_) {
    if (address <= r.address + (r.size - 1) && r.address <= last)
      throw Error(Errc::invalid, "two memory regions overlap");
  }
  std::uint8_t* data = mapping->data();
  regions_.push_back({address, size, data, user, std::move(mapping)});
}

std::optional<std::uint64_t> GuestMemory::guest_address(std::uint64_t user) const noexcept {
  for (const Region& r : regions_) {
    if (user >= r.user && user - r.user < r.size) return r.address + (user - r.user);
  }
  return std::nullopt;
}

void GuestMemory::mark(const std::uint8_t* p, std::uint64_t len) const noexcept {
  constexpr std::uint64_t kLogPage = 4096;
  const auto region = std::find_if(regions_.begin(), regions_.end(), [&](const Region& r) {
    return p >= r.data && static_cast<std::uint64_t>(p - r.data) < r.size;
  });
  if (region == regions_.end() || len == 0) return;
  const std::uint64_t first = region->address + static_cast<std::uint64_t>(p - region->data);
  for (std::uint64_t page = first / kLogPage; page <= (first + (len - 1)) / kLogPage; ++page) {
    // A bitmap too short for the memory is the front end's loss.
    if (page / 8 >= log_->size()) return;
    std::atomic_ref<std::uint8_t>(log_->data()[page / 8])
        .fetch_or(static_cast<std::uint8_t>(1u << page % 8), std::memory_order_release);
  }
}

}  // namespace rp::backend
