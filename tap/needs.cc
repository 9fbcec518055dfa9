// SPDX-License-Identifier: BSD-3-Clause
// needs.cc - nodes, netlink, packet sockets, and a visit to another namespace.
#include "tap/needs.h"

#include <linux/if_tun.h>
#include <sys/ioctl.h>

namespace rp::tap {
namespace {

constexpr unsigned long kTunRequests[] = {TUNSETIFF,       TUNGETIFF,       TUNSETOFFLOAD,
                                          TUNSETVNETHDRSZ, TUNGETVNETHDRSZ, TUNSETOWNER,
                                          TUNSETGROUP,     TUNSETPERSIST};
constexpr const char* kCalls[] = {"open", "openat", "stat", "newfstatat", "bind", "socket"};
/// In the child that opens what is in the namespace; see quiet_child.h.
constexpr const char* kVisitCalls[] = {"clone",      "setns",      "wait4",
                                       "pidfd_open", "exit_group", "pidfd_send_signal"};
constexpr const char* kNode = "/dev/net/tun";

void tell_device_needs(const NeedSink& sink) {
  rp::tell_needs(sink, Need::call, kCalls);
  for (const unsigned long r : kTunRequests) sink(Need::ioctl, std::to_string(r));
  sink(Need::family, "netlink");
}

}  // namespace

void tell_needs(const TapConfig& c, const NeedSink& sink) {
  tell_device_needs(sink);
  if (c.fd >= 0 || !c.helper.empty()) return;  // does not come back
  sink(Need::capability, "net_admin");
  sink(Need::write, kNode);
}

void tell_needs(const MacvtapConfig&, const NeedSink& sink) {
  tell_device_needs(sink);
  sink(Need::capability, "net_admin");
  // Its node has a new number, so a new file. Where udev makes none, it stays away: making nodes is
  // more than a sandbox can give.
  sink(Need::write, "/dev");
}

void tell_needs(const EthConfig&, const NeedSink& sink) {
  tell_device_needs(sink);
  sink(Need::family, "packet");
  sink(Need::capability, "net_raw");
}

void tell_needs(const IfbConfig&, const NeedSink& sink) {
  tell_device_needs(sink);
  sink(Need::family, "packet");
  sink(Need::capability, "net_raw");
  sink(Need::capability, "net_admin");
}

void tell_needs(const VethConfig& c, const NeedSink& sink) {
  tell_device_needs(sink);
  sink(Need::family, "packet");
  sink(Need::capability, "net_raw");
  sink(Need::capability, "net_admin");
  if (c.netns.find('/') != c.netns.npos) sink(Need::read, folder_of(c.netns));
}

void tell_needs(const NetnsConfig&, const NeedSink& sink) {
  tell_device_needs(sink);
  rp::tell_needs(sink, Need::call, kVisitCalls);
  sink(Need::capability, "net_admin");
  // To enter a namespace whose owner's namespace of users is ours.
  sink(Need::capability, "sys_admin");
  sink(Need::write, kNode);
}

}  // namespace rp::tap
