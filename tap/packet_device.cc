// SPDX-License-Identifier: BSD-3-Clause
// packet_device.cc - opens packet sockets; makes veth pairs.
#include "tap/packet_device.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sys/socket.h>

#include <cerrno>
#include <optional>

#include "base/error.h"
#include "tap/links.h"
#include "tap/made_link.h"
#include "tap/network_space.h"
#include "tap/packet_socket.h"
#include "tap/tap_device.h"

namespace rp::tap {
namespace {

/// linux/if_packet.h of Linux 4.20.
constexpr int kIgnoreOutgoing = 23;
/// A burst of full segments; the kernel counts a frame about twice.
constexpr int kBuffer = 16 << 20;

Fd open_packet_socket(const std::string& what) {
  // Protocol 0: nothing comes in before it is bound to a device.
  Fd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd && (errno == EPERM || errno == EACCES))
    throw Error(Errc::denied, what +
                                  ": a packet socket takes CAP_NET_RAW: run as root, or setcap "
                                  "cap_net_raw+ep on this program");
  if (!fd) throw_errno(what + ": opening a packet socket", errno);
  return fd;
}

}  // namespace

Attached attach_packet(const Link& link, const EthConfig& c, const std::string& what) {
  if (link.type != ARPHRD_ETHER)
    throw Error(Errc::invalid, what + ": the device carries no Ethernet frames");
  Fd fd = open_packet_socket(what);
  const int on = 1;
  // Also without offloads: what a veth brings is unfinished, and only the header says so.
  set_packet_option(fd.get(), PACKET_VNET_HDR, on, what + ": PACKET_VNET_HDR");
  set_packet_option(fd.get(), PACKET_AUXDATA, on, what + ": PACKET_AUXDATA");
  if (!c.outgoing)
    set_packet_option(fd.get(), kIgnoreOutgoing, on,
                      what + ": PACKET_IGNORE_OUTGOING, of Linux 4.20");
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kBuffer, sizeof kBuffer);
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &kBuffer, sizeof kBuffer);
  Attached a;
  if (c.reads) a.ring = std::make_unique<PacketRing>(fd.get(), what);
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(c.reads ? ETH_P_ALL : 0);
  at.sll_ifindex = static_cast<int>(link.index);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0)
    throw_errno(what + ": binding a packet socket", errno);
  if (c.promiscuous) {
    packet_mreq all{};
    all.mr_ifindex = at.sll_ifindex;
    all.mr_type = PACKET_MR_PROMISC;
    set_packet_option(fd.get(), PACKET_ADD_MEMBERSHIP, all, what + ": promiscuous mode");
  }
  if (c.fanout)
    set_packet_option(fd.get(), PACKET_FANOUT,
                      static_cast<int>(*c.fanout | PACKET_FANOUT_HASH << 16),
                      what + ": fanout=" + std::to_string(*c.fanout));
  a.name = link.name;
  a.index = link.index;
  a.header = sizeof(sw::Offload);
  if (c.offload) a.can = {true, true, true, true, false};
  a.queues.push_back(std::move(fd));
  return a;
}

namespace {

class EthDevice final : public Device {
 public:
  explicit EthDevice(const EthConfig& c) : c_(c), what_("eth:" + c.name) {}
  Attached attach() override {
    Netlink netlink;
    return attach_packet(get_link(netlink, c_.name, what_), c_, what_);
  }

 private:
  const EthConfig c_;
  const std::string what_;
};

class VethDevice final : public Device {
 public:
  explicit VethDevice(const VethConfig& c) : c_(c), what_("veth:" + c.name) {
    if (!c.netns.empty()) space_.emplace(c.netns, what_);
  }
  Attached attach() override;
  int end_fd() const noexcept override { return space_ ? space_->process_fd() : -1; }

 private:
  MadeLink make();

  const VethConfig c_;
  const std::string what_;
  std::optional<NetworkSpace> space_;  ///< of the peer; none: here
  Netlink netlink_;
  MadeLink made_;
};

MadeLink VethDevice::make() {
  const NewLink link{c_.name, "veth", 0, {}, [this](Request& r) {
                       r.nest(VETH_INFO_PEER, [&] {
                         r.header<ifinfomsg>();
                         r.put_text(IFLA_IFNAME, c_.peer);
                         if (space_) r.put_u32(IFLA_NET_NS_FD, static_cast<unsigned>(space_->fd()));
                       });
                     }};
  return {netlink_, create_link(netlink_, link, what_)};
}

Attached VethDevice::attach() {
  made_ = {};
  MadeLink made = make();
  Settings own;
  own.mtu = c_.settings.mtu;
  apply_settings(netlink_, made.index(), own, true, what_);
  std::optional<Netlink> there;
  if (space_) there.emplace(space_->open_tools(NetworkSpace::Tun::no).netlink);
  Netlink& netlink = there ? *there : netlink_;
  apply_settings(netlink, get_link(netlink, c_.peer, what_).index, c_.settings, true, what_);
  EthConfig eth;
  eth.offload = c_.offload;
  Attached a = attach_packet(get_link(netlink_, c_.name, what_), eth, what_);
  made_ = std::move(made);
  return a;
}

}  // namespace

std::unique_ptr<Device> make_eth_device(const EthConfig& c) {
  return std::make_unique<EthDevice>(c);
}

std::unique_ptr<Device> make_veth_device(const VethConfig& c) {
  return std::make_unique<VethDevice>(c);
}

}  // namespace rp::tap
