// SPDX-License-Identifier: BSD-3-Clause
// switch.cc - the two passes: classify decides, deliver hands over.
#include "switch/switch.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace rp::sw {
namespace {

constexpr std::size_t kMaxPorts = 0xffff;
constexpr std::string_view kDropNames[] = {
    "runt",    "oversize",   "bad-source",   "bad-offload", "reserved-address",
    "vlan",    "locked",     "isolated",     "same-port",   "loop",
    "nowhere", "queue-full", "segmentation",
};
static_assert(std::size(kDropNames) == static_cast<std::size_t>(Drop::count));

}  // namespace

Switch::Switch(const MacTableOptions& options) : macs_(options), burst_(std::make_unique<Burst>()) {
  burst_->on_hand_over([this] { forward_burst(); });
}

Switch::~Switch() = default;

PortId Switch::add(std::unique_ptr<Port> port, std::string name, const PortPolicy& initial) {
  auto slot = std::find_if(slots_.begin(), slots_.end(), [](const Slot& s) { return !s.port; });
  if (slot == slots_.end()) {
    if (slots_.size() >= kMaxPorts)
      throw Error(Errc::resources, "a switch has at most 65535 ports");
    targets_.resize(slots_.size() + 1);
    touched_.resize(slots_.size() + 1);
    slots_.emplace_back();
    slot = slots_.end() - 1;
    slot->id = static_cast<PortId>(slots_.size() - 1);
  } else {
    slot->id += 0x10000;
    if (slot->id >> 16 == 0xffff) slot->id = static_cast<PortId>(port_slot(slot->id));
  }
  const Claim claim = port->claim();
  live_.reserve(live_.size() + 1);
  slot->secret = LoopGuard::draw();
  slot->number = claim.number == Claim::kNoNumber ? 0 : numbers_.take(claim, initial);
  if (slot->number && port->has_queue()) set_first_queue(*port, slot->number);
  live_.push_back(slot->id);
  slot->name = std::move(name);
  slot->counters = {};
  slot->age = ++ages_;
  slot->held = false;
  slot->port = std::move(port);
  slot->policy = slot->number ? *numbers_.policy(slot->number) : initial;
  add_addresses(*slot);
  apply_policies();
  return slot->id;
}

std::unique_ptr<Port> Switch::remove(PortId id) {
  Slot* slot = find(id);
  if (!slot) return nullptr;
  auto port = std::move(slot->port);
  live_.erase(std::find(live_.begin(), live_.end(), id));
  leave_addresses(*slot);
  held_n_ -= slot->held;
  if (slot->number) numbers_.leave(slot->number);
  slot->policy = {};
  apply_policies();
  for (PortId other : live_) slots_[port_slot(other)].port->forget(id);
  return port;
}

const Switch::Slot* Switch::find(PortId id) const noexcept {
  const std::size_t i = port_slot(id);
  return i < slots_.size() && slots_[i].id == id && slots_[i].port ? &slots_[i] : nullptr;
}

Port* Switch::port(PortId id) noexcept {
  Slot* slot = find(id);
  return slot ? slot->port.get() : nullptr;
}

std::string_view Switch::name(PortId id) const noexcept {
  const Slot* slot = find(id);
  return slot ? std::string_view(slot->name) : std::string_view();
}

unsigned Switch::number(PortId id) const noexcept {
  const Slot* slot = find(id);
  return slot ? slot->number : 0;
}

const PortPolicy* Switch::policy(PortId id) const noexcept {
  const Slot* slot = find(id);
  return slot ? &slot->policy : nullptr;
}

void Switch::set_first_queue(Port& port, unsigned number) {
  const std::uint32_t own = numbers_.policy(number)->queue;
  try {
    if (own != 0 || default_queue_ != 0) port.set_queue(own ? own : default_queue_);
  } catch (...) {
    numbers_.leave(number);
    throw;
  }
}

