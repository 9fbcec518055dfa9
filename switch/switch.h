// SPDX-License-Identifier: BSD-3-Clause
// switch.h - ports plus a MAC table: a learning Ethernet switch that forwards in bursts.
//
// Theory of operation: one turn of one port is receive() -> classify -> deliver -> release(). The
// classify pass looks at headers, learns, and gives every frame a destination; it touches no port.
// The deliver pass hands each destination its frames in one send(): TCP segments joined for a port
// that takes them so (coalesce.h), and what a port can't take completed (offload.h). flush() then
// tells each port that was sent to, once a turn. A port with no room drops its own frames, counted
// under its own name, and delays nobody.
// Counters: for every port, frames in = frames out of classify (unicast + flood) + drops. At the
// port that they are for, frames out + coalesced + queue-full counts each frame as often as it was
// sent there by a port or made by segmentation: one refused in a join counts all that it was.
// What may pass from one port to another is asked in one place, passage(): VLANs (IEEE 802.1Q-2018,
// 6.9 and 8.6) and isolation are there. A switch none of whose ports has such a policy never asks.
// Ports that lead to each other by two ways are found and one of them is held back: nothing passes
// there (loop_guard.h).
// One thread; the owner (backend/loop.h) decides which.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "switch/coalesce.h"
#include "switch/loop_guard.h"
#include "switch/mac_table.h"
#include "switch/offload.h"
#include "switch/port.h"
#include "switch/port_numbers.h"
#include "switch/vlan_forms.h"

namespace rp::sw {

/// Why a frame was not forwarded or not taken. The order is that of kDropNames.
enum class Drop : std::uint8_t {
  runt,              ///< shorter than an Ethernet header
  oversize,          ///< longer than kMaxFrame
  bad_source,        ///< source address is a group or zero
  bad_offload,       ///< virtio_net_hdr contradicts the frame
  reserved_address,  ///< 01-80-C2-00-00-0x, which stays on its link
  vlan,              ///< of a VLAN that the port, or the destination, is not in
  locked,            ///< from an address that is none of the locked port's
  isolated,          ///< between two isolated ports
  same_port,         ///< the destination lives where the frame came from
  loop,              ///< at a port that is held back, or a probe that came home
  nowhere,           ///< no other port has a link
  queue_full,        ///< at the receiving port
  segmentation,      ///< at the receiving port: could not be completed
  count
};

struct PortCounters {
  std::uint64_t frames_in = 0, bytes_in = 0;    ///< towards the switch
  std::uint64_t frames_out = 0, bytes_out = 0;  ///< away from the switch
  std::uint64_t coalesced = 0;                  ///< frames that went out inside another
  std::uint64_t flooded = 0;                    ///< frames in that went to all ports
  std::uint64_t mac_moves = 0;                  ///< addresses that moved to this port
  std::uint64_t mac_refused = 0;                ///< sources not learned (caps)
  std::uint64_t holds = 0;                      ///< how often it was held back
  std::array<std::uint64_t, static_cast<std::size_t>(Drop::count)> drops{};
  std::uint64_t& operator[](Drop d) noexcept { return drops[static_cast<std::size_t>(d)]; }
};

class Switch {
 public:
  explicit Switch(const MacTableOptions& options = {});
  ~Switch();
  Switch(Switch&&) = delete;

  /// Takes the port, with the number that it claims. Its id is never used again for another.
  /// `initial` is the policy of a number that has none of its own yet. Throws Error: the number is
  /// not to be had.
  PortId add(std::unique_ptr<Port> port, std::string name, const PortPolicy& initial = {});
  /// Gives the port back (null when there is none of that id) and forgets its addresses.
  std::unique_ptr<Port> remove(PortId id);

  Port* port(PortId id) noexcept;
  std::size_t port_count() const noexcept { return live_.size(); }
  /// The one that was added first of those that there are; kNoPort: there is none.
  PortId oldest_port() const noexcept { return live_.empty() ? kNoPort : live_.front(); }
  /// Calls fn(id) for each port; fn must not add or remove any.
  template <typename Fn>
  void each_port(Fn&& fn) const {
    for (PortId id : live_) fn(id);
  }

