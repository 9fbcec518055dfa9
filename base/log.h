// SPDX-License-Identifier: BSD-3-Clause
// log.h - where sentences for people go: the host's callback, or GLib's structured log.
//
// Never called per frame. The library itself writes to no stream.
#pragma once

#include <string>

namespace rp {

enum class LogLevel : int { error = 0, warning = 1, info = 2, debug = 3 };

class Log {
 public:
  using Fn = void (*)(void* opaque, int level, const char* sentence);

  Log() = default;
  Log(Fn fn, void* opaque) noexcept : fn_(fn), opaque_(opaque) {}

  /// Any thread; the callback must not call back into the object that logs.
  void write(LogLevel level, const std::string& sentence) const noexcept;
  void error(const std::string& s) const noexcept { write(LogLevel::error, s); }
  void warning(const std::string& s) const noexcept { write(LogLevel::warning, s); }
  void info(const std::string& s) const noexcept { write(LogLevel::info, s); }

 private:
  Fn fn_ = nullptr;
  void* opaque_ = nullptr;
};

}  // namespace rp