/// Of the ports that a number has. Throws Error.
void Switch::set_queues(unsigned number, std::uint32_t frames) {
  const auto each = [&](auto&& fn) {
    for (PortId id : live_)
      if (Slot& slot = slots_[port_slot(id)]; slot.number == number) fn(slot);
  };
  each([&](const Slot& slot) {
    if (frames != 0 && !slot.port->has_queue())
      throw Error(Errc::unsupported, "port " + std::to_string(number) + ", " + slot.name +
                                         ", has no queue whose length can be set");
  });
  each([&](Slot& slot) {
    if (slot.policy.queue != frames) slot.port->set_queue(frames ? frames : default_queue_);
  });
}

void Switch::set_policy(unsigned number, const PortPolicy& policy) {
  set_queues(number, policy.queue);
  numbers_.set(number, policy);
  for (PortId id : live_) {
    Slot& slot = slots_[port_slot(id)];
    if (slot.number != number) continue;
    // What was learned may be of a VLAN that the port has left.
    leave_addresses(slot);
    slot.policy = policy;
    add_addresses(slot);
  }
  apply_policies();
}

void Switch::add_addresses(const Slot& slot) noexcept {
  for (const StaticAddress& a : slot.policy.addresses) macs_.add_static(a.mac, a.vlan, slot.id);
}

void Switch::leave_addresses(const Slot& slot) noexcept {
  for (const StaticAddress& a : slot.policy.addresses) {
    if (!macs_.is_static(a.mac, a.vlan, slot.id)) continue;
    const auto heir = std::find_if(live_.begin(), live_.end(), [&](PortId other) {
      const auto& theirs = slots_[port_slot(other)].policy.addresses;
      return other != slot.id && std::find(theirs.begin(), theirs.end(), a) != theirs.end();
    });
    if (heir != live_.end()) macs_.add_static(a.mac, a.vlan, *heir);
  }
  macs_.forget(slot.id);
}

void Switch::apply_policies() {
  policies_ = std::any_of(live_.begin(), live_.end(),
                          [&](PortId id) { return !slots_[port_slot(id)].policy.plain(); });
  if (policies_ && !forms_) forms_ = std::make_unique<VlanForms>();
}

void Switch::reset_counters(unsigned number) noexcept {
  for (PortId id : live_) {
    Slot& slot = slots_[port_slot(id)];
    if (number == 0 || slot.number == number) slot.counters = {};
  }
}

bool Switch::held(PortId id) const noexcept {
  const Slot* slot = find(id);
  return slot && slot->held;
}

std::size_t Switch::turn(PortId id, Instant now) noexcept {
  Slot* from = find(id);
  if (!from) return 0;
  if (held_n_ != 0 && std::exchange(reviewed_, now) != now) review_held(now);
  turn_ = {from, now, 0};
  from->port->receive(*burst_, now);
  forward_burst();
  from->port->release();
  if (turn_.frames != 0 && guarding_ && guard_.wants_probes(now)) send_probes(now);
  return turn_.frames;
}

/// Both passes over what the port whose turn it is has lent.
void Switch::forward_burst() noexcept {
  if (burst_->empty()) return;
  Slot& from = *turn_.from;
  if (policies_) forms_->clear();
  index_ = 0;
  way_ = {};
  for (Frame& f : burst_->frames()) {
    f.ingress = from.id;
    ++from.counters.frames_in;
    from.counters.bytes_in += f.len;
    if (admit(f, from, turn_.now)) classify(f, from, turn_.now);
    ++index_;
  }
  for (std::size_t i = 0; i < targets_n_; ++i) deliver(slots_[port_slot(targets_[i])], turn_.now);
  targets_n_ = 0;
  turn_.frames += burst_->size();
  burst_->clear();
}

PortId Switch::drop(Slot& slot, Drop why) noexcept {
  ++slot.counters[why];
  return kNoPort;
}

/// False: dropped, whatever its addresses say.
bool Switch::admit(Frame& f, Slot& from, Instant now) noexcept {
  if (f.len < kMinFrame)
    drop(from, Drop::runt);
  else if (f.len > kMaxFrame)
    drop(from, Drop::oversize);
  else if (from.held)
    take_held(f, from, now);
  else if (!check_offload(f))
    drop(from, Drop::bad_offload);
  else
    return true;
  return false;
}

