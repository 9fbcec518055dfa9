// SPDX-License-Identifier: BSD-3-Clause
// tap_device.cc - makes or opens tap devices.
//
// Whether a device was there before is for the kernel to say: IFF_TUN_EXCL makes it or refuses, in
// one step. A device without IFF_PERSIST goes with its last descriptor, so what was made here needs
// nobody to remove it, whichever way this process ends.
#include "tap/tap_device.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "base/error.h"
#include "tap/bridge_helper.h"
#include "tap/frame_io.h"
#include "tap/links.h"
#include "tap/tun_ioctl.h"

namespace rp::tap {
namespace {

void tell(const Fd& fd, unsigned long request, unsigned long value, const std::string& what) {
  if (ioctl(fd.get(), request, value) != 0) refuse(what, errno);
}

class TapDevice final : public Device {
 public:
  explicit TapDevice(const TapConfig& c)
      : c_(c), kind_(c.l3 ? "tun" : "tap"), what_(kind_ + (c.name.empty() ? "" : ":" + c.name)) {}
  ~TapDevice() override { put_back(); }

  Attached attach() override;

 private:
  void open_first(Attached& a);
  void make_or_find(const Fd& fd, Attached& a);
  int find(const Fd& fd, Attached& a);
  [[noreturn]] void explain(int err, const std::string& name);
  void put_back() noexcept;
  unsigned flags() const {
    return (c_.l3 ? IFF_TUN : IFF_TAP) | IFF_NO_PI | (c_.offload ? IFF_VNET_HDR : 0) | multi_queue_;
  }

  const TapConfig c_;
  const std::string kind_, what_;
  unsigned multi_queue_ = 0;
  bool made_ = false;      ///< of the device that is attached
  bool attached_ = false;  ///< there was one
  Fd keeper_;              ///< a descriptor of a device that stays, to leave it as it was
};

Attached TapDevice::attach() {
  Attached a;
  a.name = c_.name.empty() ? kind_ + "%d" : c_.name;
  open_first(a);
  for (unsigned i = 1; i < c_.queues; ++i) {
    Fd more = open_tun_node(what_);
    if (const int err = set_interface(more, a.name, flags()); err != 0)
      refuse(what_ + ": queue " + std::to_string(i), err);
    a.queues.push_back(std::move(more));
  }
  const Fd& fd = a.queues.front();
  if (c_.offload) {
    a.header = sizeof(sw::Offload);
    set_header_size(fd, a.header, what_);
  }
  a.can = set_offloads(fd, c_.offload);
  a.sums = c_.offload;
  if (c_.owner) tell(fd, TUNSETOWNER, *c_.owner, what_ + ": setting the owner");
  if (c_.group) tell(fd, TUNSETGROUP, *c_.group, what_ + ": setting the group");
  Netlink netlink;
  a.index = get_link(netlink, a.name, what_).index;
  apply_settings(netlink, a.index, c_.settings, made_, what_);
  if (c_.persist) tell(fd, TUNSETPERSIST, *c_.persist, what_ + ": setting persist");
  const bool stays = made_ ? c_.persist.value_or(false) : c_.persist.value_or(true);
  keeper_.reset(stays ? fcntl(fd.get(), F_DUPFD_CLOEXEC, 0) : -1);
  attached_ = true;
  return a;
}

void TapDevice::open_first(Attached& a) {
  keeper_.reset();
  multi_queue_ = c_.queues > 1 ? IFF_MULTI_QUEUE : 0;
  Fd fd = open_tun_node(what_);
  if (attached_ && !made_) {
    // Not ours to make: it is there again, or not.
    Netlink netlink;
    get_link(netlink, a.name, what_);
    if (const int err = find(fd, a); err != 0) explain(err, a.name);
  } else {
    make_or_find(fd, a);
  }
  a.queues.push_back(std::move(fd));
}

void TapDevice::make_or_find(const Fd& fd, Attached& a) {
  const std::string wanted = a.name;
  int err = set_interface(fd, a.name, flags() | IFF_TUN_EXCL);
  made_ = err == 0;
  if (err == EBUSY) err = find(fd, a);
  if (err != 0) explain(err, wanted);
}

/// A device with several queues wants to be told so, even by who takes one.
int TapDevice::find(const Fd& fd, Attached& a) {
  const int err = set_interface(fd, a.name, flags());
  if (err != EINVAL || multi_queue_ != 0) return err;
  multi_queue_ = IFF_MULTI_QUEUE;
  return set_interface(fd, a.name, flags());
}

void TapDevice::explain(int err, const std::string& name) {
  Netlink netlink;
  const auto link = find_link(netlink, name);
  if (err == EPERM && !link)
    throw Error(Errc::denied, what_ + ": making a " + kind_ +
                                  " device takes CAP_NET_ADMIN: have root make one for you (ip "
                                  "tuntap add " +
                                  name + " mode " + kind_ + " user $USER)" +
                                  (c_.l3 ? "" : ", or use helper="));
  if (err == EPERM)
    throw Error(Errc::denied, what_ +
                                  ": the device is another user's: have root give it to you (ip "
                                  "tuntap add with user or group), or run with CAP_NET_ADMIN");
  if (err == EBUSY)
    throw Error(Errc::busy, what_ +
                                ": another process has the device open; a device with several "
                                "queues (ip tuntap add ... multi_queue) can be shared");
  if (err == E2BIG)
    throw Error(Errc::busy,
                what_ + ": the device has no free queue: other processes have them all");
  if (err == ENFILE)
    throw Error(Errc::resources, what_ + ": no name of the form " + kind_ + "N is free");
  const bool ethernet = link && link->type == ARPHRD_ETHER;
  if (err == EINVAL && link && (link->kind != "tun" || ethernet == c_.l3)) {
    const char* other = ethernet ? "tap" : "tun";
    throw Error(Errc::invalid, what_ + ": the device of this name is " +
                                   (link->kind.empty()    ? "no " + kind_ + " device"
                                    : link->kind == "tun" ? std::string("a ") + other +
                                                                " device, use " + other + ":" + name
                                                          : "a " + link->kind + " device"));
  }
  if (err == EINVAL && link && c_.queues > 1)
    throw Error(Errc::invalid, what_ + ": the device was made for one queue, leave out queues=");
  refuse(what_ + ": opening the device", err);
}

/// A device that stays must not go on handing out unfinished frames to a reader that asked for
/// none.
void TapDevice::put_back() noexcept {
  if (keeper_) set_offloads(keeper_, false);
}

/// One that the caller opened.
class GivenDevice final : public Device {
 public:
  GivenDevice(Fd fd, bool offload, std::string what)
      : fd_(std::move(fd)), offload_(offload), what_(std::move(what)) {}
  Attached attach() override;
  bool comes_back() const noexcept override { return false; }

