// SPDX-License-Identifier: BSD-3-Clause
// ifb_device.cc - the ifb, the redirection and the two sockets.
#include "tap/ifb_device.h"

#include "tap/links.h"
#include "tap/made_link.h"
#include "tap/packet_device.h"
#include "tap/traffic_control.h"

namespace rp::tap {
namespace {

class IfbDevice final : public Device {
 public:
  explicit IfbDevice(const IfbConfig& c) : c_(c), what_("ifb:" + c.name) {}
  Attached attach() override;

 private:
  const IfbConfig c_;
  const std::string what_;
  Netlink netlink_;
  MadeLink made_;
  IngressRedirect redirect_;  // goes before the ifb
};

Attached IfbDevice::attach() {
  redirect_ = {};
  made_ = {};
  const Link device = get_link(netlink_, c_.device, what_);
  MadeLink made(netlink_, create_link(netlink_, {.name = c_.name, .kind = "ifb"}, what_));
  if (c_.rate != 0) limit_rate(netlink_, made.index(), c_.rate, c_.burst, what_);
  LinkChange up;
  up.up = true;
  up.mtu = device.mtu;
  change_link(netlink_, made.index(), up, what_);
  EthConfig shaped;
  shaped.promiscuous = false;
  shaped.outgoing = true;
  shaped.offload = c_.offload;
  EthConfig bare;
  bare.promiscuous = c_.promiscuous;
  bare.reads = false;
  Attached a = attach_packet(get_link(netlink_, c_.name, what_), shaped, what_);
  Attached out = attach_packet(device, bare, what_);
  a.out = std::move(out.queues.front());
  a.name = out.name;
  a.index = out.index;
  redirect_ = IngressRedirect(netlink_, device.index, made.index(), what_);
  made_ = std::move(made);
  return a;
}

}  // namespace

std::unique_ptr<Device> make_ifb_device(const IfbConfig& c) {
  return std::make_unique<IfbDevice>(c);
}

}  // namespace rp::tap
