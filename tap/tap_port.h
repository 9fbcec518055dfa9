// SPDX-License-Identifier: BSD-3-Clause
// tap_port.h - a host device as a port of a switch.
//
// Frames pass with their virtio_net_hdr, so a 64 KiB segment between a guest and the kernel is
// never taken apart here. The link is up while the device is there and its administrator has it up,
// which the kernel tells (link_monitor.h). When the device goes, its descriptors are closed, since
// they would poll as errors for ever, and the port looks for the device again: when one of its name
// appears, and with a growing pause.
#pragma once

#include <memory>

#include "base/log.h"
#include "switch/port.h"
#include "tap/device.h"
#include "tap/frame_io.h"
#include "tap/link_monitor.h"

namespace rp::tap {

class TapPort : public sw::Port {
 public:
  /// Opens the device. Throws Error and leaves nothing behind.
  TapPort(std::unique_ptr<Device> device, Log log, Instant now);
  ~TapPort() override;

  int poll_fd() const noexcept override { return epoll_.get(); }
  sw::Offloads offloads() const noexcept override { return on_.can; }
  bool link_up() const noexcept override { return up_; }
  void receive(sw::Burst& burst, Instant now) noexcept override;
  void release() noexcept override {
    if (on_.ring) on_.ring->release();
  }
  std::size_t send(std::span<const sw::Frame* const> frames, Instant now) noexcept override;
  bool flush(Instant) noexcept override { return false; }
  bool arm(Instant now) noexcept override;
  /// Never a port: here it may allocate, and so look for a device that went away.
  std::unique_ptr<sw::Port> accept(std::string& name) noexcept override;
  bool gone() const noexcept override { return ended_; }
  void report(const CounterSink& sink) const override;
  std::string describe() const override;

 protected:
  /// What becomes readable when receive() has something to look at. Throws Error.
  void watch(int fd);
  /// Fills the burst from a queue. Returns 0 or errno.
  virtual int read_frames(const Fd& queue, sw::Burst& burst) noexcept;
  virtual Wrote write_frame(const Fd& queue, const sw::Frame& frame) noexcept;
  FrameIo& io() noexcept { return io_; }
  std::size_t header() const noexcept { return on_.header; }

 private:
  void take(Attached attached);
  void look() noexcept;
  void heard(const LinkEvent& event) noexcept;
  void drop_queues() noexcept;
  void lose() noexcept;
  void pause() noexcept;
  bool send_one(const sw::Frame& frame) noexcept;

  Log log_;
  Fd epoll_, timer_;
  LinkMonitor monitor_;
  FrameIo io_;
  std::unique_ptr<Device> device_;
  Attached on_;  ///< no queues: the device is gone
  bool up_ = false, find_again_ = false, ended_ = false;
  std::size_t next_ = 0;  ///< queue to be read first
  unsigned turns_ = 0;
  bool heard_of_ = false;  ///< a device of its name appeared during this pause
  long pause_ms_ = 0;
  Instant now_{}, found_at_{};
  std::uint64_t full_ = 0, refused_ = 0, while_down_ = 0, lost_ = 0, found_ = 0, read_errors_ = 0;
};

}  // namespace rp::tap
