// SPDX-License-Identifier: BSD-3-Clause
// guard.cc - the check in front of libslirp: dispatch, Ethernet, ARP, counters.
#include "slirp/guard.h"

#include "slirp/guard_state.h"

namespace rp::slirp {
namespace {

constexpr std::string_view kPrefix = "refused.";
constexpr std::array<std::string_view, static_cast<std::size_t>(Refusal::count)> kCounters{
    "refused.none",           "refused.runt",          "refused.ethertype",
    "refused.source-mac",     "refused.arp",           "refused.ip-header",
    "refused.ip-options",     "refused.ip6-extension", "refused.fragment",
    "refused.spoofed-source", "refused.protocol",      "refused.tcp-header",
    "refused.udp-header",     "refused.icmp",          "refused.ndp",
    "refused.dhcp",           "refused.tftp",          "refused.forbidden-target",
    "refused.checksum"};
static_assert(!kCounters.back().empty());

}  // namespace

std::string_view refusal_name(Refusal r) noexcept {
  const auto i = static_cast<std::size_t>(r);
  return i < kCounters.size() ? kCounters[i].substr(kPrefix.size()) : std::string_view("unknown");
}

Guard::Guard(const GuardConfig& config) : state_(std::make_unique<State>(config)) {}
Guard::~Guard() = default;

Refusal Guard::check(std::span<std::uint8_t>& frame, sw::PortId from, Instant now) noexcept {
  const Refusal r = state_->frame(frame, from, now);
  ++state_->refused[static_cast<std::size_t>(r)];
  return r;
}

std::uint16_t Guard::untold_mss() const noexcept {
  return state_->untold_mss;
}

FromNat Guard::from_nat(std::span<const std::uint8_t> frame, Instant now) noexcept {
  return state_->from_nat(frame, now);
}

void Guard::forget(sw::PortId port) noexcept {
  state_->owners.forget(port);
}

bool Guard::fragments_pending(Instant now) const noexcept {
  return state_->fragments.pending(now);
}

void Guard::report(const CounterSink& sink) const {
  for (std::size_t i = 1; i < kCounters.size(); ++i) sink(kCounters[i], state_->refused[i]);
}

Refusal Guard::State::frame(Bytes& frame, sw::PortId from, Instant now) noexcept {
  const auto eth = read_at<sw::EthHeader>(frame, 0);
  untold_mss = 0;
  if (!eth) return Refusal::runt;
  const std::uint16_t type = eth->type.get();
  const bool known = (config.ipv4 && (type == sw::kEtherIpv4 || type == sw::kEtherArp)) ||
                     (config.ipv6 && type == sw::kEtherIpv6);
  if (!known) return Refusal::ethertype;
  if (eth->src.is_group() || eth->src.is_zero() || gateways_mac(eth->src) ||
      !owners.admit_mac(eth->src, from, now))
    return Refusal::source_mac;
  const Sender sender{from, eth->src, now};
  if (type == sw::kEtherArp) return arp(frame, sender);
  return type == sw::kEtherIpv4 ? ipv4(frame, sender) : ipv6(frame, sender);
}

Refusal Guard::State::arp(ConstBytes frame, const Sender& s) noexcept {
  const auto arp = read_at<sw::ArpHeader>(frame, sizeof(sw::EthHeader));
  if (!arp) return Refusal::runt;
  const std::uint16_t op = arp->op.get();
  if (arp->htype.get() != 1 || arp->ptype.get() != sw::kEtherIpv4 || arp->hlen != 6 ||
      arp->plen != 4 || (op != 1 && op != 2) || arp->sha != s.mac)
    return Refusal::arp;
  const std::uint32_t sender = arp->spa.get();
  if (sender == 0) return op == 1 ? Refusal::none : Refusal::arp;  // RFC 5227 1.1: a probe asks
  if (!usable4(sender) || !owners.admit(mapped(sender), s.mac, s.port, s.now))
    return Refusal::spoofed_source;
  return Refusal::none;
}

}  // namespace rp::slirp
