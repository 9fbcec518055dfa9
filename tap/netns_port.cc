// SPDX-License-Identifier: BSD-3-Clause
// netns_port.cc - the device inside, and DHCP on its behalf.
#include "tap/netns_port.h"

#include <linux/if_tun.h>
#include <sys/random.h>
#include <sys/timerfd.h>

#include <cerrno>

#include "base/descriptors.h"
#include "base/error.h"
#include "tap/links.h"
#include "tap/network_space.h"
#include "tap/tap_device.h"
#include "tap/tun_ioctl.h"

namespace rp::tap {

/// The tap device in the namespace. It goes with its only descriptor.
class NetnsDevice final : public Device {
 public:
  explicit NetnsDevice(const NetnsConfig& c)
      : c_(c), what_("netns:" + c.target), space_(c.target, what_) {}

  Attached attach() override;
  int end_fd() const noexcept override { return space_.process_fd(); }

  /// Gives the device what the lease says. Throws Error.
  void apply(const Lease& lease);
  const NetnsConfig& config() const noexcept { return c_; }
  const sw::Mac& mac() const noexcept { return mac_; }
  const std::string& what() const noexcept { return what_; }

 private:
  void loopback_up();

  const NetnsConfig c_;
  const std::string what_;
  const NetworkSpace space_;
  std::optional<Netlink> netlink_;  ///< in the namespace
  unsigned index_ = 0;
  sw::Mac mac_;
  std::optional<Lease> lease_;  ///< for a device that is made again
};

Attached NetnsDevice::attach() {
  auto tools = space_.open_tools();
  Attached a;
  a.name = c_.name;
  const unsigned flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL | (c_.offload ? IFF_VNET_HDR : 0);
  const int err = set_interface(tools.tun, a.name, flags);
  if (err == EBUSY)
    throw Error(Errc::busy, what_ + ": it has a device " + c_.name + " already; choose name=");
  if (err != 0) refuse(what_ + ": making the device " + c_.name, err);
  if (c_.offload) {
    a.header = sizeof(sw::Offload);
    set_header_size(tools.tun, a.header, what_);
  }
  a.can = set_offloads(tools.tun, c_.offload);
  a.sums = c_.offload;
  netlink_.emplace(std::move(tools.netlink));
  loopback_up();
  index_ = get_link(*netlink_, a.name, what_).index;
  apply_settings(*netlink_, index_, c_.settings, true, what_);
  for (const Ip& g : c_.gateways) add_default_route(*netlink_, index_, g, what_);
  mac_ = get_link(*netlink_, a.name, what_).mac;
  if (lease_) apply(*lease_);
  a.index = index_;
  a.monitor = std::move(tools.monitor);
  a.queues.push_back(std::move(tools.tun));
  return a;
}

/// A namespace that nobody set up has it down, and some programs need it.
void NetnsDevice::loopback_up() {
  const auto lo = find_link(*netlink_, "lo");
  LinkChange up;
  up.up = true;
  if (lo) change_link(*netlink_, lo->index, up, what_);
}

void NetnsDevice::apply(const Lease& lease) {
  const auto before = lease_ ? std::optional(lease_->address) : std::nullopt;
  lease_ = lease;
  // First, as one more of the same network would be a secondary address and go with it.
  if (before && text_of(*before) != text_of(lease.address))
    remove_address(*netlink_, index_, *before, what_);
  add_address(*netlink_, index_, lease.address, what_);
  if (lease.gateway) add_default_route(*netlink_, index_, *lease.gateway, what_);
}

std::unique_ptr<TapPort> open_netns_port(const NetnsConfig& config, Log log, Instant now) {
  auto device = std::make_unique<NetnsDevice>(config);
  NetnsDevice& inside = *device;
  return std::make_unique<NetnsPort>(std::move(device), inside, log, now);
}

NetnsPort::NetnsPort(std::unique_ptr<NetnsDevice> device, NetnsDevice& inside, Log log, Instant now)
    : TapPort(std::move(device), log, now), inside_(inside), dhcp_timer_(make_timer()), log_(log) {
  if (!*inside_.config().dhcp) return;
  watch(dhcp_timer_.get());
  std::uint32_t id = 0;
  if (getrandom(&id, sizeof id, 0) != sizeof id) throw_errno("drawing a random number", errno);
  dhcp_.emplace(inside_.mac(), id);
}

void NetnsPort::receive(sw::Burst& burst, Instant now) noexcept {
  if (dhcp_ && now >= dhcp_->next()) {
    std::uint64_t fired;
    [[maybe_unused]] const auto n = ::read(dhcp_timer_.get(), &fired, sizeof fired);
    if (const auto frame = dhcp_->due(now); !frame.empty()) burst.add(frame);
    set_timer(dhcp_->next());
  }
  TapPort::receive(burst, now);
}

void NetnsPort::set_timer(Instant at) noexcept {
  itimerspec t{};
  t.it_value.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(at).count();
  t.it_value.tv_nsec = (at % 1s).count();
  timerfd_settime(dhcp_timer_.get(), TFD_TIMER_ABSTIME, &t, nullptr);
}

std::size_t NetnsPort::send(std::span<const sw::Frame* const> frames, Instant now) noexcept {
  if (dhcp_ && dhcp_->waits()) {
    try {
      const Instant before = dhcp_->next();
      for (const sw::Frame* f : frames) apply_ |= dhcp_->input(*f, now);
      // A timer of the question would stay expired, and keep the port awake.
      if (dhcp_->next() != before) set_timer(dhcp_->next());
    } catch (const std::exception&) {
      // Out of memory: it asks again.
    }
  }
  return TapPort::send(frames, now);
}

bool NetnsPort::flush(Instant now) noexcept {
  // An answer wants one of ours at once.
  return apply_ || (dhcp_ && dhcp_->next() <= now);
}

bool NetnsPort::arm(Instant now) noexcept {
  return !apply_ && !(dhcp_ && dhcp_->next() <= now) && TapPort::arm(now);
}

std::unique_ptr<sw::Port> NetnsPort::accept(std::string& name) noexcept {
  if (apply_) {
    apply_ = false;
    try {
      inside_.apply(*dhcp_->lease());
      configured_ = true;
    } catch (const std::exception& e) {
      log_.warning(e.what());
    }
  }
  return TapPort::accept(name);
}

std::string NetnsPort::describe() const {
  std::string words = TapPort::describe();
  for (const Prefix& p : inside_.config().settings.addresses) words += " address=" + text_of(p);
  for (const Ip& g : inside_.config().gateways) words += " gateway=" + text_of(g);
  const Lease* l = dhcp_ && configured_ ? dhcp_->lease() : nullptr;
  if (!l) return words;
  words += " address=" + text_of(l->address);
  if (l->gateway) words += " gateway=" + text_of(*l->gateway);
  for (const Ip& d : l->dns) words += " dns=" + text_of(d);
  if (!l->domain.empty()) words += " search=" + l->domain;
  return words;
}

}  // namespace rp::tap