  /// What the port was called when it was added; empty when there is none of that id.
  std::string_view name(PortId id) const noexcept;
  /// The port's number; 0: it has none.
  unsigned number(PortId id) const noexcept;
  /// The port's policy; null when there is none of that id.
  const PortPolicy* policy(PortId id) const noexcept;

  const PortNumbers& numbers() const noexcept { return numbers_; }
  /// Sets the policy of a port number, to stay whoever comes and goes. Throws Error: no such number
  /// can be, or a queue is to be set of a port that has none.
  void set_policy(unsigned number, const PortPolicy& policy);
  /// Forgets the policy of a number that no port has. Throws Error.
  void forget_policy(unsigned number) { numbers_.forget(number); }
  void set_port_limit(unsigned limit) { numbers_.set_limit(limit); }
  /// Of ports that come from here on, where their number has none: frames that may wait for a slow
  /// reader. 0: as many as each port was made for.
  void set_default_queue(std::uint32_t frames) noexcept { default_queue_ = frames; }
  std::uint32_t default_queue() const noexcept { return default_queue_; }
  /// Looks for loops; on at first.
  void set_loop_guard(bool on) noexcept { guarding_ = on; }
  bool loop_guard() const noexcept { return guarding_; }
  /// Called with a port that is held back, and the one that it leads to.
  void on_hold(std::function<void(PortId, PortId)> fn) { on_hold_ = std::move(fn); }
  /// The port came in by a door: in a loop with one that did not, it is the one that is held back,
  /// however old it is.
  void give_way(PortId id) noexcept;
  /// The port is held back.
  bool held(PortId id) const noexcept;
  /// A hub sends every frame to all ports, and learns nothing.
  void set_hub(bool on) noexcept { hub_ = on; }
  bool hub() const noexcept { return hub_; }
  MacTable& addresses() noexcept { return macs_; }
  const MacTable& addresses() const noexcept { return macs_; }
  /// Sets the counters of all ports of a number to zero; 0: of all ports.
  void reset_counters(unsigned number) noexcept;

  /// Calls fn for each address learned that is not too old, in no order.
  void each_address(Instant now, const std::function<void(const MacTable::Entry&)>& fn) const {
    macs_.each(now, fn);
  }

  /// One turn of port `id`. Returns the number of frames that came in.
  std::size_t turn(PortId id, Instant now) noexcept;
  /// Tells all ports that were sent to since the last flush; calls `busy(id)` for each that now has
  /// frames of its own.
  template <typename Busy>
  void flush(Instant now, Busy&& busy) noexcept {
    for (std::size_t i = 0; i < touched_n_; ++i) {
      Slot& s = slots_[port_slot(touched_[i])];
      s.touched = false;
      if (s.port && s.port->flush(now)) busy(touched_[i]);
    }
    touched_n_ = 0;
  }

  /// Calls sink(port id, port name, counter name, value) for every counter of every port.
  using ReportSink =
      std::function<void(PortId, const std::string&, std::string_view, std::uint64_t)>;
  void report(const ReportSink& sink) const;

 private:
  struct Slot {
    PortId id = kNoPort;
    std::unique_ptr<Port> port;
    std::string name;
    PortCounters counters;
    unsigned number = 0;
    PortPolicy policy;
    std::uint64_t age = 0;     ///< the lower, the older
    std::uint64_t secret = 0;  ///< of its probes
    PortId held_for = kNoPort;
    Instant held_until{};
    bool held = false;
    bool asked = false;  ///< a probe is out that keeps it held if it comes home
    std::uint32_t out_n = 0;
    bool touched = false;
    std::array<const Frame*, Burst::kFrames> out;
  };
  /// Where a frame goes: a port, all, or nowhere.
  static constexpr PortId kFlood = kNoPort - 1;
  /// A frame's addresses and type, as they lie there; as it is made: none's.
  struct Flow {
    std::uint64_t front = 0, back = kNone;
    static constexpr std::uint64_t kNone = ~std::uint64_t{0};  ///< these are 6 bytes
    bool operator==(const Flow&) const = default;
  };
  /// Frames of `flow` are learned, and go to a port that they can go to. The next frame of a burst
  /// is often one of them.
  struct Way {
    Flow flow;
    Slot* to = nullptr;
  };
  /// What passage() says of a frame and a port.
  struct Passage {
    const Frame* frame;  ///< in the form that the port gets; null: it doesn't
    Drop why;
  };

