// SPDX-License-Identifier: BSD-3-Clause
// tap_port.cc - bursts from and to the device; losing it and finding it again.
#include "tap/tap_port.h"

#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>

#include "base/descriptors.h"
#include "base/error.h"
#include "switch/flow.h"
#include "switch/offload.h"
#include "tap/tun_ioctl.h"

namespace rp::tap {
namespace {

/// Busy turns between two looks at what is no frame.
constexpr unsigned kLookEvery = 64;
/// Between two attempts to open a device that went away.
constexpr long kFirstPauseMs = 50, kLastPauseMs = 5000;
/// A device that goes sooner than this is one that somebody keeps removing.
constexpr Instant kLasts = 10s;

bool readable(int fd) noexcept {
  pollfd p{fd, POLLIN, 0};
  return poll(&p, 1, 0) > 0;
}

}  // namespace

TapPort::TapPort(std::unique_ptr<Device> device, Log log, Instant)
    : log_(log), epoll_(make_epoll()), timer_(make_timer()), device_(std::move(device)) {
  watch(monitor_.fd());
  watch(timer_.get());
  if (device_->end_fd() >= 0) watch(device_->end_fd());
  take(device_->attach());
}

TapPort::~TapPort() = default;

void TapPort::watch(int fd) {
  epoll_event e{};
  e.events = EPOLLIN;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) throw_errno("watching a device", errno);
}

void TapPort::take(Attached attached) {
  if (attached.monitor) {
    monitor_ = LinkMonitor(std::move(attached.monitor));
    watch(monitor_.fd());
  }
  on_ = std::move(attached);
  for (const Fd& q : on_.queues) watch(q.get());
  next_ = 0;
  find_again_ = false;
  // What came before is told by the answer, which is the last event.
  up_ = on_.index == 0;
  monitor_.ask(on_.index);
  monitor_.each(on_.index, [this](const LinkEvent& e) { heard(e); });
}

void TapPort::receive(sw::Burst& burst, Instant now) noexcept {
  now_ = now;
  if (turns_++ % kLookEvery == 0 || on_.queues.empty()) look();
  io_.begin();
  const std::size_t n = on_.queues.size();
  for (std::size_t i = 0; i < n; ++i) {
    const Fd& queue = on_.queues[(next_ + i) % n];
    const int err = read_frames(queue, burst);
    if (err == EBADFD || err == ENXIO || err == ENODEV) {
      // What is lent stays valid: it lies in our memory.
      lose();
      return;
    }
    if (err != 0) ++read_errors_;
  }
  if (n > 1) next_ = (next_ + 1) % n;
}

int TapPort::read_frames(const Fd& queue, sw::Burst& burst) noexcept {
  if (on_.ring) return on_.ring->read(queue.get(), io_, burst);
  return io_.read(queue.get(), on_.header, on_.reflected, burst);
}

Wrote TapPort::write_frame(const Fd& queue, const sw::Frame& f) noexcept {
  if (on_.sums && f.offload.flags & VIRTIO_NET_HDR_F_DATA_VALID) {
    sw::Frame open = f;
    if (sw::reopen_checksum(open)) return io_.write(queue.get(), on_.header, open);
  }
  return io_.write(queue.get(), on_.header, f);
}

std::size_t TapPort::send(std::span<const sw::Frame* const> frames, Instant now) noexcept {
  now_ = now;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (!send_one(*frames[i])) return frames.size() - i;
  }
  return 0;
}

bool TapPort::send_one(const sw::Frame& f) noexcept {
  const std::size_t n = on_.queues.size();
  if (n == 0) {
    ++while_down_;
    return true;
  }
  const Fd& queue = on_.out ? on_.out : on_.queues[n == 1 ? 0 : sw::flow_hash(f) % n];
  switch (write_frame(queue, f)) {
    case Wrote::done:
      break;
    case Wrote::full:
      ++full_;
      return false;
    case Wrote::down:
      ++while_down_;
      break;
    case Wrote::gone:
      ++while_down_;
      lose();
      break;
    case Wrote::refused:
      ++refused_;
      break;
  }
  return true;
}

void TapPort::look() noexcept {
  monitor_.each(on_.index, [this](const LinkEvent& e) { heard(e); });
  if (fired(timer_)) {
    find_again_ = on_.queues.empty();
    heard_of_ = false;
  }
  if (device_->end_fd() >= 0) ended_ = readable(device_->end_fd());
}

void TapPort::heard(const LinkEvent& e) noexcept {
  if (on_.queues.empty()) {
    // Once a pause: an attempt that fails may be what is heard of.
    if (!e.gone && e.name == on_.name && device_->comes_back() && !heard_of_)
      find_again_ = heard_of_ = true;
  } else if (e.index == on_.index) {
    // One that moved to another namespace, whence nothing is told, is gone from this one only.
    if (e.gone && !still_there(on_.queues.front())) return lose();
    up_ = e.gone || e.up;
    if (e.gone) on_.index = 0;
  }
}

/// An open file that somebody else holds too, who gave it or forked, would stay watched.
void TapPort::drop_queues() noexcept {
  for (const Fd& q : on_.queues) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, q.get(), nullptr);
  on_.queues.clear();
  on_.out.reset();
}

void TapPort::lose() noexcept {
  drop_queues();
  up_ = false;
  ++lost_;
  if (now_ - found_at_ > kLasts) pause_ms_ = 0;
  if (device_->comes_back()) pause();
}

void TapPort::pause() noexcept {
  pause_ms_ = pause_ms_ == 0 ? kFirstPauseMs : std::min(2 * pause_ms_, kLastPauseMs);
  set_timer(timer_, std::chrono::milliseconds(pause_ms_));
}

std::unique_ptr<sw::Port> TapPort::accept(std::string&) noexcept {
  if (!find_again_ || !device_->comes_back()) return nullptr;
  find_again_ = false;
  try {
    take(device_->attach());
    ++found_;
    found_at_ = now_;
    log_.info("the device ", on_.name, " is back");
  } catch (const std::exception&) {
    drop_queues();
    pause();
  }
  return nullptr;
}

bool TapPort::arm(Instant) noexcept {
  return !find_again_ && !readable(epoll_.get());
}

void TapPort::report(const CounterSink& sink) const {
  sink("tap.full", full_);
  sink("tap.refused", refused_);
  sink("tap.while-down", while_down_);
  sink("tap.read-errors", read_errors_);
  sink("tap.reflected", io_.left_out());
  if (on_.ring) sink("tap.too-long-lost", on_.ring->lost());
  sink("tap.lost", lost_);
  sink("tap.found", found_);
}

std::string TapPort::describe() const {
  std::string words = on_.name;
  if (on_.queues.empty()) return words + " gone";
  if (on_.queues.size() > 1) words += " queues=" + std::to_string(on_.queues.size());
  if (on_.can.csum) words += " csum";
  if (on_.can.tso4) words += " tso";
  if (on_.can.uso) words += " uso";
  return words;
}

}  // namespace rp::tap
