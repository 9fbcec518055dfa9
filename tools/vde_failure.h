// SPDX-License-Identifier: BSD-3-Clause
// vde_failure.h - why a command of the VDE console failed, and how its arguments are read.
#pragma once

#include <cerrno>
#include <charconv>
#include <string>
#include <vector>

#include "ringplug.h"

namespace rp::tools {

class VdeFailure {
 public:
  static VdeFailure of_errno(int error) { return VdeFailure(error, 0); }
  /// Of RP_E*: the errno that vde_switch gives for the same.
  explicit VdeFailure(int code) : VdeFailure(errno_of(code), 0) {}
  int error() const noexcept { return error_; }

 private:
  VdeFailure(int error, int) : error_(error) {}
  static int errno_of(int code) {
    switch (code) {
      case RP_EINVALID:
        return EINVAL;
      case RP_EUNKNOWN:
        return ENXIO;
      case RP_EBUSY:
        return EADDRINUSE;
      case RP_EDENIED:
        return EPERM;
      case RP_EUNSUPPORTED:
        return EOPNOTSUPP;
      case RP_ERESOURCES:
        return ENOSPC;
      default:
        return EIO;
    }
  }
  int error_;
};

inline const std::string& argument(const std::vector<std::string>& args, std::size_t i) {
  if (i >= args.size()) throw VdeFailure::of_errno(EINVAL);
  return args[i];
}

inline unsigned number_in(const std::vector<std::string>& args, std::size_t i, unsigned least,
                          unsigned most) {
  const std::string& text = argument(args, i);
  unsigned n = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (error != std::errc() || end != text.data() + text.size() || n < least || n > most)
    throw VdeFailure::of_errno(EINVAL);
  return n;
}

}  // namespace rp::tools
