// SPDX-License-Identifier: BSD-3-Clause
// device.h - what a tap port runs on: a device that hands out descriptors for frames.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "switch/frame.h"
#include "switch/headers.h"
#include "tap/packet_ring.h"

namespace rp::tap {

/// A device that is open.
struct Attached {
  std::vector<Fd> queues;  ///< one frame a read or write, non-blocking
  Fd out;                  ///< for all writes, when those go elsewhere
  std::string name;
  unsigned index = 0;      ///< 0: it is in another namespace and can't be watched
  std::size_t header = 0;  ///< bytes of virtio_net_hdr before each frame: 0, 10 or more
  sw::Offloads can{};      ///< what writing takes unfinished
  /// Whoever gets what is written sums it, unless it says that this is left to do.
  bool sums = false;
  std::unique_ptr<PacketRing> ring;  ///< of a packet socket, the only queue
  /// Frames from this address that come in are its guest's own, reflected outside. Zero: none are.
  sw::Mac reflected{};
  Fd monitor;  ///< of LinkMonitor, when the device is in another namespace
};

/// Its destructor removes what it made, unless that was to persist.
class Device {
 public:
  virtual ~Device() = default;

  /// Opens it, and makes it first where that is its way. Called again when the device went away:
  /// then it also throws (not_found) while one that it does not make itself is missing. Throws
  /// Error and leaves nothing behind.
  virtual Attached attach() = 0;
  /// False: once gone, attach() can't bring it back.
  virtual bool comes_back() const noexcept { return true; }
  /// Readable once nobody can want the device any more. -1: never. The device owns it.
  virtual int end_fd() const noexcept { return -1; }
};

}  // namespace rp::tap
