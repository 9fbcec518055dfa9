// SPDX-License-Identifier: BSD-3-Clause
// vxlan_quirk.cc - writes to the stack that the next call will have.
#include "sockets/vxlan_quirk.h"

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>

extern "C" {
#include <libvdeplug.h>
}

namespace rp::sockets {
namespace {

/// What libvdeplug's and the module's frames take is some 300.
constexpr std::size_t kBytes = 2048;

// A sanitizer would keep the array elsewhere.
__attribute__((noinline, no_sanitize("address"))) void write_below() noexcept {
  volatile std::uint64_t below[kBytes / sizeof(std::uint64_t)];
  for (auto& word : below) word = std::uint64_t{AF_INET6} * 0x0001'0001'0001'0001;
}

}  // namespace

// Nothing else may be called in between.
ssize_t vxlan_recv(vdeconn* conn, void* frame, std::size_t size) noexcept {
  write_below();
  return vde_recv(conn, frame, size, 0);
}

}  // namespace rp::sockets
