// SPDX-License-Identifier: BSD-3-Clause
// fork_mark.h - tells without a system call whether we are still in the process that made it.
#pragma once

namespace rp {

class ForkMark {
 public:
  /// Throws Error.
  ForkMark();
  ~ForkMark();
  ForkMark(const ForkMark&) = delete;
  ForkMark& operator=(const ForkMark&) = delete;

  /// False in a child after fork().
  bool same_process() const noexcept { return *word_ == 1; }

 private:
  /// One page that the kernel clears in children (MADV_WIPEONFORK).
  volatile unsigned* word_;
};

}  // namespace rp
