// SPDX-License-Identifier: BSD-3-Clause
// doctor.cc - looks at nodes, rights, sysctls and devices.
#include "tap/doctor.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "base/error.h"
#include "base/quiet_child.h"
#include "tap/nics.h"
#include "tap/tun_ioctl.h"

namespace rp::tap {
namespace {

using State = Finding::State;

/// An Ethernet's, which guests take for granted.
constexpr unsigned kUsualMtu = 1500;

std::string first_line(const char* path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

Finding look_at_tun() {
  try {
    open_tun_node("");
    return {State::fine, "/dev/net/tun", "it can be opened: tap, tun and netns work", ""};
  } catch (const Error& e) {
    const bool missing = e.code() == Errc::unsupported;
    return {State::limited, "/dev/net/tun",
            missing ? "it is not there: no tap, tun or netns"
                    : "it may not be opened: no tap, tun or netns",
            missing ? "modprobe tun" : "chmod 0666 /dev/net/tun"};
  }
}

/// The set of effective capabilities in /proc, 0 when it is not to be read.
unsigned long long capabilities() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.rfind("CapEff:", 0) == 0) return std::stoull(line.substr(7), nullptr, 16);
  return 0;
}

Finding look_at_capability(unsigned long long have, unsigned bit, const char* name,
                           const char* what_for, const char* remedy) {
  if (have >> bit & 1) return {State::fine, name, std::string("held: ") + what_for, ""};
  return {State::limited, name, std::string("not held, which it takes: ") + what_for, remedy};
}

Finding look_at_namespaces() {
  const int status =
      in_quiet_child([] { return unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 ? 0 : errno & 0x7f; });
  if (status == 0)
    return {State::fine, "user namespaces", "ringplug netns works without rights", ""};
  return {State::limited, "user namespaces", "they can't be made: ringplug netns takes root",
          "sysctl user.max_user_namespaces=10000; where there are such: sysctl "
          "kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0"};
}

Finding look_at_ping() {
  constexpr const char* kName = "ping_group_range";
  const std::string range = first_line("/proc/sys/net/ipv4/ping_group_range");
  if (ping_allowed(range, getegid())) return {State::fine, kName, "guests of slirp can ping", ""};
  return {State::limited, kName,
          "this group may open no ping socket: guests of slirp can ping their gateway only",
          "sysctl net.ipv4.ping_group_range=\"0 2147483647\""};
}

void look_at_mtus(const std::function<void(const Finding&)>& fn) {
  bool fine = true;
  each_nic([&](const Nic& nic) {
    const bool up = nic.link.flags & IFF_UP && nic.link.type == ARPHRD_ETHER;
    if (!up || nic.link.mtu >= kUsualMtu) return;
    fine = false;
    const std::string mtu = std::to_string(nic.link.mtu);
    fn({State::limited, "MTU",
        nic.link.name + " has " + mtu + ": a guest that is bridged there sends too much",
        "give guests that MTU (slirp?mtu=" + mtu + ", netns:...?mtu=" + mtu +
            "), or: ip link set " + nic.link.name + " mtu " + std::to_string(kUsualMtu)});
  });
  if (fine)
    fn({State::fine, "MTU", "every device that is up has " + std::to_string(kUsualMtu) + " or more",
        ""});
}

}  // namespace

bool ping_allowed(const std::string& range, unsigned group) {
  std::istringstream in(range);
  unsigned long first = 1, last = 0;
  return in >> first >> last && first <= group && group <= last;
}

void examine_host(const std::function<void(const Finding&)>& fn) {
  fn(look_at_tun());
  const auto have = capabilities();
  fn(look_at_capability(have, CAP_NET_ADMIN, "CAP_NET_ADMIN",
                        "making devices on the host (tap, macvtap, veth) and joining bridges",
                        "run as root, have root make the device (ip tuntap add tap0 mode tap user "
                        "$USER), or use helper="));
  fn(look_at_capability(have, CAP_NET_RAW, "CAP_NET_RAW", "packet sockets (eth, veth)",
                        "run as root, or setcap cap_net_raw+ep on the program"));
  fn(look_at_namespaces());
  fn(look_at_ping());
  look_at_mtus(fn);
}

}  // namespace rp::tap
