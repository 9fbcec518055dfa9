// SPDX-License-Identifier: BSD-3-Clause
// port.h - where frames enter and leave a switch: a door or an uplink, the switch can't tell.
//
// Every member is called on the switch's thread alone. Nothing here throws, blocks or allocates
// once the port is made. A port that is asked for nothing costs nothing: between arm() and
// disarm() it may do work only when its descriptor is readable.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "base/counter.h"
#include "base/time.h"
#include "switch/frame.h"
#include "switch/port_policy.h"

namespace rp::sw {

/// What a port asks for when it comes to a switch.
struct Claim {
  static constexpr unsigned kNoNumber = ~0u;
  /// The port number; 0: any; kNoNumber: none, it only lets others in.
  unsigned number = 0;
  /// Whose process is at the other end; kAnyUser: our own.
  uid_t user = PortPolicy::kAnyUser;
  gid_t group = PortPolicy::kAnyGroup;
};

class Port {
 public:
  virtual ~Port() = default;

  /// This or side_fd() is readable (level or edge; see sleeps()) after arm() as soon as receive()
  /// would lend frames or work is due. -1: never. The port owns it.
  virtual int poll_fd() const noexcept = 0;
  /// Watched beside poll_fd(), so that a frame wakes up one descriptor alone and not one inside
  /// another. -1: there is none.
  virtual int side_fd() const noexcept { return -1; }

  /// What send() takes unfinished. May change between bursts.
  virtual Offloads offloads() const noexcept { return {}; }
  virtual bool link_up() const noexcept { return true; }

  /// Frames towards the switch: fills `burst` (empty on entry). They stay borrowed until release().
  virtual void receive(Burst& burst, Instant now) noexcept = 0;
  /// The burst has been delivered; its bytes may be reused.
  virtual void release() noexcept = 0;

  /// Frames away from the switch, in order. Once one finds no room the rest are refused too;
  /// returns how many were. It never waits. The bytes are borrowed for the call.
  virtual std::size_t send(std::span<const Frame* const> frames, Instant now) noexcept = 0;
  /// Ends a turn in which send() was called: tells the peer, once. True: receive() has work now, or
  /// a port that sleeps() would rather be polled for a turn.
  virtual bool flush(Instant now) noexcept = 0;

  /// Asks for poll_fd() to become readable on work. False: work is there already, don't sleep.
  virtual bool arm(Instant now) noexcept = 0;
  /// True: looking for work is a system call. So the port is armed after each turn instead of being
  /// polled for a while, and poll_fd() stays readable for as long as there is work.
  virtual bool sleeps() const noexcept { return false; }
  /// Back to being polled.
  virtual void disarm() noexcept {}
  /// A descriptor of its tells of something while it is polled.
  virtual void told() noexcept {}

  /// A door that listens: the port of the next emulator that came in, and its name; null: none
  /// waits. Asked when receive() had nothing; may allocate.
  virtual std::unique_ptr<Port> accept(std::string& /*name*/) noexcept { return nullptr; }
  /// True once the peer is gone for good: whoever runs the switch removes the port. Asked when
  /// receive() had nothing.
  virtual bool gone() const noexcept { return false; }

  /// True: frames wait in a queue of the port's own, whose length set_queue() sets.
  virtual bool has_queue() const noexcept { return false; }
  /// So many frames may wait, 0: as many as the port was made for. What waits beyond that is
  /// dropped. May allocate. Throws std::bad_alloc and has changed nothing.
  virtual void set_queue(std::size_t /*frames*/) {}

  /// Asked once, when the port comes to a switch.
  virtual Claim claim() const noexcept { return {}; }
  /// Port `id` of the same switch is gone; forget what was kept of it.
  virtual void forget(PortId /*id*/) noexcept {}

  /// The port's own counters, beside those that the switch keeps for it.
  virtual void report(const CounterSink& /*sink*/) const {}
  /// What was agreed with the peer, for people: words joined by blanks.
  virtual std::string describe() const { return {}; }
};

}  // namespace rp::sw
