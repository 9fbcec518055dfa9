// SPDX-License-Identifier: BSD-3-Clause
// traffic_control.h - what tc does, over netlink: a device's ingress sent elsewhere, and a rate.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "tap/netlink.h"

namespace rp::tap {

/// All that comes in at a device goes to another's egress, until this goes.
class IngressRedirect {
 public:
  IngressRedirect() = default;
  /// `netlink` outlives it. Throws Error that starts with `what`, and leaves nothing behind: busy
  /// when the device has an ingress queue of somebody's already, unsupported when the kernel lacks
  /// a part (the sentence names it).
  IngressRedirect(Netlink& netlink, unsigned from, unsigned to, const std::string& what);
  IngressRedirect(IngressRedirect&& other) noexcept
      : netlink_(other.netlink_), from_(std::exchange(other.from_, 0)) {}
  IngressRedirect& operator=(IngressRedirect&& other) noexcept {
    remove();
    netlink_ = other.netlink_;
    from_ = std::exchange(other.from_, 0);
    return *this;
  }
  ~IngressRedirect() { remove(); }

 private:
  void remove() noexcept;

  Netlink* netlink_ = nullptr;
  unsigned from_ = 0;
};

/// What leaves the device leaves at `bits` per second, `burst` bytes at once at most; 50 ms of it
/// may wait (a token bucket, tbf). Throws Error as above. Goes with the device.
void limit_rate(Netlink& netlink, unsigned index, std::uint64_t bits, std::uint32_t burst,
                const std::string& what);

}  // namespace rp::tap
