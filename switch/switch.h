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
#include "switch/mac_table.h"
#include "switch/offload.h"
#include "switch/port.h"

namespace rp::sw {

/// Why a frame was not forwarded or not taken. The order is that of kDropNames.
enum class Drop : std::uint8_t {
  runt,              ///< shorter than an Ethernet header
  oversize,          ///< longer than kMaxFrame
  bad_source,        ///< source address is a group or zero
  bad_offload,       ///< virtio_net_hdr contradicts the frame
  reserved_address,  ///< 01-80-C2-00-00-0x, which stays on its link
  same_port,         ///< the destination lives where the frame came from
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
  std::array<std::uint64_t, static_cast<std::size_t>(Drop::count)> drops{};
  std::uint64_t& operator[](Drop d) noexcept { return drops[static_cast<std::size_t>(d)]; }
};

class Switch {
 public:
  explicit Switch(const MacTableOptions& options = {});
  ~Switch();
  Switch(Switch&&) = delete;

  /// Takes the port. Its id is never used again for another.
  PortId add(std::unique_ptr<Port> port, std::string name);
  /// Gives the port back (null when there is none of that id) and forgets its addresses.
  std::unique_ptr<Port> remove(PortId id);

  Port* port(PortId id) noexcept;
  std::size_t port_count() const noexcept { return live_.size(); }
  /// Calls fn(id) for each port; fn must not add or remove any.
  template <typename Fn>
  void each_port(Fn&& fn) const {
    for (PortId id : live_) fn(id);
  }

  /// What the port was called when it was added; empty when there is none of that id.
  std::string_view name(PortId id) const noexcept;
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
    std::uint32_t out_n = 0;
    bool touched = false;
    std::array<const Frame*, Burst::kFrames> out;
  };
  /// Where a frame goes: a port, all, or nowhere.
  static constexpr PortId kFlood = kNoPort - 1;

  PortId classify(Frame& f, Slot& from, Instant now) noexcept;
  PortId learn_and_find(const Frame& f, Slot& from, Instant now) noexcept;
  PortId drop(Slot& slot, Drop why) noexcept;
  void enqueue(Slot& to, const Frame& f) noexcept;
  bool flood(const Slot& from, const Frame& f) noexcept;
  void deliver(Slot& to, Instant now) noexcept;
  void deliver_unfinished(Slot& slot, std::span<const Frame* const> frames, const Offloads& can,
                          Instant now) noexcept;
  void hand_over(Slot& slot, std::span<const Frame* const> frames, Instant now) noexcept;
  Slot* find(PortId id) noexcept { return const_cast<Slot*>(std::as_const(*this).find(id)); }
  const Slot* find(PortId id) const noexcept;

  std::vector<Slot> slots_;      ///< by port_slot(id)
  std::vector<PortId> live_;     ///< ids of the ports there are
  std::vector<PortId> targets_;  ///< ports with frames in out[], this turn
  std::vector<PortId> touched_;  ///< ports sent to since the last flush
  std::size_t targets_n_ = 0, touched_n_ = 0;
  MacTable macs_;
  Segmenter segmenter_;
  Coalescer coalescer_;
  std::unique_ptr<Burst> burst_;
};

}  // namespace rp::sw
