// SPDX-License-Identifier: BSD-3-Clause
// virtqueue.cc - from addresses and features to a queue, and back to a base.
#include "backend/vhost_user/virtqueue.h"

#include <sys/epoll.h>

#include "backend/vhost_user/features.h"
#include "base/error.h"

namespace rp::backend::vhost_user {
namespace {

std::uint64_t guest_address(const GuestMemory& memory, std::uint64_t user) {
  const auto address = memory.guest_address(user);
  if (!address) throw Error(Errc::invalid, "a ring's address lies in no memory region");
  return *address;
}

}  // namespace

bool Virtqueue::set_size(std::uint32_t entries) noexcept {
  if (started_ || entries == 0 || entries > kMaxQueueSize) return false;
  size_ = entries;
  return true;
}

bool Virtqueue::set_base(std::uint32_t base) noexcept {
  if (started_) return false;
  base_ = base;
  base_is_ours_ = false;
  return true;
}

void Virtqueue::set_addresses(const VringAddr& where) noexcept {
  where_ = where;
  addressed_ = true;
}

bool Virtqueue::set_kick(Fd fd) noexcept {
  epoll_event e{};
  e.events = EPOLLIN | EPOLLET;  // never read: an edge is all that a kick says
  e.data.fd = -1;
  if (fd && epoll_ctl(kicks_, EPOLL_CTL_ADD, fd.get(), &e) != 0) return false;
  unwatch();
  kick_ = std::move(fd);
  started_ = true;
  return true;
}

/// By hand: the front end holds the same open file, so that closing ours would not end the watch.
void Virtqueue::unwatch() noexcept {
  if (kick_) epoll_ctl(kicks_, EPOLL_CTL_DEL, kick_.get(), nullptr);
}

void Virtqueue::start(const GuestMemory& memory, std::uint64_t features, std::uint64_t key) {
  pause();
  if (!started_ || !addressed_ || size_ == 0) return;
  const bool mergeable = has(features, VIRTIO_NET_F_MRG_RXBUF);
  QueueSetup setup{
      .where = {static_cast<std::uint16_t>(size_), guest_address(memory, where_.desc),
                guest_address(memory, where_.avail), guest_address(memory, where_.used)},
      .features = {.event_idx = has(features, VIRTIO_RING_F_EVENT_IDX),
                   .indirect = has(features, VIRTIO_RING_F_INDIRECT_DESC)},
      .format = {.header = mergeable || has(features, VIRTIO_F_VERSION_1) ? 12u : 10u,
                 .mergeable = mergeable,
                 .csum = has(features, VIRTIO_NET_F_GUEST_CSUM)},
      .start = base_,
      .packed = has(features, VIRTIO_F_RING_PACKED),
      .state = inflight_ ? nullptr : state_,
      .key = key,
      .inflight = inflight_};
  const bool recovered = !base_is_ours_ && recover(memory, setup);
  if (to_driver_)
    queue_ = (to_guest_ = make_to_guest(memory, setup)).get();
  else
    queue_ = (from_guest_ = make_from_guest(memory, setup)).get();
  // Buffers to receive into are looked for when there is a frame for them.
  if (to_driver_) queue_->disable_notifications();
  // The driver was not told of what our predecessor did last.
  if (recovered) call();
}

/// True: another device may have been on the ring, which `setup` goes on from. A packed ring does
/// not say where that was, and front ends don't know: QEMU's sends what was true when the ring was
/// started.
bool Virtqueue::recover(const GuestMemory& memory, QueueSetup& setup) noexcept {
  // DPDK's gives the half that it has, the next available index.
  if (setup.packed && setup.start && *setup.start >> 16 == 0) *setup.start |= *setup.start << 16;
  if (setup.inflight) {  // it knows more than we do
    if (state_) state_->magic = 0;
    return true;
  }
  if (!setup.packed || !state_) return false;
  const auto position = PackedRing::recover(memory, setup.where, *state_, setup.key);
  if (position) setup.start = position;
  return position.has_value();
}

void Virtqueue::pause() noexcept {
  if (queue_) {
    base_ = queue_->position();
    base_is_ours_ = true;
  }
  short_chains_ = short_chains();
  queue_ = nullptr;
  from_guest_.reset();
  to_guest_.reset();
}

std::uint32_t Virtqueue::stop() noexcept {
  if (queue_) queue_->retire();
  end();
  if (state_) state_->magic = 0;
  return base_.value_or(0);
}

void Virtqueue::end() noexcept {
  pause();
  started_ = addressed_ = enabled_ = fault_told_ = false;
  unwatch();
  kick_.reset();
  call_.reset();
}

void Virtqueue::forget() noexcept {
  // The state stays: a front end that comes back goes on with its rings.
  end();
  err_.reset();
  size_ = 0;
  base_.reset();
  base_is_ours_ = false;
}

std::uint64_t Virtqueue::short_chains() const noexcept {
  return short_chains_ + (from_guest_ ? from_guest_->short_chains() : 0);
}

bool Virtqueue::report_fault() noexcept {
  if (fault_told_ || !broken()) return false;
  fault_told_ = true;
  if (err_) signal_.signal(err_.get());
  return true;
}

}  // namespace rp::backend::vhost_user