 private:
  Fd fd_;
  bool offload_;
  std::string what_;
};

Attached GivenDevice::attach() {
  ifreq r{};
  if (ioctl(fd_.get(), TUNGETIFF, &r) != 0) {
    if (errno == ENOTTY || errno == EBADF || errno == EINVAL)
      throw Error(Errc::invalid, what_ + ": this is no descriptor of a tap device");
    throw_errno(what_, errno);
  }
  const auto flags = static_cast<unsigned short>(r.ifr_flags);
  if ((flags & IFF_TUN) != 0)
    throw Error(Errc::invalid, what_ + ": " + r.ifr_name + " is a tun device, not tap");
  if ((flags & IFF_NO_PI) == 0)
    throw Error(Errc::invalid, what_ + ": " + r.ifr_name + " was opened without IFF_NO_PI");
  const int mode = fcntl(fd_.get(), F_GETFL);
  if (mode < 0 || fcntl(fd_.get(), F_SETFL, mode | O_NONBLOCK) != 0) throw_errno(what_, errno);
  Attached a;
  a.name = r.ifr_name;
  if ((flags & IFF_VNET_HDR) != 0) {
    int size = 0;
    if (ioctl(fd_.get(), TUNGETVNETHDRSZ, &size) != 0) throw_errno(what_, errno);
    if (size < static_cast<int>(sizeof(sw::Offload)) || size > static_cast<int>(kMaxHeader))
      throw Error(Errc::invalid, what_ + ": " + r.ifr_name + " has a virtio_net_hdr of " +
                                     std::to_string(size) + " bytes: set it to " +
                                     std::to_string(sizeof(sw::Offload)) + " to " +
                                     std::to_string(kMaxHeader) + " by TUNSETVNETHDRSZ");
    a.header = static_cast<std::size_t>(size);
    a.can = set_offloads(fd_, true);
    if (!offload_) {
      a.can = {};
      ioctl(fd_.get(), TUNSETOFFLOAD, 0);
    }
  }
  // It may be in another namespace, where the index means something else.
  Netlink netlink;
  if (const auto link = find_link(netlink, a.name)) a.index = link->index;
  a.queues.push_back(std::move(fd_));
  return a;
}

std::unique_ptr<Device> given(const TapConfig& c) {
  const std::string what = "tap: fd=" + std::to_string(c.fd);
  Fd copy(fcntl(c.fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) throw_errno(what, errno);
  return std::make_unique<GivenDevice>(std::move(copy), c.offload, what);
}

}  // namespace

void apply_settings(Netlink& netlink, unsigned index, const Settings& s, bool made,
                    const std::string& what) {
  LinkChange change;
  change.mac = s.mac;
  change.mtu = s.mtu;
  if (!s.bridge.empty()) change.master = get_link(netlink, s.bridge, what).index;
  change.up = s.up ? s.up : made ? std::optional(true) : std::nullopt;
  change_link(netlink, index, change, what);
  for (const Prefix& p : s.addresses) add_address(netlink, index, p, what);
}

std::unique_ptr<Device> make_tap_device(const TapConfig& c) {
  if (c.fd >= 0) return given(c);
  if (!c.helper.empty()) {
    const std::string what = "tap: helper=" + c.helper;
    return std::make_unique<GivenDevice>(from_bridge_helper(c.helper, c.settings.bridge, what),
                                         c.offload, what);
  }
  return std::make_unique<TapDevice>(c);
}

}  // namespace rp::tap