  void forward_burst() noexcept;
  bool admit(Frame& f, Slot& from, Instant now) noexcept;
  void classify(const Frame& f, Slot& from, Instant now) noexcept;
  static Flow flow_of(const Frame& f) noexcept;
  PortId learn_and_find(const Frame& f, Slot& from, Instant now) noexcept;
  bool learn(const Mac& source, Slot& from, Instant now) noexcept;
  bool enter_vlan(const Frame& f, Slot& from) noexcept;
  void forward(const Frame& f, Slot& from, PortId to) noexcept;
  void pass_on(const Frame& f, Slot& from, Slot& to) noexcept;
  Passage passage(const Frame& f, const Slot& from, const Slot& to) noexcept;
  PortId drop(Slot& slot, Drop why) noexcept;
  void enqueue(Slot& to, const Frame& f) noexcept;
  bool flood(const Slot& from, const Frame& f) noexcept;
  void deliver(Slot& to, Instant now) noexcept;
  void deliver_unfinished(Slot& slot, std::span<const Frame* const> frames, const Offloads& can,
                          Instant now) noexcept;
  void hand_over(Slot& slot, std::span<const Frame* const> frames, Instant now) noexcept;
  Slot* find(PortId id) noexcept { return const_cast<Slot*>(std::as_const(*this).find(id)); }
  const Slot* find(PortId id) const noexcept;
  void apply_policies();
  void add_addresses(const Slot& slot) noexcept;
  /// Its static addresses go to the oldest other port that has them too, if any.
  void leave_addresses(const Slot& slot) noexcept;
  bool passes(const Slot& s) const noexcept { return s.port->link_up() && !s.held; }
  void touch(Slot& slot) noexcept;
  void send_probes(Instant now) noexcept;
  void take_held(const Frame& f, Slot& from, Instant now) noexcept;
  bool take_probe(const Frame& f, Slot& from, Instant now) noexcept;
  void hold_back(Slot& slot, const Slot& older, Instant now) noexcept;
  void review_held(Instant now) noexcept;
  void set_first_queue(Port& port, unsigned number);
  void set_queues(unsigned number, std::uint32_t frames);

  std::vector<Slot> slots_;      ///< by port_slot(id)
  std::vector<PortId> live_;     ///< ids of the ports there are
  std::vector<PortId> targets_;  ///< ports with frames in out[], this turn
  std::vector<PortId> touched_;  ///< ports sent to since the last flush
  std::size_t targets_n_ = 0, touched_n_ = 0;
  PortNumbers numbers_;
  MacTable macs_;
  LoopGuard guard_;
  std::function<void(PortId, PortId)> on_hold_;
  std::uint64_t ages_ = 0;
  std::size_t held_n_ = 0;
  Instant reviewed_{};  ///< those; once for all ports of a round
  bool guarding_ = true;
  bool hub_ = false;
  std::uint32_t default_queue_ = 0;
  bool policies_ = false;             ///< some port's policy is not plain
  std::uint16_t vlan_ = 0;            ///< of the frame that is being forwarded
  Tagging::Kind tag_ = {};            ///< what that came with
  std::size_t index_ = 0;             ///< which one of the burst it is
  std::unique_ptr<VlanForms> forms_;  ///< with policies_
  Segmenter segmenter_;
  Coalescer coalescer_;
  std::unique_ptr<Burst> burst_;
  struct {
    Slot* from;
    Instant now;
    std::size_t frames;  ///< that it has lent so far
  } turn_{};             ///< whose turn it is
  Way way_;              ///< of the frame before
};

}  // namespace rp::sw