/// Probes alone are heard where nothing passes.
void Switch::take_held(const Frame& f, Slot& from, Instant now) noexcept {
  take_probe(f, from, now);
  drop(from, Drop::loop);
}

Switch::Flow Switch::flow_of(const Frame& f) noexcept {
  // Loads that cross none of the stores that the head was copied with, which they would wait for.
  Flow flow;
  std::uint32_t source_end;
  std::uint16_t type;
  std::memcpy(&flow.front, f.head.data(), 8);
  std::memcpy(&source_end, f.head.data() + 8, 4);
  std::memcpy(&type, f.head.data() + 12, 2);
  flow.back = source_end | std::uint64_t{type} << 32;
  return flow;
}

void Switch::classify(const Frame& f, Slot& from, Instant now) noexcept {
  if (flow_of(f) == way_.flow) return pass_on(f, from, *way_.to);
  way_ = {};
  const PortId to = learn_and_find(f, from, now);
  if (to != kNoPort) forward(f, from, to);
}

PortId Switch::learn_and_find(const Frame& f, Slot& from, Instant now) noexcept {
  EthHeader eth;
  std::memcpy(&eth, f.head.data(), sizeof eth);  // admit() has seen that it is there
  if (eth.src.is_group() || eth.src.is_zero()) return drop(from, Drop::bad_source);
  if (eth.dst.is_group()) {
    if (is_link_constrained(eth.dst) && !hub_) return drop(from, Drop::reserved_address);
    if (eth.dst == kProbeAddress && take_probe(f, from, now)) return drop(from, Drop::loop);
  }
  if (!enter_vlan(f, from)) return drop(from, Drop::vlan);
  if (from.policy.locked && !macs_.is_static(eth.src, vlan_, from.id))
    return drop(from, Drop::locked);
  if (hub_) return kFlood;
  const bool learned = learn(eth.src, from, now);
  if (eth.dst.is_group()) return kFlood;
  const PortId to = macs_.find(eth.dst, vlan_, now);
  if (to == kNoPort) return kFlood;
  if (to == from.id) return drop(from, Drop::same_port);
  // What a tag says is not among what is compared, and a refusal counts each time.
  if (learned && eth.type.get() != kEtherVlan) way_.flow = flow_of(f);
  return to;
}

/// False: refused.
bool Switch::learn(const Mac& source, Slot& from, Instant now) noexcept {
  switch (macs_.learn(source, vlan_, from.id, now)) {
    case MacTable::Learned::moved:
      ++from.counters.mac_moves;
      guard_.moved(now);
      return true;
    case MacTable::Learned::refused:
      ++from.counters.mac_refused;
      if (macs_.hold() != Instant{}) guard_.moved(now);  // it would have
      return false;
    default:
      return true;
  }
}

/// Finds the frame's VLAN, under which it is learned, looked up and let out. False: the port is not
/// in it. A port that is untagged in a VLAN doesn't take its frames tagged: nobody hops in with two
/// tags.
bool Switch::enter_vlan(const Frame& f, Slot& from) noexcept {
  const Tagging tagging = tagging_of(f);
  vlan_ = tagging.vid;
  tag_ = tagging.kind;
  if (!from.policy.vlan_aware) return true;
  if (tagging.kind == Tagging::Kind::vlan) return from.policy.tagged[vlan_];
  vlan_ = from.policy.untagged;
  return vlan_ != kNoVlan;
}

void Switch::forward(const Frame& f, Slot& from, PortId to) noexcept {
  if (to == kFlood) {
    ++from.counters.flooded;
    if (!flood(from, f)) drop(from, Drop::nowhere);
    return;
  }
  Slot* slot = find(to);
  if (!slot || !passes(*slot)) {
    way_ = {};
    drop(from, Drop::nowhere);
    return;
  }
  way_.to = slot;
  pass_on(f, from, *slot);
}

void Switch::pass_on(const Frame& f, Slot& from, Slot& to) noexcept {
  const Passage p = policies_ ? passage(f, from, to) : Passage{&f, {}};
  if (p.frame)
    enqueue(to, *p.frame);
  else
    drop(from, p.why);
}

