// SPDX-License-Identifier: BSD-3-Clause
// error.cc - turns errno into an Error.
#include "base/error.h"

#include <cerrno>
#include <system_error>

namespace rp {

void throw_errno(const std::string& what, int err) {
  Errc code = Errc::system;
  switch (err) {
    case EACCES:
    case EPERM:
      code = Errc::denied;
      break;
    case ENOENT:
    case ENODEV:
    case ENXIO:
      code = Errc::not_found;
      break;
    case EADDRINUSE:
    case EBUSY:
    case EEXIST:
      code = Errc::busy;
      break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOSPC:
      code = Errc::resources;
      break;
    default:
      break;
  }
  throw Error(code, what + ": " + std::generic_category().message(err));
}

}  // namespace rp
