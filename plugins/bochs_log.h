// SPDX-License-Identifier: BSD-3-Clause
// bochs_log.h - carries ringplug's sentences from its threads to Bochs' log.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <mutex>

#include "api/ringplug.h"
#include "plugins/bochs_abi.h"

namespace rp::bochs {

/// Sentences that wait for Bochs' thread, as its log is that thread's alone. The first few of a
/// rush are kept: they say what began it.
class Log {
 public:
  /// An rp_log_fn; any thread.
  static void add(void* self, int level, const char* sentence) {
    if (level > RP_LOG_INFO) return;
    auto& log = *static_cast<Log*>(self);
    const std::lock_guard lock(log.mutex_);
    if (log.count_ == kMost) return;
    Entry& entry = log.entries_[log.count_++];
    entry.level = level;
    std::snprintf(entry.text.data(), entry.text.size(), "%s", sentence);
    log.waiting_.store(true, std::memory_order_release);
  }

  /// On Bochs' thread.
  void flush(logfunctions& to) {
    if (!waiting_.load(std::memory_order_acquire)) return;
    std::array<Entry, kMost> said{};
    std::size_t n;
    {
      const std::lock_guard lock(mutex_);
      n = count_;
      std::copy_n(entries_.begin(), n, said.begin());
      count_ = 0;
      waiting_.store(false, std::memory_order_relaxed);
    }
    // Not under the lock: Bochs may ask its user in there, or end.
    for (std::size_t i = 0; i < n; ++i) {
      if (said[i].level == RP_LOG_INFO)
        to.info("ringplug: %s", said[i].text.data());
      else
        to.error("ringplug: %s", said[i].text.data());
    }
  }

 private:
  static constexpr std::size_t kMost = 8;
  struct Entry {
    int level;
    std::array<char, 500> text;
  };

  std::mutex mutex_;
  std::atomic<bool> waiting_{false};
  std::size_t count_ = 0;
  std::array<Entry, kMost> entries_;
};

}  // namespace rp::bochs
