// SPDX-License-Identifier: BSD-3-Clause
// guard.h - the one gate between C++ and the C ABI: exceptions become codes and sentences.
#pragma once

#include <algorithm>
#include <cstring>
#include <new>

#include "api/ringplug.h"
#include "base/error.h"

namespace rp::api {

inline int fail(rp_error* err, int code, const char* sentence) noexcept {
  if (err && err->size >= sizeof(rp_error)) {
    err->code = code;
    const std::size_t n = std::min(std::strlen(sentence), sizeof err->message - 1);
    std::memcpy(err->message, sentence, n);
    err->message[n] = 0;
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
