// SPDX-License-Identifier: BSD-3-Clause
// fork_mark.cc - a page that is wiped on fork.
#include "base/fork_mark.h"

#include <sys/mman.h>

#include <cerrno>

#include "base/error.h"

namespace rp {
namespace {
constexpr std::size_t kPage = 4096;
}

ForkMark::ForkMark() {
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) throw_errno("mapping a page", errno);
  madvise(page, kPage, MADV_WIPEONFORK);
  word_ = static_cast<volatile unsigned*>(page);
  *word_ = 1;
}

ForkMark::~ForkMark() {
  munmap(const_cast<unsigned*>(word_), kPage);
}

}  // namespace rp
