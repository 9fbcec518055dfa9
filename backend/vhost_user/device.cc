// SPDX-License-Identifier: BSD-3-Clause
// device.cc - the messages of a vhost-user front end, one by one.
#include "backend/vhost_user/device.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "base/error.h"

namespace rp::backend::vhost_user {
namespace {

/// Only an eventfd can be written to without ever blocking or filling anything up.
bool is_eventfd(int fd) noexcept {
  char path[32], link[32];
  std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(path, link, sizeof link);
  return n > 0 && std::string_view(link, static_cast<std::size_t>(n)) == "anon_inode:[eventfd]";
}

}  // namespace

Device::Device(std::size_t pairs, int kicks) {
  const std::size_t n = 2 * std::clamp<std::size_t>(pairs, 1, kMaxPairs);
  queues_.reserve(n);
  for (std::size_t i = 0; i < n; ++i) queues_.emplace_back(i % 2 == 0, kicks, *signal_);
}

Device::~Device() = default;

void Device::keep_state(std::span<PackedState> states) noexcept {
  for (std::size_t i = 0; i < queues_.size(); ++i) queues_[i].keep_state(&states[i]);
}

Virtqueue* Device::queue(std::uint32_t index) noexcept {
  return index < queues_.size() ? &queues_[index] : nullptr;
}

bool Device::handle(Message& m, Channel& channel) noexcept {
  Outcome outcome;
  try {
    outcome = apply(m, channel);
  } catch (const std::exception&) {
    outcome = Outcome::refused;
  }
  m.fds.clear();
  if (outcome == Outcome::refused) ++refused_;
  if (outcome == Outcome::dead) return false;
  if (outcome == Outcome::answered || !awaits_result(m)) return true;
  return channel.reply(m, std::uint64_t{outcome == Outcome::refused});
}

bool Device::awaits_result(const Message& m) const noexcept {
  // The first is always answered (specification, "Migration"): an emulator would wait for ever.
  return (m.request() == Request::set_log_base && has(protocol_features_, kLogShmfd)) ||
         (m.wants_reply() && has(protocol_features_, kReplyAck));
}

Device::Outcome Device::apply(Message& m, Channel& channel) {
  const auto answer = [&](std::uint64_t v) {
    return channel.reply(m, v) ? Outcome::answered : Outcome::dead;
  };
  const auto u64 = m.as<std::uint64_t>();
  switch (m.request()) {
    case Request::get_features:
      return answer(kFeatures);
    case Request::set_features:
      return u64 ? set_features(*u64) : Outcome::refused;
    case Request::get_protocol_features:
      return answer(kProtocolFeatures | mentioned_);
    case Request::set_protocol_features:
      if (!u64 || (*u64 & ~kProtocolFeatures)) return Outcome::refused;
      protocol_features_ = *u64;
      return Outcome::done;
    case Request::set_owner:
      return Outcome::done;
    case Request::reset_owner:
    case Request::reset_device:
      for (Virtqueue& q : queues_) q.stop();
      // What the driver had given us it has taken back.
      if (inflight_ && m.request() == Request::reset_device) inflight_->clear();
      return Outcome::done;
    case Request::get_queue_num:
      return answer(pairs());
    case Request::get_max_mem_slots:
      return answer(kMaxSlots);
    case Request::set_mem_table:
    case Request::add_mem_reg:
    case Request::rem_mem_reg:
      return on_memory(m);
    case Request::set_log_base:
      return set_log(m);
    case Request::get_inflight_fd:
      return get_inflight(m, channel);
    case Request::set_inflight_fd:
      return set_inflight(m);
    case Request::set_log_fd:
      return Outcome::done;  // an eventfd that tells of log writes; nobody waits on it
    case Request::set_vring_num:
    case Request::set_vring_base:
    case Request::set_vring_addr:
    case Request::get_vring_base:
    case Request::set_vring_enable:
      return on_vring(m, channel);
    case Request::set_vring_kick:
    case Request::set_vring_call:
    case Request::set_vring_err:
      return set_vring_fd(m);
    case Request::send_rarp:
      return announce(m);
    case Request::net_set_mtu:
      // The switch carries any frame; the guest keeps to its MTU by itself.
      return u64 && *u64 >= 68 && *u64 <= 65535 ? Outcome::done : Outcome::refused;
    case Request::set_status:
      if (!u64 || *u64 > 0xff) return Outcome::refused;
      status_ = static_cast<std::uint8_t>(*u64);
      return Outcome::done;
    case Request::get_status:
      return answer(status_);
    case Request::set_doorbell:
      return set_doorbell(m);
    default:
      return Outcome::refused;
  }
}

Device::Outcome Device::set_features(std::uint64_t wanted) noexcept {
  if (wanted & ~kFeatures) return Outcome::refused;
  const bool runs =
      std::any_of(queues_.begin(), queues_.end(), [](const Virtqueue& q) { return q.runs(); });
  // Logging is switched on and off while the guest runs; all else is agreed before.
  if (runs && ((wanted ^ features_) & ~bit(kFeatureLogAll))) return Outcome::refused;
  features_ = wanted;
  set_logging();
  return Outcome::done;
}

// Rings.

/// False: its addresses are in no memory or make no ring.
bool Device::start(Virtqueue& q) noexcept {
  try {
    if (!memory_) return true;
    const auto index = static_cast<std::size_t>(&q - queues_.data());
    q.note_in(inflight_ ? inflight_->region(index, has(features_, VIRTIO_F_RING_PACKED))
                        : InflightRegion{});
    q.start(*memory_, features_, regions_.empty() ? 0 : regions_.front().file);
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

Device::Outcome Device::on_vring(Message& m, Channel& channel) {
  if (m.request() == Request::set_vring_addr) {
    const auto where = m.as<VringAddr>();
    Virtqueue* q = where ? queue(where->index) : nullptr;
    if (!q) return Outcome::refused;
    q->set_addresses(*where);
    return start(*q) ? Outcome::done : Outcome::refused;
  }
  const auto state = m.as<VringState>();
  Virtqueue* q = state ? queue(state->index) : nullptr;
  if (!q) return Outcome::refused;
  switch (m.request()) {
    case Request::set_vring_num:
      return q->set_size(state->num) ? Outcome::done : Outcome::refused;
    case Request::set_vring_base:
      return q->set_base(state->num) ? Outcome::done : Outcome::refused;
    case Request::get_vring_base: {
      const VringState where{state->index, q->stop()};
      return channel.reply(m, where) ? Outcome::answered : Outcome::dead;
    }
    default:
      q->enable(state->num != 0);
      return Outcome::done;
  }
}

Device::Outcome Device::set_vring_fd(Message& m) {
  const auto what = m.as<std::uint64_t>();
  // An index with any higher bit is another index, not this one cut short (T-VU-1).
  if (!what || (*what & ~(kVringIndexMask | kVringNoFd))) return Outcome::refused;
  Virtqueue* q = queue(static_cast<std::uint32_t>(*what & kVringIndexMask));
  const bool none = *what & kVringNoFd;
  if (!q || m.fds.size() != (none ? 0u : 1u)) return Outcome::refused;
  Fd fd = none ? Fd() : std::move(m.fds[0]);
  if (fd && !is_eventfd(fd.get())) return Outcome::refused;
  if (fd) fcntl(fd.get(), F_SETFL, fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
  switch (m.request()) {
    case Request::set_vring_call:
      q->set_call(std::move(fd));
      // Completions before it told nobody. A doorbell is never late.
      if (!doorbell_) q->call();
      return Outcome::done;
    case Request::set_vring_err:
      q->set_err(std::move(fd));
      return Outcome::done;
    default:
      if (!q->set_kick(std::move(fd))) return Outcome::refused;
      // Without this feature there is no message to enable a ring.
      if (!has(features_, kFeatureProtocol)) q->enable(true);
      return start(*q) ? Outcome::done : Outcome::refused;
  }
}

Device::Outcome Device::announce(const Message& m) noexcept {
  const auto payload = m.as<std::uint64_t>();
  if (!payload) return Outcome::refused;
  sw::Mac mac;
  std::memcpy(mac.bytes.data(), m.payload.data(), mac.bytes.size());
  if (mac.is_group() || mac.is_zero()) return Outcome::refused;
  announcement_ = mac;
  return Outcome::done;
}

std::optional<sw::Mac> Device::take_announcement() noexcept {
  return std::exchange(announcement_, std::nullopt);
}

Device::Outcome Device::set_doorbell(const Message& m) {
  const auto place = m.as<DoorbellPlace>();
  if (!place || !has(protocol_features_, kDoorbell)) return Outcome::refused;
  return place_doorbell(place->user_address) ? Outcome::done : Outcome::refused;
}

bool Device::place_doorbell(std::uint64_t user) noexcept {
  constexpr std::size_t kWord = sizeof(std::uint32_t);
  const auto at = memory_ ? memory_->guest_address(user) : std::nullopt;
  doorbell_ = at ? memory_->translate(*at, kWord) : nullptr;
  if (reinterpret_cast<std::uintptr_t>(doorbell_) % kWord != 0) doorbell_ = nullptr;
  doorbell_at_ = doorbell_ ? std::optional(user) : std::nullopt;
  return doorbell_ != nullptr;
}

bool Device::ring_doorbell(std::uint16_t published) noexcept {
  if (!doorbell_) return false;
  if (Doorbell(doorbell_, -1).claim(published)) queues_[0].call();
  return true;
}

void Device::reset() noexcept {
  for (Virtqueue& q : queues_) q.forget();
  inflight_.reset();
  doorbell_ = nullptr;
  doorbell_at_.reset();
  memory_.reset();
  regions_.clear();
  log_.reset();
  features_ = protocol_features_ = 0;
  status_ = 0;
  announcement_.reset();
}

bool Device::link_up() const noexcept {
  return std::any_of(queues_.begin(), queues_.end(),
                     [](const Virtqueue& q) { return q.to_guest() && q.enabled() && !q.broken(); });
}

}  // namespace rp::backend::vhost_user
