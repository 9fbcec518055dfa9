// SPDX-License-Identifier: BSD-3-Clause
// netns_port.h - a network namespace as a guest: a tap device inside it, which we hold the end of.
//
// The device is made and configured over descriptors that belong to the namespace; nothing of this
// process goes there. Its IPv4 address comes from options or by DHCP, which the port does itself on
// the device's behalf, with frames of its own on the way to the switch.
#pragma once

#include <optional>

#include "tap/config.h"
#include "tap/dhcp_client.h"
#include "tap/netlink.h"
#include "tap/tap_port.h"

namespace rp::tap {

class NetnsDevice;

class NetnsPort final : public TapPort {
 public:
  /// `inside` is the device. Throws Error and leaves nothing behind.
  NetnsPort(std::unique_ptr<NetnsDevice> device, NetnsDevice& inside, Log log, Instant now);

  void receive(sw::Burst& burst, Instant now) noexcept override;
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool flush(Instant now) noexcept override;
  bool arm(Instant now) noexcept override;
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  /// Ends with address=, gateway= and dns= as the device has them.
  std::string describe() const override;

 private:
  void set_timer(Instant at) noexcept;

  NetnsDevice& inside_;
  Fd dhcp_timer_;
  std::optional<DhcpClient> dhcp_;
  bool apply_ = false;       ///< a lease came that the device does not have yet
  bool configured_ = false;  ///< it has one
  Log log_;
};

/// Makes device and port. Throws Error and leaves nothing behind.
std::unique_ptr<TapPort> open_netns_port(const NetnsConfig& config, Log log, Instant now);

}  // namespace rp::tap
