// SPDX-License-Identifier: BSD-3-Clause
// nat.cc - libslirp's callbacks and the clockwork around it.
#include "slirp/nat.h"

#include <algorithm>
#include <cstdio>

#include "slirp/raw_ping.h"

namespace rp::slirp {
namespace {

/// libslirp names these waits (ms): its fast TCP timer, its slow one, and none.
constexpr std::uint32_t kFastTimer = 2;
constexpr auto kSlowTimer = 499ms;
constexpr auto kScarceRetry = 1s;
/// How late an idle datagram socket may be closed; libslirp gives it 10 s (DNS) or 240 s.
constexpr auto kIdleSweep = 30s;

/// How far libslirp's clock may lag behind when a frame goes in.
constexpr auto kClockStep = 10ms;

Nat& self(void* opaque) {
  return *static_cast<Nat*>(opaque);
}

}  // namespace

std::uint32_t config_version(const char* library_version) noexcept {
  unsigned major = 0, minor = 0;
  if (std::sscanf(library_version, "%u.%u", &major, &minor) != 2) return SLIRP_CONFIG_VERSION_MIN;
  std::uint32_t known = SLIRP_CONFIG_VERSION_MIN;
  if (major == 4 && minor >= 2) known = 2;
  if (major == 4 && minor >= 3) known = 3;
  if (major == 4 && minor >= 7) known = 4;
  if (major > 4) known = 4;
  return std::min<std::uint32_t>(known, SLIRP_CONFIG_VERSION_MAX);
}

struct Nat::Callbacks {
  static ssize_t send_packet(const void* data, size_t len, void* opaque) {
    self(opaque).to_guest_({static_cast<const std::uint8_t*>(data), len});
    return static_cast<ssize_t>(len);
  }
  // What guests do wrong is counted, not logged.
  static void guest_error(const char*, void*) {}
  static std::int64_t clock(void* opaque) { return self(opaque).now_.count(); }
  // The router advertisement's is the only timer there is, so the Nat itself stands for it.
  static void* timer_new(SlirpTimerCb, void*, void* opaque) { return opaque; }
  static void* timer_new_by_id(SlirpTimerId, void*, void* opaque) { return opaque; }
  static void timer_free(void*, void* opaque) { self(opaque).advertise_at_ = Instant::max(); }
  static void timer_mod(void*, std::int64_t at_ms, void* opaque) {
    self(opaque).advertise_at_ = std::chrono::milliseconds(at_ms);
  }
  static void opened(int fd, void* opaque) {
    self(opaque).polls_.drop(fd);  // a number may come back without having been announced as closed
    self(opaque).flows_.opened(fd);
    narrow_raw_ping(fd, self(opaque).current_);
  }
  static void closed(int fd, void* opaque) {
    self(opaque).polls_.drop(fd);
    self(opaque).flows_.closed(fd);
  }
  static void notify(void* opaque) { self(opaque).need_poll_ = true; }

