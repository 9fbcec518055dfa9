// SPDX-License-Identifier: BSD-3-Clause
// error.h - what setup code throws: a code for programs and a sentence for people.
//
// Nothing on the frame path throws. The C ABI turns an Error into an rp_error; anything else that
// escapes becomes Errc::internal there.
#pragma once

#include <exception>
#include <string>
#include <utility>

namespace rp {

/// The values are those of RP_E* in ringplug.h, negated there.
enum class Errc : int {
  invalid = 1,      ///< the caller's argument or text is wrong; the sentence names it
  unknown = 2,      ///< no such scheme, option, port
  busy = 3,         ///< the name, address or port is taken
  denied = 4,       ///< a right is missing; the sentence names it
  not_found = 5,    ///< no such file, device, peer
  unsupported = 6,  ///< this build or this host can't do it
  resources = 7,    ///< out of memory, descriptors or a configured cap
  system = 8,       ///< a system call failed; the sentence has errno's text
  closed = 9,       ///< the object is closed or belongs to another process (after fork)
  internal = 10,    ///< our own bug
};

class Error : public std::exception {
 public:
  Error(Errc code, std::string sentence) : code_(code), sentence_(std::move(sentence)) {}
  Errc code() const noexcept { return code_; }
  const char* what() const noexcept override { return sentence_.c_str(); }

 private:
  Errc code_;
  std::string sentence_;
};

/// Throws Errc::system (or the closer code that `err` means) with "what: strerror(err)".
[[noreturn]] void throw_errno(const std::string& what, int err);

}  // namespace rp
