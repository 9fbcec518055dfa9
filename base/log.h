// SPDX-License-Identifier: BSD-3-Clause
// log.h - where sentences for people go: the host's callback, or GLib's structured log.
//
// Never called per frame. The library itself writes to no stream.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <string_view>

namespace rp {

enum class LogLevel : int { error = 0, warning = 1, info = 2, debug = 3 };

class Log {
 public:
  using Fn = void (*)(void* opaque, int level, const char* sentence);

  Log() = default;
  Log(Fn fn, void* opaque) noexcept : fn_(fn), opaque_(opaque) {}

  /// The sentence is its parts, texts and integers, one after the other; what is longer than 2 KiB
  /// is cut. Any thread; the callback must not call back into the object that logs.
  template <typename... Parts>
  void write(LogLevel level, const Parts&... parts) const noexcept {
    Sentence sentence;
    (sentence.add(parts), ...);
    emit(level, sentence.c_str());
  }
  template <typename... Parts>
  void error(const Parts&... parts) const noexcept {
    write(LogLevel::error, parts...);
  }
  template <typename... Parts>
  void warning(const Parts&... parts) const noexcept {
    write(LogLevel::warning, parts...);
  }
  template <typename... Parts>
  void info(const Parts&... parts) const noexcept {
    write(LogLevel::info, parts...);
  }

 private:
  /// Needs no memory of the heap: a switch that has none left says so and goes on.
  class Sentence {
   public:
    void add(std::string_view text) noexcept {
      length_ += text.copy(text_.data() + length_, text_.size() - 1 - length_);
    }
    void add(std::integral auto number) noexcept {
      std::array<char, 24> digits;
      const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
      add(std::string_view(digits.data(), end));
    }
    const char* c_str() noexcept {
      text_[length_] = '\0';
      return text_.data();
    }

   private:
    std::array<char, 2048> text_;
    std::size_t length_ = 0;
  };

  void emit(LogLevel level, const char* sentence) const noexcept;

  Fn fn_ = nullptr;
  void* opaque_ = nullptr;
};

}  // namespace rp