  static constexpr SlirpCb table() {
    SlirpCb cb{};
    cb.send_packet = send_packet;
    cb.guest_error = guest_error;
    cb.clock_get_ns = clock;
    cb.timer_new = timer_new;
    cb.timer_free = timer_free;
    cb.timer_mod = timer_mod;
    cb.register_poll_fd = opened;
    cb.unregister_poll_fd = closed;
    cb.notify = notify;
    cb.timer_new_opaque = timer_new_by_id;
    return cb;
  }
};

Nat::Nat(const Config& config, Log log, ToGuest to_guest, Instant now)
    : log_(log), to_guest_(std::move(to_guest)), now_(now), flows_(config.max_flows) {
  try {
    open(config);
  } catch (...) {
    close();
    throw;
  }
}

void Nat::open(const Config& config) {
  static constexpr SlirpCb kCallbacks = Callbacks::table();
  SlirpConfig c{};
  c.version = config_version(slirp_version_string());
  c.restricted = config.restricted;
  c.in_enabled = config.ipv4;
  c.vnetwork = config.net;
  c.vnetmask = config.mask;
  c.vhost = *config.host;
  c.in6_enabled = config.ipv6;
  c.vprefix_addr6 = config.prefix6;
  c.vprefix_len = static_cast<std::uint8_t>(config.prefix6_len);
  c.vhost6 = *config.host6;
  const auto text = [](const std::string& s) { return s.empty() ? nullptr : s.c_str(); };
  c.vhostname = text(config.hostname);
  c.tftp_server_name = text(config.tftp_server_name);
  c.tftp_path = text(config.tftp);
  c.bootfile = text(config.bootfile);
  c.vdhcp_start = *config.dhcpstart;
  c.vnameserver = *config.dns;
  c.vnameserver6 = *config.dns6;
  std::vector<const char*> domains;
  for (const auto& d : config.dnssearch) domains.push_back(d.c_str());
  domains.push_back(nullptr);
  c.vdnssearch = config.dnssearch.empty() ? nullptr : domains.data();
  c.vdomainname = text(config.domainname);
  c.if_mtu = config.mtu;
  c.if_mru = config.mtu;
  c.disable_host_loopback = config.disable_host_loopback;
  // libslirp keeps these two pointers.
  if (config.outbound) outbound_ = std::make_unique<sockaddr_in>(*config.outbound);
  if (config.outbound6) outbound6_ = std::make_unique<sockaddr_in6>(*config.outbound6);
  c.outbound_addr = outbound_.get();
  c.outbound_addr6 = outbound6_.get();
  slirp_.reset(slirp_new(&c, &kCallbacks, this));
  if (!slirp_)
    throw Error(Errc::system, std::string("slirp: libslirp ") + slirp_version_string() +
                                  " refuses the configuration");
  for (const auto& f : config.hostfwd) add_hostfwd(f, config);
  for (const auto& f : config.guestfwd) add_guestfwd(f, config);
}

/// libslirp looks at the clock only when it looks at its sockets; what it opens after a long sleep
/// would expire at once.
void Nat::wind_clock(Instant now) noexcept {
  now_ = now;
  if (now - wound_at_ < kClockStep) return;
  wound_at_ = now;
  constexpr int kNoSockets = 1;
  slirp_pollfds_poll(
      slirp_.get(), kNoSockets, [](int, void*) { return 0; }, this);
}

bool Nat::input(std::span<const std::uint8_t> frame, sw::PortId guest, Instant now) noexcept {
  wind_clock(now);
  const bool admitted = flows_.enter(frame, guest, now);
  if (admitted) {
    current_ = frame;
    slirp_input(slirp_.get(), frame.data(), static_cast<int>(frame.size()));
    current_ = {};
    need_poll_ = true;
  }
  flows_.leave();
  return admitted;
}

int Nat::watch(int fd, int events) noexcept {
  if (!flows_.known(fd)) {
    // Not opened for a guest: a forward's listener. Accepting needs descriptors (and libslirp ends
    // the process when a UNIX one gets none), so while they are scarce whoever connects waits.
    listeners_.push_back(fd);
    if (scarce_) return -1;
  }
  return polls_.add(fd, events);
}

/// What libslirp is told of a socket: nothing of a listener, once descriptors have become scarce.
int Nat::ready(int fd) const noexcept {
  const int events = polls_.revents(fd);
  return events != 0 && !flows_.known(fd) && Flows::descriptors_scarce() ? 0 : events;
}

void Nat::fill() noexcept {
  need_fill_ = false;
  timeout_ms_ = UINT32_MAX;
  listeners_.clear();
  scarce_ = forwards_ && Flows::descriptors_scarce();
  polls_.begin();
  for (const auto& c : commands_) c->watch(polls_, !scarce_);
  for (const auto& r : relays_) r->watch(polls_, !scarce_);
  slirp_pollfds_fill(
      slirp_.get(), &timeout_ms_,
      [](int fd, int events, void* opaque) { return self(opaque).watch(fd, events); }, this);
}

void Nat::run(Instant now) noexcept {
  now_ = now;
  if (need_fill_ || need_poll_) fill();
  const int ready = polls_.poll();
  if (ready <= 0 && !need_poll_ && now < wake_at_) return;
  for (const auto& c : commands_) c->run(polls_);
  for (const auto& r : relays_) r->run(polls_);
  if (now >= advertise_at_) {
    advertise_at_ = Instant::max();
    slirp_handle_timer(slirp_.get(), SLIRP_TIMER_RA, nullptr);
  }
  need_poll_ = false;
  wound_at_ = now;
  slirp_pollfds_poll(
      slirp_.get(), 0, [](int i, void* opaque) { return self(opaque).ready(i); }, this);
  polls_.clear();
  need_fill_ = true;
  wake_at_ = Instant::max();
}

bool Nat::prepare_wait(Instant now, bool fragments) noexcept {
  if (need_poll_) return false;
  now_ = now;
  if (need_fill_) fill();
  if (polls_.poll() > 0) {
    need_poll_ = true;
    return false;
  }
  polls_.shed();
  Instant due = advertise_at_;
  if (timeout_ms_ <= kFastTimer)
    due = std::min<Instant>(due, now + std::chrono::milliseconds(kFastTimer));
  else if (flows_.ticking() || fragments)
    due = std::min<Instant>(due, now + kSlowTimer);
  else if (flows_.count() > 0)
    due = std::min<Instant>(due, now + kIdleSweep);
  // Listeners that are left alone for want of descriptors get another chance.
  if (scarce_) due = std::min<Instant>(due, now + kScarceRetry);
  // What was due before stays due, however often frames that need no run() wake the port.
  wake_at_ = std::min(wake_at_, due);
  polls_.set_timer(wake_at_);
  return true;
}

}  // namespace rp::slirp