Switch::Passage Switch::passage(const Frame& f, const Slot& from, const Slot& to) noexcept {
  if (from.policy.isolated && to.policy.isolated) return {nullptr, Drop::isolated};
  const auto tagged = [&]() -> Passage {
    if (tag_ == Tagging::Kind::vlan) return {&f, {}};
    if (f.len > kMaxFrame - sizeof(VlanTag) || f.offload.csum_start > UINT16_MAX - sizeof(VlanTag))
      return {nullptr, Drop::oversize};
    return {&forms_->tagged(f, index_, vlan_), {}};
  };
  if (!to.policy.vlan_aware) return vlan_ == 0 ? Passage{&f, {}} : tagged();
  if (to.policy.untagged == vlan_)
    return {tag_ == Tagging::Kind::none ? &f : &forms_->untagged(f, index_), {}};
  if (vlan_ <= kMaxVlan && to.policy.tagged[vlan_]) return tagged();
  return {nullptr, Drop::vlan};
}

void Switch::enqueue(Slot& to, const Frame& f) noexcept {
  if (to.out_n == 0) targets_[targets_n_++] = to.id;
  to.out[to.out_n++] = &f;
}

bool Switch::flood(const Slot& from, const Frame& f) noexcept {
  bool any = false;
  for (PortId id : live_) {
    Slot& slot = slots_[port_slot(id)];
    if (&slot == &from || !passes(slot)) continue;
    const Frame* const form = policies_ ? passage(f, from, slot).frame : &f;
    if (!form) continue;
    enqueue(slot, *form);
    any = true;
  }
  return any;
}

void Switch::touch(Slot& slot) noexcept {
  if (slot.touched) return;
  slot.touched = true;
  touched_[touched_n_++] = slot.id;
}

void Switch::deliver(Slot& to, Instant now) noexcept {
  touch(to);
  auto frames = std::span<const Frame* const>(to.out.data(), to.out_n);
  const Offloads can = to.port->offloads();
  if (frames.size() > 1 && Coalescer::serves(can)) frames = coalescer_.join(frames, can);
  const bool all_pass = std::all_of(frames.begin(), frames.end(), [&](const Frame* f) {
    return Segmenter::passes(f->offload, can);
  });
  if (all_pass)
    hand_over(to, frames, now);
  else
    deliver_unfinished(to, frames, can, now);
  to.out_n = 0;
}

void Switch::deliver_unfinished(Slot& to, std::span<const Frame* const> frames, const Offloads& can,
                                Instant now) noexcept {
  for (const Frame* frame : frames) {
    const std::size_t made = segmenter_.finish(*frame, can, [&](const Frame& f) {
      const Frame* one = &f;
      hand_over(to, {&one, 1}, now);
    });
    if (made == 0) drop(to, Drop::segmentation);
  }
}

void Switch::hand_over(Slot& to, std::span<const Frame* const> frames, Instant now) noexcept {
  const std::size_t refused = to.port->send(frames, now);
  const auto taken = frames.first(frames.size() - refused);
  to.counters.frames_out += taken.size();
  for (const Frame* f : taken) {
    to.counters.bytes_out += f->len;
    to.counters.coalesced += f->absorbed;
  }
  for (const Frame* f : frames.last(refused)) to.counters[Drop::queue_full] += 1u + f->absorbed;
}

void Switch::report(const ReportSink& sink) const {
  for (PortId id : live_) {
    const Slot& s = slots_[port_slot(id)];
    const auto out = [&](std::string_view name, std::uint64_t value) {
      sink(id, s.name, name, value);
    };
    out("in.frames", s.counters.frames_in);
    out("in.bytes", s.counters.bytes_in);
    out("in.flooded", s.counters.flooded);
    out("out.frames", s.counters.frames_out);
    out("out.bytes", s.counters.bytes_out);
    out("out.coalesced", s.counters.coalesced);
    out("mac.moves", s.counters.mac_moves);
    out("mac.refused", s.counters.mac_refused);
    out("loop.holds", s.counters.holds);
    for (std::size_t i = 0; i < s.counters.drops.size(); ++i)
      out("drop." + std::string(kDropNames[i]), s.counters.drops[i]);
    s.port->report(out);
  }
}

}  // namespace rp::sw
