// SPDX-License-Identifier: BSD-3-Clause
// event_signal.cc - reads of nothing whose completion is the signal.
#include "base/event_signal.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>

namespace rp {
namespace {

/// The head of what io_setup(2) maps: a ring of completions that may be taken without a call.
struct CompletionRing {
  static constexpr std::uint32_t kMagic = 0xa10a10a1;

  std::uint32_t id, entries, head, tail, magic, compatible, incompatible, header_bytes;
};

/// The ring of results is full only when threads took each other's heads back.
constexpr int kTries = 100;

std::mutex guard;
std::weak_ptr<EventSignal> current;  ///< under `guard`

}  // namespace

std::shared_ptr<EventSignal> EventSignal::shared() {
  const std::scoped_lock lock(guard);
  auto one = current.lock();
  if (!one) current = one = std::make_shared<EventSignal>();
  return one;
}

EventSignal::EventSignal() noexcept : empty_(memfd_create("ringplug-empty", MFD_CLOEXEC)) {
  if (!empty_ || syscall(SYS_io_setup, 1, &context_) != 0) {
    context_ = 0;
    return;
  }
  const auto* ring = reinterpret_cast<const CompletionRing*>(context_);
  if (ring->magic == CompletionRing::kMagic && ring->incompatible == 0) return;
  syscall(SYS_io_destroy, context_);
  context_ = 0;
}

EventSignal::~EventSignal() {
  if (context_ != 0) syscall(SYS_io_destroy, context_);
}

bool EventSignal::submit(int eventfd) noexcept {
  if (context_ == 0) return false;
  char byte;
  iocb read{};
  read.aio_lio_opcode = IOCB_CMD_PREAD;
  read.aio_fildes = static_cast<std::uint32_t>(empty_.get());
  read.aio_buf = reinterpret_cast<std::uintptr_t>(&byte);
  read.aio_nbytes = sizeof byte;
  read.aio_flags = IOCB_FLAG_RESFD;
  read.aio_resfd = static_cast<std::uint32_t>(eventfd);
  iocb* list[] = {&read};
  auto* ring = reinterpret_cast<CompletionRing*>(context_);
  for (int tries = 0; tries < kTries; ++tries) {
    const bool done = syscall(SYS_io_submit, context_, 1L, list) == 1;
    if (!done && errno != EAGAIN) return false;
    // Another thread may put an older head there. A later one of either puts it right.
    const std::uint32_t tail = std::atomic_ref(ring->tail).load(std::memory_order_acquire);
    std::atomic_ref(ring->head).store(tail, std::memory_order_release);
    if (done) return true;
  }
  return false;
}

void EventSignal::signal(int eventfd) noexcept {
  if (submit(eventfd)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto n = ::write(eventfd, &one, sizeof one);
}

}  // namespace rp
