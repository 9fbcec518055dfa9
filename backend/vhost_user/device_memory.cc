// SPDX-License-Identifier: BSD-3-Clause
// device_memory.cc - the messages that bring memory: the guest's, the log, chains in hand.
#include <algorithm>
#include <cstddef>
#include <cstring>

#include "backend/vhost_user/device.h"
#include "base/error.h"

namespace rp::backend::vhost_user {
namespace {

std::optional<InflightDescription> inflight_of(const Message& m) noexcept {
  InflightDescription d{};
  if (m.header.size != sizeof d && m.header.size != kInflightBytes) return std::nullopt;
  std::memcpy(&d, m.payload.data(), m.header.size);
  return d;
}

}  // namespace

Device::Outcome Device::on_memory(Message& m) {
  if (m.request() == Request::set_mem_table) return set_mem_table(m);
  return m.request() == Request::add_mem_reg ? add_region(m) : remove_region(m);
}

Device::Region Device::map(const MemoryRegion& r, int fd) {
  const std::uint64_t file = check_file(fd, r.mmap_offset, r.size);
  return {r, std::make_shared<const Mapping>(fd, r.size, r.mmap_offset), file};
}

Device::Outcome Device::set_mem_table(Message& m) {
  MemoryTable table{};
  constexpr std::size_t kFixed = offsetof(MemoryTable, regions);
  if (m.header.size < kFixed || m.header.size > sizeof table) return Outcome::refused;
  std::memcpy(&table, m.payload.data(), m.header.size);
  if (table.count > kTableRegions || table.count != m.fds.size() ||
      m.header.size < kFixed + table.count * sizeof(MemoryRegion))
    return Outcome::refused;
  std::vector<Region> regions;
  for (std::uint32_t i = 0; i < table.count; ++i) {
    regions.push_back(map(table.regions[i], m.fds[i].get()));
  }
  return use(std::move(regions));
}

Device::Outcome Device::add_region(Message& m) {
  const auto one = m.as<SingleRegion>();
  if (!one || m.fds.size() != 1 || regions_.size() >= kMaxSlots) return Outcome::refused;
  auto regions = regions_;
  regions.push_back(map(one->region, m.fds[0].get()));
  return use(std::move(regions));
}

Device::Outcome Device::remove_region(const Message& m) {
  const auto one = m.as<SingleRegion>();
  if (!one) return Outcome::refused;
  auto regions = regions_;
  const auto gone = std::erase_if(regions, [&](const Region& r) {
    return r.where.guest_address == one->region.guest_address &&
           r.where.user_address == one->region.user_address && r.where.size == one->region.size;
  });
  return gone == 0 ? Outcome::refused : use(std::move(regions));
}

/// Goes over to other regions. A ring that is not in them stops until it gets new addresses.
Device::Outcome Device::use(std::vector<Region> regions) {
  auto memory = std::make_unique<GuestMemory>();
  for (const Region& r : regions)
    memory->add(r.where.guest_address, r.where.user_address, r.mapping);
  for (Virtqueue& q : queues_) q.pause();
  regions_ = std::move(regions);
  memory_ = std::move(memory);
  set_logging();
  if (doorbell_at_) place_doorbell(*doorbell_at_);
  for (Virtqueue& q : queues_) start(q);
  return Outcome::done;
}

void Device::set_logging() noexcept {
  if (memory_) memory_->set_log(has(features_, kFeatureLogAll) ? log_ : nullptr);
}

Device::Outcome Device::set_log(const Message& m) {
  const auto area = m.as<LogArea>();
  if (!area || m.fds.size() != 1) return Outcome::refused;
  check_file(m.fds[0].get(), area->offset, area->size);
  log_ = std::make_shared<const Mapping>(m.fds[0].get(), area->size, area->offset);
  set_logging();
  return Outcome::done;
}

/// Always answered, with a size of 0 when there is no such memory.
Device::Outcome Device::get_inflight(const Message& m, Channel& channel) noexcept {
  const auto asked = inflight_of(m);
  InflightDescription answer = asked.value_or(InflightDescription{});
  Fd fd;
  try {
    if (asked && has(protocol_features_, kInflightShmfd)) fd = make_inflight(answer);
  } catch (const std::exception&) {
    // Sizes that make no sense, or no memory: as the answer says.
  }
  if (!fd) {
    ++refused_;
    answer.mmap_size = 0;
  }
  const std::uint32_t size = asked ? m.header.size : std::uint32_t{sizeof answer};
  return channel.reply(m, &answer, size, fd.get()) ? Outcome::answered : Outcome::dead;
}

Device::Outcome Device::set_inflight(const Message& m) {
  const auto d = inflight_of(m);
  const bool started =
      std::any_of(queues_.begin(), queues_.end(), [](const Virtqueue& q) { return q.started(); });
  if (!d || m.fds.size() != 1 || started || !has(protocol_features_, kInflightShmfd))
    return Outcome::refused;
  inflight_ = std::make_unique<InflightArea>(m.fds[0].get(), *d);
  return Outcome::done;
}

}  // namespace rp::backend::vhost_user
