// SPDX-License-Identifier: BSD-3-Clause
// lost_memory.cc - the list of watched mappings. Process-wide, as signals are.
#include "backend/lost_memory.h"

#include <sys/mman.h>

#include <cerrno>

namespace rp::backend {
namespace {

WatchedMapping* first = nullptr;  ///< under `busy`
std::atomic_flag busy;

/// Spins: whoever holds it touches no watched memory, so that a handler never waits for its own
/// thread.
class Locked {
 public:
  Locked() noexcept {
    while (busy.test_and_set(std::memory_order_acquire)) {
    }
  }
  ~Locked() { busy.clear(std::memory_order_release); }
  Locked(Locked&&) = delete;
};

}  // namespace

WatchedMapping::WatchedMapping(void* base, std::size_t size) noexcept
    : base_(static_cast<char*>(base)), size_(size) {
  const Locked lock;
  next_ = first;
  if (next_) next_->previous_ = this;
  first = this;
}

WatchedMapping::~WatchedMapping() {
  const Locked lock;
  (previous_ ? previous_->next_ : first) = next_;
  if (next_) next_->previous_ = previous_;
}

bool replace_lost_memory(const void* address) noexcept {
  const int error = errno;
  const auto* at = static_cast<const char*>(address);
  const Locked lock;
  for (WatchedMapping* m = first; m; m = m->next_) {
    if (at < m->base_ || static_cast<std::size_t>(at - m->base_) >= m->size_) continue;
    void* p = mmap(m->base_, m->size_, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
    m->lost_.store(true, std::memory_order_relaxed);
    errno = error;
    return p != MAP_FAILED;
  }
  return false;
}

}  // namespace rp::backend
