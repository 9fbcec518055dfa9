// SPDX-License-Identifier: BSD-3-Clause
// guard.h - the one gate between C++ and the C ABI: exceptions become codes and sentences.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>

#include "api/ringplug.h"
#include "base/error.h"

namespace rp::api {

/// Copies a sentence into `to`: no control characters, as it may quote what a user or a file gave,
/// and no character cut in half.
inline void copy_sentence(char* to, std::size_t size, const char* sentence) noexcept {
  const std::size_t length = std::strlen(sentence);
  std::size_t n = std::min(length, size - 1);
  const auto continues = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  while (n < length && n > 0 && continues(sentence[n])) --n;
  const auto printable = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  };
  std::transform(sentence, sentence + n, to, printable);
  to[n] = 0;
}

/// The first version's rp_error. Frozen: hosts built then hold one of this size.
inline constexpr std::size_t kFirstMessage = 500;
inline constexpr std::size_t kFirstError = offsetof(rp_error, message) + kFirstMessage;
static_assert(sizeof rp_error::message == kFirstMessage && sizeof(rp_error) >= kFirstError);

inline int fail(rp_error* err, int code, const char* sentence) noexcept {
  if (err && err->size >= kFirstError) {
    err->code = code;
    copy_sentence(err->message, kFirstMessage, sentence);
  }
  return code;
}

/// Runs `body`, which throws or succeeds.
template <typename Body>
int guarded(rp_error* err, Body&& body) noexcept {
  try {
    body();
    return RP_OK;
  } catch (const Error& e) {
    return fail(err, -static_cast<int>(e.code()), e.what());
  } catch (const std::bad_alloc&) {
    return fail(err, RP_ERESOURCES, "out of memory");
  } catch (const std::exception& e) {
    return fail(err, RP_EINTERNAL, e.what());
  } catch (...) {
    return fail(err, RP_EINTERNAL, "an unknown exception");
  }
}

/// The host's struct over our defaults: what a caller of an older version does not know keeps its
/// default, what a newer one adds is not looked at.
template <typename T>
T versioned(const T* given, const T& defaults) {
  T value = defaults;
  if (!given) return value;
  if (given->size < sizeof given->size)
    throw Error(Errc::invalid, "the options' size field is not set; use the RP_*_INIT macro");
  std::memcpy(&value, given, std::min(given->size, sizeof(T)));
  value.size = sizeof(T);
  return value;
}

}  // namespace rp::api
