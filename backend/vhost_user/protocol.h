// SPDX-License-Identifier: BSD-3-Clause
// protocol.h - the vhost-user wire format: requests, feature bits and payloads.
//
// Source: the vhost-user protocol specification of QEMU's documentation. Integers are in the host's
// byte order; descriptors travel as ancillary data beside a message's first byte.
#pragma once

#include <cstdint>

namespace rp::backend::vhost_user {

enum class Request : std::uint32_t {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,
  set_mem_table = 5,
  set_log_base = 6,
  set_log_fd = 7,
  set_vring_num = 8,
  set_vring_addr = 9,
  set_vring_base = 10,
  get_vring_base = 11,
  set_vring_kick = 12,
  set_vring_call = 13,
  set_vring_err = 14,
  get_protocol_features = 15,
  set_protocol_features = 16,
  get_queue_num = 17,
  set_vring_enable = 18,
  send_rarp = 19,
  net_set_mtu = 20,
  set_backend_req_fd = 21,
  get_config = 24,
  set_config = 25,
  get_inflight_fd = 31,
  set_inflight_fd = 32,
  reset_device = 34,
  get_max_mem_slots = 36,
  add_mem_reg = 37,
  rem_mem_reg = 38,
  set_status = 39,
  get_status = 40,
  set_doorbell = 0x72700001,  ///< ours, see kDoorbell
};

struct Header {
  std::uint32_t request, flags, size;
};
static_assert(sizeof(Header) == 12);

inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::uint32_t kVersionMask = 3;
inline constexpr std::uint32_t kReply = 1u << 2;
inline constexpr std::uint32_t kNeedReply = 1u << 3;

/// Bits of set/get_protocol_features.
enum ProtocolFeature : unsigned {
  kMq = 0,
  kLogShmfd = 1,
  kRarp = 2,
  kReplyAck = 3,
  kNetMtu = 4,
  kConfig = 9,
  kInflightShmfd = 12,
  kResetDevice = 13,
  kConfigureMemSlots = 15,
  kStatus = 16,
  /// Ours: a front end that is a plug says by set_doorbell where its doorbell lies (plug_memory.h).
  /// No other front end knows the bit, and so none agrees on it.
  kDoorbell = 62,
  /// Ours, said by the switch and agreed on by nobody: a plug started it, and when it is killed one
  /// may start it again.
  kOnDemand = 61,
};

/// The device feature that says that the protocol features can be negotiated; with it, rings start
/// disabled.
inline constexpr unsigned kFeatureProtocol = 30;

struct VringState {
  std::uint32_t index, num;
};
struct VringAddr {
  std::uint32_t index, flags;
  std::uint64_t desc, used, avail, log;  ///< addresses in the front end's process
};
static_assert(sizeof(VringAddr) == 40);
/// VringAddr::flags: writes to the used ring are logged.
inline constexpr std::uint32_t kVringLog = 1;

/// In the u64 of set_vring_kick/call/err.
inline constexpr std::uint64_t kVringIndexMask = 0xff;
inline constexpr std::uint64_t kVringNoFd = 1u << 8;

struct MemoryRegion {
  std::uint64_t guest_address, size, user_address, mmap_offset;
};
static_assert(sizeof(MemoryRegion) == 32);
inline constexpr std::uint32_t kTableRegions = 8;
struct MemoryTable {
  std::uint32_t count, padding;
  MemoryRegion regions[kTableRegions];
};
struct SingleRegion {
  std::uint64_t padding;
  MemoryRegion region;
};
/// Payload of set_doorbell: where the front end's process has the word.
struct DoorbellPlace {
  std::uint64_t user_address;
};
struct LogArea {
  std::uint64_t size, offset;
};
/// Payload of get/set_inflight_fd. Front ends send it with or without the padding.
struct InflightDescription {
  std::uint64_t mmap_size, mmap_offset;
  std::uint16_t num_queues, queue_size;
  std::uint32_t padding;
};
static_assert(sizeof(InflightDescription) == 24);
inline constexpr std::uint32_t kInflightBytes = 20;

/// No payload is longer.
inline constexpr std::uint32_t kMaxPayload = 512;
static_assert(sizeof(MemoryTable) <= kMaxPayload);
/// No message carries more descriptors.
inline constexpr std::size_t kMaxFds = 8;

}  // namespace rp::backend::vhost_user
