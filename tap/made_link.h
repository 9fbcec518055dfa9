// SPDX-License-Identifier: BSD-3-Clause
// made_link.h - a device that was made over netlink, and is removed with this.
#pragma once

#include <utility>

#include "tap/links.h"

namespace rp::tap {

class MadeLink {
 public:
  MadeLink() = default;
  /// `netlink` outlives it.
  MadeLink(Netlink& netlink, unsigned index) : netlink_(&netlink), index_(index) {}
  MadeLink(MadeLink&& other) noexcept
      : netlink_(other.netlink_), index_(std::exchange(other.index_, 0)) {}
  MadeLink& operator=(MadeLink&& other) noexcept {
    remove();
    netlink_ = other.netlink_;
    index_ = std::exchange(other.index_, 0);
    return *this;
  }
  ~MadeLink() { remove(); }
  unsigned index() const noexcept { return index_; }

 private:
  void remove() noexcept {
    if (index_ == 0) return;
    try {
      remove_link(*netlink_, std::exchange(index_, 0), "");
    } catch (const std::exception&) {
      // Nobody is left to hear of it.
    }
  }

  Netlink* netlink_ = nullptr;
  unsigned index_ = 0;
};

}  // namespace rp::tap
