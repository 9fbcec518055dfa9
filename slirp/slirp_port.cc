// SPDX-License-Identifier: BSD-3-Clause
// slirp_port.cc - wires guard, NAT and queue together.
#include "slirp/slirp_port.h"

#include <arpa/inet.h>
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "slirp/ack_filter.h"
#include "slirp/dhcp.h"
#include "slirp/handshake.h"
#include "slirp/ipv4_fragments.h"
#include "switch/offload.h"

namespace rp::slirp {
namespace {

/// What the NAT may produce in one look at its sockets: 64 flows with a full 64 KiB window each;
/// and as much again, for what waited before.
constexpr std::size_t kQueueBytes = std::size_t{8} << 20;
constexpr std::size_t kQueueFrames = 8192;
/// Turns that the NAT may be kept from by a guest that has itself answered without end.
constexpr unsigned kMostPutOff = 8;
/// Bytes: a copy of what is longer costs more than a turn of its own; joining gains nothing.
constexpr std::size_t kLong = 16384;
/// Bytes: libslirp's DHCP answers are of one size.
constexpr std::size_t kLongestDhcp = 600;

sw::Ip6Addr bytes_of(const in6_addr& a) {
  sw::Ip6Addr out;
  std::memcpy(out.data(), &a, out.size());
  return out;
}

GuardConfig guard_config(const Config& c, int tftp_root) {
  GuardConfig g;
  g.ipv4 = c.ipv4;
  g.ipv6 = c.ipv6;
  g.net = ntohl(c.net.s_addr);
  g.mask = ntohl(c.mask.s_addr);
  g.gateway = ntohl(c.host->s_addr);
  g.dns = ntohl(c.dns->s_addr);
  g.prefix6 = bytes_of(c.prefix6);
  g.prefix6_len = c.prefix6_len;
  g.gateway6 = bytes_of(*c.host6);
  g.dns6 = bytes_of(*c.dns6);
  g.link_local_targets = c.link_local;
  g.tftp_root = tftp_root;
  g.mtu = c.mtu;
  return g;
}

/// libslirp looks at no destination address, so a frame between guests that the switch floods would
/// be taken for ours.
bool addressed_to_us(const sw::Frame& f) {
  const auto dst = read_at<sw::Mac>(f.head_bytes(), 0);
  return dst && (dst->is_group() || gateways_mac(*dst));
}

/// libslirp has just summed what it sends of TCP, so nobody need sum it again, unless it is to be
/// cut into segments of `mss` bytes.
void vouch(sw::Frame& f, std::uint32_t mss) {
  sw::Layers l;
  if (mss != 0 && sw::ask_segmentation(f, static_cast<std::uint16_t>(mss))) return;
  if (sw::locate(f, l) && l.proto == sw::kProtoTcp) f.offload.flags = VIRTIO_NET_HDR_F_DATA_VALID;
}

/// How many frames this will be to a receiver that takes no long segments.
std::size_t segments(std::size_t len, std::uint32_t mss) {
  return mss == 0 ? 1 : (len + mss - 1) / mss;
}

Fd open_directory(const std::string& path) {
  if (path.empty()) return {};
  Fd fd(open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!fd) throw_errno("slirp: tftp=" + path, errno);
  return fd;
}

}  // namespace

SlirpPort::SlirpPort(const Config& config, Log log, Instant now)
    : told_mtu_(static_cast<std::uint16_t>(config.mtu == kEthernetMtu ? 0 : config.mtu)),
      tftp_root_(open_directory(config.tftp)),
      guard_(std::make_unique<Guard>(guard_config(config, tftp_root_.get()))),
      queue_(kQueueBytes, kQueueFrames),
      now_(now),
      nat_(std::make_unique<Nat>(
          config, log, [this](std::span<const std::uint8_t> f) { to_guest(f); }, now)) {}

SlirpPort::~SlirpPort() {
  guard_->end_transfers(
      [this](std::span<const std::uint8_t> f) { nat_->input(f, sw::kNoPort, now_); });
}

void SlirpPort::to_guest(std::span<const std::uint8_t> frame) noexcept {
  std::array<std::uint8_t, kLongestDhcp> room;
  const FromNat f = guard_->from_nat(frame, now_);
  if (!f.sound)
    ++inconsistent_;
  else if (f.mtu != 0)
    keep_fragments(frame, f.mtu);
  else if (!pass(frame, f.mss))
    keep(told_mtu_ == 0 ? frame : with_mtu(frame, nat_->current(), told_mtu_, room), f.mss);
}

void SlirpPort::keep_fragments(std::span<const std::uint8_t> frame, std::uint16_t mtu) noexcept {
  if (!fragment_ipv4(frame, mtu, [this](std::size_t len) { return queue_.add(len); })) ++overflow_;
}

void SlirpPort::keep(std::span<const std::uint8_t> frame, std::uint16_t mss) noexcept {
  if (queue_.size() > lent_ && supersedes(frame, queue_.back())) {
    std::copy(frame.begin(), frame.end(), queue_.back().begin());
    ++acks_saved_;
  } else if (!queue_.push(frame, mss)) {
    ++overflow_;
  }
}

void SlirpPort::receive(sw::Burst& burst, Instant now) noexcept {
  now_ = now;
  if (queue_.size() < sw::Burst::kFrames || ++put_off_ > kMostPutOff) {
    put_off_ = 0;
    burst_ = &burst;
    passed_ = 0;
    take_acks();
    if (acks_n_ == 0) nat_->run(now);
    burst_ = nullptr;
  }
  lend(burst);
}

/// No more than receivers have room for when all is cut.
void SlirpPort::lend(sw::Burst& burst) noexcept {
  std::size_t total = 0;
  for (lent_ = 0; lent_ < queue_.size(); ++lent_) {
    const std::uint32_t mss = queue_.note(lent_);
    total += segments(queue_.at(lent_).size(), mss);
    if ((lent_ != 0 && total > sw::Burst::kFrames) || !burst.add(queue_.at(lent_))) return;
    vouch(burst[burst.size() - 1], mss);
  }
}

/// Forwards a long frame, and whatever waits before it, without a copy; in a turn no more than fits
/// into a burst. False: it is to wait.
bool SlirpPort::pass(std::span<const std::uint8_t> frame, std::uint16_t mss) noexcept {
  if (frame.size() < kLong || !burst_ || !burst_->forwards()) return false;
  passed_ += queue_.size() + segments(frame.size(), mss);
  if (passed_ > sw::Burst::kFrames) return false;
  if (!queue_.empty()) {
    lend(*burst_);
    burst_->hand_over();
    release();
    if (!queue_.empty()) return false;
  }
  burst_->add(frame);
  vouch((*burst_)[0], mss);
  burst_->hand_over();
  return true;
}

void SlirpPort::release() noexcept {
  queue_.pop(lent_);
  lent_ = 0;
}

/// A copy, or the frame where it lies. The latter of TCP only, of which neither guard nor finishing
/// write further than the head: a body is other receivers', too.
std::span<std::uint8_t> SlirpPort::private_bytes(const sw::Frame& f) noexcept {
  sw::Layers l;
  if (f.own && sw::locate(f, l) && l.proto == sw::kProtoTcp &&
      l.l4 + sizeof(sw::TcpHeader) <= f.head_len)
    return f.own_bytes();
  f.copy_to(scratch_.data());
  return {scratch_.data(), f.len};
}

std::size_t SlirpPort::send(std::span<const sw::Frame* const> frames, Instant now) noexcept {
  now_ = now;
  for (const sw::Frame* f : frames) {
    if (!addressed_to_us(*f)) {
      ++not_ours_;
      continue;
    }
    std::span<std::uint8_t> bytes = private_bytes(*f);
    if (!f->offload.none() && !sw::finish_as_one(*f, bytes)) {
      ++unfinished_;
      continue;
    }
    if (guard_->check(bytes, f->ingress, now) != Refusal::none) continue;
    if (const std::uint16_t mss = guard_->untold_mss()) {
      std::array<std::uint8_t, kLongestSyn> room;
      nat_->input(syn_with_mss(bytes, mss, room), f->ingress, now);
    }
    if (defer(bytes, f->ingress)) continue;
    take_acks();
    nat_->input(bytes, f->ingress, now);
  }
  return 0;
}

/// False: it is to be fed to the NAT now.
bool SlirpPort::defer(std::span<const std::uint8_t> frame, sw::PortId guest) noexcept {
  const std::size_t tcp = pure_ack(frame);
  if (tcp == 0 || acks_n_ == acks_.size()) return false;
  Ack& a = acks_[acks_n_++];
  a.guest = guest;
  a.len = tcp + sizeof(sw::TcpHeader);
  std::memcpy(a.bytes.data(), frame.data(), a.len);
  return true;
}

/// In the NAT's turn only while what they release can be passed on.
void SlirpPort::take_acks() noexcept {
  for (; acks_taken_ < acks_n_ && (!burst_ || passed_ < sw::Burst::kFrames); ++acks_taken_) {
    const Ack& a = acks_[acks_taken_];
    nat_->input({a.bytes.data(), a.len}, a.guest, now_);
  }
  if (acks_taken_ == acks_n_) acks_taken_ = acks_n_ = 0;
}

bool SlirpPort::flush(Instant) noexcept {
  return true;
}

bool SlirpPort::arm(Instant now) noexcept {
  return queue_.empty() && acks_n_ == 0 && nat_->prepare_wait(now, guard_->fragments_pending(now));
}

void SlirpPort::forget(sw::PortId id) noexcept {
  take_acks();
  guard_->forget(id);
  nat_->forget(id);
}

void SlirpPort::report(const CounterSink& sink) const {
  guard_->report(sink);
  nat_->report(sink);
  sink("nat.not-addressed", not_ours_);
  sink("nat.acks-saved", acks_saved_);
  sink("nat.queue-overflow", overflow_);
  sink("nat.inconsistent", inconsistent_);
  sink("nat.bad-offload", unfinished_);
}

}  // namespace rp::slirp
