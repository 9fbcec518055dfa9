// SPDX-License-Identifier: BSD-3-Clause
// device.h - what a vhost-user front end has told us: features, memory, rings.
//
// handle() applies one message. A message that makes no sense is refused (the front end learns it
// by its reply, if it asked for one) and changes nothing; the connection goes on.
// All calls on the switch's thread, between bursts, so that nobody holds a pointer into guest
// memory when regions come and go.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "backend/guest_memory.h"
#include "backend/plug_memory.h"
#include "backend/vhost_user/channel.h"
#include "backend/vhost_user/features.h"
#include "backend/vhost_user/inflight.h"
#include "backend/vhost_user/virtqueue.h"
#include "switch/headers.h"

namespace rp::backend::vhost_user {

class Device {
 public:
  static constexpr std::size_t kMaxPairs = 8;

  /// `pairs`: queue pairs offered, 1 to kMaxPairs. `kicks`: see Virtqueue.
  Device(std::size_t pairs, int kicks);
  ~Device();

  /// Applies the message and answers it on `channel`. False: the channel is of no more use.
  bool handle(Message& message, Channel& channel) noexcept;
  /// Tells front ends of these protocol features, too, which none can agree on.
  void mention(std::uint64_t protocol_features) noexcept { mentioned_ = protocol_features; }
  /// Where packed rings keep their state, one for each queue.
  void keep_state(std::span<PackedState> states) noexcept;
  /// The front end is gone: rings stop, memory is unmapped, all that was agreed is forgotten.
  void reset() noexcept;

  std::size_t pairs() const noexcept { return queues_.size() / 2; }
  std::vector<Virtqueue>& queues() noexcept { return queues_; }
  const std::vector<Virtqueue>& queues() const noexcept { return queues_; }
  /// Rings the bell of a front end that is a plug; false: it is none, call() it.
  bool ring_doorbell(std::uint16_t published) noexcept;

  /// The guest's memory, or what its front end keeps for us, was cut short: end the connection.
  bool lost() const noexcept {
    return (memory_ && memory_->lost()) || (inflight_ && inflight_->lost());
  }
  /// The guest can be sent to.
  bool link_up() const noexcept;
  std::uint64_t features() const noexcept { return features_; }
  /// An address that SEND_RARP asked to announce since the last call.
  std::optional<sw::Mac> take_announcement() noexcept;
  std::uint64_t refused() const noexcept { return refused_; }

 private:
  static constexpr std::size_t kMaxSlots = 32;

  /// What became of a message. `answered`: it has its reply already; `dead`: the channel is.
  enum class Outcome : std::uint8_t { done, refused, answered, dead };
  struct Region {
    MemoryRegion where;
    std::shared_ptr<const Mapping> mapping;
    std::uint64_t file;  ///< device and inode: whose memory it is
  };

  Outcome apply(Message& m, Channel& channel);
  bool awaits_result(const Message& m) const noexcept;
  Outcome on_vring(Message& m, Channel& channel);
  Outcome on_memory(Message& m);
  Outcome set_features(std::uint64_t wanted) noexcept;
  static Region map(const MemoryRegion& r, int fd);
  Outcome set_mem_table(Message& m);
  Outcome add_region(Message& m);
  Outcome remove_region(const Message& m);
  Outcome use(std::vector<Region> regions);
  Outcome set_vring_fd(Message& m);
  Outcome set_log(const Message& m);
  Outcome get_inflight(const Message& m, Channel& channel) noexcept;
  Outcome set_inflight(const Message& m);
  Outcome announce(const Message& m) noexcept;
  Outcome set_doorbell(const Message& m);
  bool start(Virtqueue& q) noexcept;
  void set_logging() noexcept;
  bool place_doorbell(std::uint64_t user) noexcept;
  Virtqueue* queue(std::uint32_t index) noexcept;

  const std::shared_ptr<EventSignal> signal_ = EventSignal::shared();
  std::vector<Virtqueue> queues_;
  std::uint64_t features_ = 0, protocol_features_ = 0, mentioned_ = 0;
  std::uint8_t status_ = 0;
  std::vector<Region> regions_;
  std::unique_ptr<GuestMemory> memory_;
  std::shared_ptr<const Mapping> log_;
  std::unique_ptr<InflightArea> inflight_;
  std::optional<std::uint64_t> doorbell_at_;  ///< where the front end has it
  std::uint8_t* doorbell_ = nullptr;
  std::optional<sw::Mac> announcement_;
  std::uint64_t refused_ = 0;
};

}  // namespace rp::backend::vhost_user
