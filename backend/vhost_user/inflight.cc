// SPDX-License-Identifier: BSD-3-Clause
// inflight.cc - sizes of the inflight memory, checked before any of it is touched.
#include "backend/vhost_user/inflight.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "backend/vring.h"
#include "base/error.h"

namespace rp::backend::vhost_user {
namespace {

/// More than a device has: front ends may count a control queue that they serve themselves.
constexpr std::uint16_t kMaxQueues = 64;

void check(const InflightDescription& d) {
  if (d.num_queues == 0 || d.num_queues > kMaxQueues || d.queue_size == 0 ||
      d.queue_size > kMaxQueueSize)
    throw Error(Errc::invalid, "inflight memory for no queues, or for more than there can be");
}

Mapping map(int fd, const InflightDescription& d) {
  check(d);
  if (d.mmap_offset % alignof(std::uint64_t) != 0 ||
      d.mmap_size < d.num_queues * inflight_bytes(false, d.queue_size))
    throw Error(Errc::invalid, "inflight memory that is misaligned or too short for its queues");
  check_file(fd, d.mmap_offset, d.mmap_size);
  const std::uint64_t most = d.num_queues * inflight_bytes(true, d.queue_size);
  return Mapping(fd, std::min(d.mmap_size, most), d.mmap_offset);
}

}  // namespace

Fd make_inflight(InflightDescription& d) {
  check(d);
  d.mmap_size = d.num_queues * inflight_bytes(true, d.queue_size);
  d.mmap_offset = 0;
  Fd fd(memfd_create("ringplug-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(d.mmap_size)) != 0 ||
      fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    throw_errno("making inflight memory", errno);
  return fd;
}

InflightArea::InflightArea(int fd, const InflightDescription& d)
    : queues_(d.num_queues), entries_(d.queue_size), mapping_(map(fd, d)) {}

InflightRegion InflightArea::region(std::size_t queue, bool packed) const {
  if (queue >= queues_) return {};
  const std::size_t bytes = inflight_bytes(packed, entries_);
  if (bytes > mapping_.size() / (queue + 1))
    throw Error(Errc::invalid, "inflight memory that is too short for packed rings");
  return {mapping_.data() + queue * bytes, entries_};
}

void InflightArea::clear() noexcept {
  std::memset(mapping_.data(), 0, mapping_.size());
}

}  // namespace rp::backend::vhost_user
