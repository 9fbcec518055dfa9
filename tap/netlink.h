// SPDX-License-Identifier: BSD-3-Clause
// netlink.h - asks the kernel to make and change network devices (rtnetlink(7)), through libmnl.
//
// For setting up only: a request takes as long as the kernel is at it, as rtnetlink gives its
// answer within the call. So the sockets never block: an answer that is not there never comes. A
// socket belongs to the network namespace it was opened in, and so acts there, whoever holds it.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/fd.h"

struct nlmsghdr;
struct nlattr;

namespace rp::tap {

/// One message under way.
class Request {
 public:
  /// `type` is RTM_*, `flags` NLM_F_* beside REQUEST.
  Request(std::uint16_t type, std::uint16_t flags);
  Request(Request&&) = delete;

  /// The family's header behind the netlink header, zeroed; to be called first, once.
  template <typename T>
  T& header() {
    return *static_cast<T*>(extra(sizeof(T)));
  }
  void put(std::uint16_t type, const void* data, std::size_t size);
  void put_u8(std::uint16_t type, std::uint8_t v) { put(type, &v, sizeof v); }
  void put_u16(std::uint16_t type, std::uint16_t v) { put(type, &v, sizeof v); }
  void put_u32(std::uint16_t type, std::uint32_t v) { put(type, &v, sizeof v); }
  void put_text(std::uint16_t type, const std::string& text) {
    put(type, text.c_str(), text.size() + 1);
  }
  /// Attributes that `fill` puts lie inside one of this type.
  template <typename Fill>
  void nest(std::uint16_t type, Fill&& fill) {
    nlattr* const open = begin(type);
    fill();
    end(open);
  }
  nlmsghdr* message() noexcept { return message_; }

 private:
  void* extra(std::size_t size);
  nlattr* begin(std::uint16_t type);
  void end(nlattr* open);

  alignas(8) std::array<char, 4096> bytes_;
  nlmsghdr* message_;
};

class Netlink {
 public:
  /// A socket in this thread's namespace. Throws Error.
  Netlink() : Netlink(open_socket()) {}
  /// One that open_socket() made, maybe in another namespace.
  explicit Netlink(Fd socket) : socket_(std::move(socket)) {}

  /// Non-blocking. Throws Error.
  static Fd open_socket();

  using Answer = std::function<void(const nlmsghdr&)>;
  /// Sends the request and waits for its acknowledgement or the end of its dump; `answer` sees the
  /// messages that come before. Returns 0 or errno (ENOBUFS also when the kernel had to drop its
  /// answer, EINTR when what it dumped changed meanwhile); the kernel's own words are then in
  /// why().
  int ask(Request& request, const Answer& answer = {});
  /// As ask(). Throws Error that starts with `what` and names a right that is missing.
  void order(Request& request, const std::string& what);
  const std::string& why() const noexcept { return why_; }

 private:
  void drain() noexcept;

  Fd socket_;
  std::uint32_t sequence_ = 0;
  std::string why_;
};

/// recv() of what the kernel itself says: whoever is root in a namespace may send to sockets there.
/// What others sent is -1 with EINTR.
ssize_t receive_from_kernel(int socket, void* bytes, std::size_t size) noexcept;

/// Throws Error: what, errno's text, the kernel's words when there are any, and for a right that is
/// missing how to get along.
[[noreturn]] void refuse(const std::string& what, int err, std::string_view kernel_said = {});

}  // namespace rp::tap
